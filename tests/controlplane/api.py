"""A small client of the Kubernetes API for tests: any kind, by dicts, as whom the token names."""

import functools
import json
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

Object = dict[str, Any]
"""A Kubernetes object as the API gives it."""

FIELD_MANAGER = "rollbook-tests"
"""Server-side apply's name for what tests write."""

T = TypeVar("T")


class KubeError(Exception):
    """The API server refused.

    Args:
        status: HTTP status code.
        reason: The `Status` object's reason, e.g. `NotFound`.
        message: The `Status` object's message.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


def eventually(probe: Callable[[], T], *, within: float = 20, every: float = 0.05) -> T:
    """Poll until `probe` returns something true, and return that.

    Args:
        probe: Called again and again.
        within: Seconds to the deadline.
        every: Seconds between two calls.

    Raises:
        TimeoutError: Nothing true came before the deadline; the message shows the last answer.
    """
    deadline = time.monotonic() + within
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s; last answer: {answer!r}")
        time.sleep(every)
    return answer


class KubeApi:
    """Requests to one API server with one bearer token; thread-safe, synchronous.

    Args:
        server: URL.
        ca: File with the certificate to trust.
        token: Bearer token.
    """

    def __init__(self, *, server: str, ca: Path, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        context = ssl.create_default_context(cafile=ca)
        self.http = httpx.Client(base_url=server, verify=context, headers=headers, timeout=30, trust_env=False)
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Send one request and decode the answer.

        Raises:
            KubeError: The answer's status is 400 or more.
        """
        answer = self.http.request(method, path, **arguments)
        if answer.is_error:
            raise _error(answer)
        return answer.json() if answer.content.startswith((b"{", b"[")) else answer.text

    def path(self, api_version: str, kind: str, name: str = "", namespace: str = "") -> str:
        """The URL path of an object, or of a collection when `name` is empty.

        Raises:
            LookupError: The server does not serve that kind.
        """
        plural, namespaced = self._resource(api_version, kind)
        parts = [_group_path(api_version)]
        if namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, plural, *([name] if name else [])])

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._resources:
            try:
                found = self.request("GET", _group_path(api_version))["resources"]
            except KubeError as error:
                raise LookupError(f"the API server does not serve {api_version}") from error
            for one in found:
                if "/" not in one["name"]:
                    self._resources[api_version, one["kind"]] = (one["name"], one["namespaced"])
        if (api_version, kind) not in self._resources:
            raise LookupError(f"the API server does not serve {api_version} {kind}")
        return self._resources[api_version, kind]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "default") -> Object:
        """Read one object."""
        found: Object = self.request("GET", self.path(api_version, kind, name, namespace))
        return found

    def find(self, api_version: str, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Read a collection, of all namespaces when `namespace` is empty, filtered by a label selector."""
        params = {"labelSelector": selector} if selector else {}
        items = self.request("GET", self.path(api_version, kind, "", namespace), params=params)["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def create(self, obj: Mapping[str, Any]) -> Object:
        """Create an object."""
        meta = obj["metadata"]
        path = self.path(obj["apiVersion"], obj["kind"], "", meta.get("namespace", "default"))
        created: Object = self.request("POST", path, json=obj)
        return created

    def apply(self, *sources: Path | Mapping[str, Any], namespace: str = "default") -> list[Object]:
        """Server-side apply, forced: manifests of files and folders, and dicts.

        Args:
            sources: YAML files, folders of YAML files, or objects.
            namespace: For namespaced objects that name none.
        """
        return [self._apply_one(obj, namespace) for source in sources for obj in manifests(source)]

    def _apply_one(self, obj: Mapping[str, Any], namespace: str) -> Object:
        meta = obj["metadata"]
        path = self.path(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace", namespace))
        applied: Object = self.request(
            "PATCH",
            path,
            params={"fieldManager": FIELD_MANAGER, "force": "true"},
            content=json.dumps(obj),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return applied

    def patch(
        self,
        obj: Mapping[str, Any],
        change: Mapping[str, Any],
        *,
        subresource: str = "",
        kind: str = "strategic-merge-patch",
    ) -> Object:
        """Patch an object, or one of its subresources.

        Args:
            obj: Which one: its apiVersion, kind and metadata's name and namespace count.
            change: The patch.
            subresource: For example `status` or `scale`.
            kind: `merge-patch` for custom resources, which know no strategic merge.
        """
        patched: Object = self.request(
            "PATCH",
            self._path_of(obj) + (f"/{subresource}" if subresource else ""),
            content=json.dumps(change),
            headers={"Content-Type": f"application/{kind}+json"},
        )
        return patched

    def delete(self, obj: Mapping[str, Any], **params: str) -> None:
        """Delete an object; gone already is fine.

        Args:
            obj: Which one.
            params: Query parameters, e.g. `propagationPolicy="Orphan"`.
        """
        try:
            self.request("DELETE", self._path_of(obj), params=params)
        except KubeError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    def _path_of(self, obj: Mapping[str, Any]) -> str:
        meta = obj["metadata"]
        return self.path(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace", "default"))


def manifests(source: Path | Mapping[str, Any]) -> Iterable[Object]:
    """The objects of a YAML file, of a folder's YAML files by name, or the one given."""
    if isinstance(source, Mapping):
        return [dict(source)]
    files = sorted(source.glob("*.yaml")) if source.is_dir() else [source]
    return [obj for file in files for obj in yaml.safe_load_all(file.read_text()) if obj]


@functools.cache
def _group_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _error(answer: httpx.Response) -> KubeError:
    try:
        status = answer.json()
        return KubeError(answer.status_code, status.get("reason", ""), status.get("message", ""))
    except (ValueError, AttributeError):
        return KubeError(answer.status_code, answer.reason_phrase, answer.text[:500])
