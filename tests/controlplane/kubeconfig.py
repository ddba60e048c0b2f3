"""Kubeconfig files: one cluster, one user with a bearer token."""

import base64
import json
from pathlib import Path


def kubeconfig(*, server: str, ca: Path, user: str, token: str, namespace: str = "default") -> str:
    """The text of a kubeconfig that stands alone: the certificate is inside.

    Args:
        server: URL of the API server.
        ca: File with the certificate to trust.
        user: Name of the user in the file; the token says who it really is.
        token: Bearer token.
        namespace: Where requests without a namespace go.
    """
    authority = base64.b64encode(ca.read_bytes()).decode()
    cluster = {"server": server, "certificate-authority-data": authority}
    context = {"cluster": "rollbook", "user": user, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rollbook", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "rollbook", "context": context}],
        "current-context": "rollbook",
    }
    return json.dumps(document, indent=2)  # JSON is YAML
