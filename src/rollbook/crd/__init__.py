"""Our custom resources: models of their objects, and their way from and to the core."""
