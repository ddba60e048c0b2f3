"""The kopf side: the only importer of `kopf`; handlers decide nothing."""
