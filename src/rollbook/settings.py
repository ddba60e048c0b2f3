"""The settings of the operator: environment variables with the prefix `ROLLBOOK_`, or flags of the command.

A wrong value is refused at start, with its name and what is allowed.
"""

import os
import socket
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rollbook.core.errors import ConfigError
from rollbook.core.identity import Rules
from rollbook.core.seen import Policy
from rollbook.core.transition import Millis


def _listed(value: object) -> object:
    """`a, b` as in an environment variable, or a list already."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _paired(value: object) -> object:
    """`payments-*=production, sandbox=development` as pairs."""
    pairs = _listed(value)
    if not isinstance(value, str) or not isinstance(pairs, tuple):
        return value
    if not all("=" in each for each in pairs):
        raise ValueError("must be <namespace or glob>=<environment>, several of them by comma")
    return tuple(tuple(part.strip() for part in each.split("=", 1)) for each in pairs)


def _identity() -> str:
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{uuid4()}"


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Glob = Annotated[str, Field(min_length=1)]
Pairs = Annotated[tuple[tuple[Glob, Name], ...], NoDecode, BeforeValidator(_paired)]


class Settings(BaseSettings):
    """All settings of the operator. Durations are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="ROLLBOOK_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    cluster: Name = "default"
    """This cluster's name: part of every slot's key, so it must never change."""
    namespace: Namespace = Field(default_factory=lambda: os.environ.get("POD_NAMESPACE", "rollbook-system"))
    """The operator's own namespace: slots, credentials and the Lease are there."""
    identity: str = Field(default_factory=_identity, min_length=1)
    """Who holds the Lease: a pod's name, so that a restarted container goes on at once; else unique."""
    kubeconfig: Path | None = None
    """A kubeconfig; without one the pod's ServiceAccount, else what kubectl would use."""

    default_environment: Name | Literal[""] = ""
    """Of namespaces that say nothing; empty: the cluster's name."""
    namespace_environments: Pairs = ()
    """Environments by namespace, `<name or glob>=<environment>`, the first match counts."""
    track_default: bool = True
    """Whether workloads are tracked that do not say so."""
    excluded_namespaces: Names = ("kube-*",)
    """Names or globs of namespaces in which nothing is tracked; the operator's own is always one."""
    teams_may_untrack: bool = True
    """Whether an annotation may switch tracking off."""
    moving_tags: Names = ()
    """Tags or globs that name no version, besides `latest`."""

    idle_grace: float = Field(default=300, ge=0, le=86_400)
    """How long scaled to zero before it counts as DECOMMISSIONED."""
    missing_grace: float = Field(default=30, ge=0, le=86_400)
    """How long gone before it counts as DECOMMISSIONED."""
    sweep_interval: float = Field(default=300, ge=1, le=86_400)
    """How often the cluster is listed for deletions that no watch told of."""
    hold_above: float = Field(default=0.2, ge=0, le=1)
    """The share of all slots that one sweep may find gone (from ten on); 1 approves of any."""
    history: int = Field(default=1, ge=0, le=20)
    """How many superseded records a slot keeps in the cluster."""

    listen_host: str = "0.0.0.0"  # noqa: S104 - the kubelet's probes and Prometheus come from outside the pod
    """Address of /healthz, /readyz and /metrics."""
    listen_port: int = Field(default=8080, ge=0, le=65_535)
    """Port of the same; 0 takes a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Which log lines are written."""

    @classmethod
    def load(cls, **flags: object) -> "Settings":
        """Read the settings; flags that are not None win over the environment.

        Raises:
            ConfigError: names every setting that is wrong, and what is allowed.
        """
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]  # validated right here
        except ValidationError as error:
            raise ConfigError(_problems(error)) from None

    @property
    def rules(self) -> Rules:
        """What it says about identities."""
        return Rules(
            cluster=self.cluster,
            default_environment=self.default_environment,
            namespace_environments=self.namespace_environments,
            track_default=self.track_default,
            excluded_namespaces=(*self.excluded_namespaces, self.namespace),
            teams_may_untrack=self.teams_may_untrack,
            moving_tags=self.moving_tags,
        )

    def policy(self, epoch: Millis) -> Policy:
        """What it says about the rules of the ledger; `epoch` is when this install first led."""
        return Policy(
            epoch=epoch,
            idle_grace=int(self.idle_grace * 1000),
            missing_grace=int(self.missing_grace * 1000),
            history=self.history,
        )


def _problems(error: ValidationError) -> str:
    """Each wrong setting once: its name, what is allowed, what it is."""
    allowed: dict[str, list[str]] = {}
    found: dict[str, object] = {}
    for each in error.errors(include_url=False):
        name = f"ROLLBOOK_{each['loc'][0]}".upper()
        allowed.setdefault(name, []).append(each["msg"].removeprefix("Value error, "))
        found[name] = each["input"]
    return "; ".join(f"{name}: {' or '.join(said)} (it is {found[name]!r})" for name, said in allowed.items())
