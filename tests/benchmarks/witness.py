"""A bare watch of all Deployments, in a process of its own: notes when it first sees each rollout complete.

Arguments: the API server's URL, its certificate, LOG; the token in `TOKEN`. Prints `ready` when it hears. A line:
`{"at": ns since the epoch, "namespace": ..., "name": ..., "image": ...}`, where `at` is when the bytes arrived. It
ends with the API server.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.controlplane.api import KubeApi
from tests.controlplane.pods import complete

DEPLOYMENTS = "/apis/apps/v1/deployments"
FOR = "86400"
"""Seconds: no watch of a benchmark is to end before it does."""


def events(api: KubeApi, version: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Arrival and event, for each event after `version`."""
    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": FOR}
    rest = b""
    with api.http.stream("GET", DEPLOYMENTS, params=query, timeout=None) as answer:
        answer.raise_for_status()
        print("ready", flush=True)  # noqa: T201  # the answer to who started it
        for chunk in answer.iter_raw():
            at = time.time_ns()
            *lines, rest = (rest + chunk).split(b"\n")
            yield from ((at, json.loads(line)) for line in lines)


def main() -> None:
    """Watch until the API server ends."""
    server, certificate, log = sys.argv[1:]
    api = KubeApi(server=server, ca=Path(certificate), token=os.environ["TOKEN"])
    version = api.request("GET", DEPLOYMENTS, params={"limit": "1"})["metadata"]["resourceVersion"]
    seen: set[tuple[str, str, str]] = set()
    with Path(log).open("a", buffering=1) as lines:
        for at, event in events(api, version):
            deployment = event["object"]
            if event["type"] not in {"ADDED", "MODIFIED"} or not complete(deployment):
                continue
            meta = deployment["metadata"]
            image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            if (key := (meta["namespace"], meta["name"], image)) not in seen:
                seen.add(key)
                lines.write(json.dumps({"at": at, "namespace": key[0], "name": key[1], "image": image}) + "\n")


if __name__ == "__main__":
    main()
