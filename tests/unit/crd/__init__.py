"""Our custom resources: the codec, the models, and that both agree with the YAML."""
