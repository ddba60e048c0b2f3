"""The Kubernetes side: the only importer of `kubernetes`; its errors end here."""
