"""The small API server of the kube tests, for the operator's edges too."""

from tests.unit.kube.conftest import api, kube, kubeconfig

__all__ = ["api", "kube", "kubeconfig"]
