"""The command lines of the control plane's processes, and the files that they read."""

import base64
import random
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane.binaries import Binaries
from tests.controlplane.kubeconfig import kubeconfig

HERE = Path(__file__).parent

ADMIN = "admin"
"""User name of the tests' own requests, as the audit log shows it."""

_USERS = (ADMIN, "kube-controller-manager", "kube-scheduler", "kwok")

_DISABLED_CONTROLLERS = (
    "node-lifecycle-controller",  # kwok nodes send no heartbeats: it would mark their pods NotReady
    "taint-eviction-controller",
    "device-taint-eviction-controller",
    "node-ipam-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "service-lb-controller",
    "ttl-controller",  # annotates nodes for kubelets
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
)

_BUSY_CONTROLLERS = (
    "deployment",
    "replicaset",
    "statefulset",
    "daemonset",
    "job",
    "cron-job",
    "namespace",
    "gc",
)

_PORTS = range(20_000, 32_000)
"""Below the range from which the kernel picks ports of outgoing connections, so none of those takes ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names, ports and secrets of one cluster.

    Args:
        home: Its own directory.
        etcd_port: Loopback port of etcd's clients.
        peer_port: Loopback port that etcd wants for peers.
        api_port: Loopback port of the API server.
        tokens: User name to bearer token.
    """

    home: Path
    etcd_port: int
    peer_port: int
    api_port: int
    tokens: Mapping[str, str] = field(repr=False)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def ca(self) -> Path:
        """Certificate that the API server signs for itself on its first start."""
        return self.home / "certs" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """JSON lines, one per finished request."""
        return self.home / "audit.log"

    def log(self, name: str) -> Path:
        """What process `name` prints."""
        return self.home / f"{name}.log"

    def kubeconfig(self, user: str) -> Path:
        """Where the kubeconfig of `user` is."""
        return self.home / f"{user}.kubeconfig"


def plan_layout(home: Path) -> Layout:
    """Free ports, new tokens."""
    etcd_port, peer_port, api_port = _free_ports(3)
    tokens = {user: secrets.token_hex(16) for user in _USERS}
    return Layout(home=home, etcd_port=etcd_port, peer_port=peer_port, api_port=api_port, tokens=tokens)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)  # noqa: S311  # spreads clusters that start at once, hides nothing
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def write_files(layout: Layout) -> None:
    """Write what the processes read, except for the API server's own certificate."""
    rows = (f'{token},{user},{user},"system:masters"' for user, token in layout.tokens.items())
    (layout.home / "tokens.csv").write_text("\n".join(rows) + "\n")
    (layout.home / "service-accounts.key").write_text(_new_ec_key())
    for name in ("audit-policy.yaml", "scheduler.yaml"):
        shutil.copy(HERE / "config" / name, layout.home)
    scheduler = layout.home / "scheduler.yaml"
    connection = f"clientConnection:\n  kubeconfig: {layout.kubeconfig('kube-scheduler')}"
    scheduler.write_text(scheduler.read_text().replace("clientConnection:", connection))
    stages = [HERE / "config" / "kwok.yaml", *sorted((HERE / "stages").glob("*.yaml"))]
    (layout.home / "kwok.yaml").write_text("---\n".join(path.read_text() for path in stages))


def write_kubeconfigs(layout: Layout) -> None:
    """Write a kubeconfig per user; the API server's certificate is there by now."""
    for user, token in layout.tokens.items():
        layout.kubeconfig(user).write_text(kubeconfig(server=layout.server, ca=layout.ca, user=user, token=token))


def _new_ec_key() -> str:
    """A P-256 private key in PEM (RFC 5915 with the curve's name; the public point is optional there).

    It signs ServiceAccount tokens. Written by hand so that the harness needs neither openssl nor a package.
    """
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    der = bytes.fromhex("30310201010420") + secrets.token_bytes(32) + curve
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{body}-----END EC PRIVATE KEY-----\n"


def etcd(layout: Layout, binaries: Binaries) -> list[str]:
    """A store that forgets durability: nothing here is to survive a power cut."""
    client, peer = f"http://127.0.0.1:{layout.etcd_port}", f"http://127.0.0.1:{layout.peer_port}"
    return [
        str(binaries.etcd),
        f"--data-dir={layout.home / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--name=only",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=only={peer}",
        f"--quota-backend-bytes={8 << 30}",
    ]


def apiserver(layout: Layout, binaries: Binaries) -> list[str]:
    """RBAC, static tokens for ourselves, ServiceAccount tokens for others, all requests in the audit log."""
    key = layout.home / "service-accounts.key"
    return [
        str(binaries.apiserver),
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.api_port}",
        f"--cert-dir={layout.ca.parent}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={layout.home / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-extend-token-expiration=false",
        # with the node lifecycle controller off, nobody would take the not-ready taint of new nodes away
        "--disable-admission-plugins=TaintNodesByCondition",
        f"--audit-policy-file={layout.home / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=1000000",  # MB: one file, never rotated
    ]


def controller_manager(layout: Layout, binaries: Binaries) -> list[str]:
    """Real controllers, with limits that do not hold tests up."""
    return [
        str(binaries.controller_manager),
        f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=" + ",".join(["*", *(f"-{name}" for name in _DISABLED_CONTROLLERS)]),
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
        *(f"--concurrent-{name}-syncs=20" for name in _BUSY_CONTROLLERS),
        f"--root-ca-file={layout.ca}",
        f"--service-account-private-key-file={layout.home / 'service-accounts.key'}",
    ]


def scheduler(layout: Layout, binaries: Binaries) -> list[str]:
    """Binds pods to nodes."""
    return [str(binaries.scheduler), f"--config={layout.home / 'scheduler.yaml'}", "--secure-port=0"]


def kwok(layout: Layout, binaries: Binaries) -> list[str]:
    """Plays nodes and pods by our stages."""
    return [
        str(binaries.kwok),
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        f"--config={layout.home / 'kwok.yaml'}",
    ]


def node(number: int) -> dict[str, object]:
    """A Node that kwok plays, with room for every pod of a benchmark."""
    name = f"node-{number}"
    room = {"cpu": "100k", "memory": "100Ti", "pods": "100k"}
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "harness.rollbook.dev/node": "kwok",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": f"10.{128 + number % 128}.0.0/16"},
        "status": {"allocatable": room, "capacity": room},
    }
