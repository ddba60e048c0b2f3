"""Puts things into a cluster: Rollbook's own manifests, ServiceAccounts' kubeconfigs, fresh namespaces."""

import functools
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.controlplane.api import KubeApi, KubeError, Object, eventually, manifests

CHECKOUT = Path(__file__).parents[2]

SHIPPED_NAMESPACE = "rollbook-system"
"""The namespace that the manifests in `deploy/` name."""


def install(api: KubeApi, namespace: str = SHIPPED_NAMESPACE) -> list[Object]:
    """Apply `crds/` and `deploy/` as an admin would, and wait until the custom resources are served.

    Args:
        api: Of an admin.
        namespace: Installed into this one instead of the one that the manifests name.
    """
    crds = api.apply(*_shipped("crds"))
    for crd in crds:
        eventually(functools.partial(_established, api, crd))
    moved = (_moved(obj, namespace) for obj in _shipped("deploy"))
    first_namespaces = sorted(moved, key=lambda obj: obj["kind"] != "Namespace")
    return crds + api.apply(*first_namespaces, namespace=namespace)


def _shipped(folder: str) -> list[Object]:
    """The objects in a folder of the checkout; a `kustomization.yaml` is for kubectl and none."""
    return [obj for obj in manifests(CHECKOUT / folder) if obj["kind"] != "Kustomization"]


def _established(api: KubeApi, crd: Object) -> bool:
    now = api.get(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])
    conditions = now.get("status", {}).get("conditions") or []  # null at first
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _moved(value: Any, namespace: str) -> Any:
    """The same manifest with every mention of the shipped namespace replaced."""
    if isinstance(value, Mapping):
        return {key: _moved(inner, namespace) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, namespace) for inner in value]
    return namespace if value == SHIPPED_NAMESPACE else value


def service_account_token(api: KubeApi, namespace: str, name: str, *, seconds: int = 3600) -> str:
    """A fresh token of a ServiceAccount, by TokenRequest.

    Args:
        api: Of an admin.
        namespace: The ServiceAccount's.
        name: The ServiceAccount's.
        seconds: For how long it is good; the API server gives no less than ten minutes.
    """
    wanted = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    path = api.path("v1", "ServiceAccount", name, namespace)
    token: str = api.request("POST", f"{path}/token", json=wanted)["status"]["token"]
    return token


def new_namespace(api: KubeApi, *, prefix: str = "test", labels: Mapping[str, str] | None = None) -> str:
    """Create a namespace with a name of its own, in which pods can be created at once.

    Args:
        api: Of an admin.
        prefix: What its name begins with.
        labels: Its labels, e.g. `{"rollbook.dev/environment": "production"}`.
    """
    name = f"{prefix}-{secrets.token_hex(4)}"
    meta = {"name": name, "labels": {"harness.rollbook.dev/namespace": "test", **(labels or {})}}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    # before its `default` ServiceAccount is there, pods are refused and their controllers back off
    eventually(lambda: _exists(api, "ServiceAccount", "default", name), every=0.01)
    return name


def _exists(api: KubeApi, kind: str, name: str, namespace: str) -> bool:
    try:
        return bool(api.get("v1", kind, name, namespace))
    except KubeError as error:
        if error.status != 404:
            raise
        return False
