"""Where the API server is and who we are there, as the official client reads it; read again when refused."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME

from rollbook.core.errors import ConfigError, Unavailable

_UNREADABLE: Final = (ConfigException, OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError)
"""What the official client raises on a configuration that is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The same in plain words, for a client of another make."""

    server: str
    ca_path: str | None
    verify: bool
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


class Credentials:
    """The API server's address, its TLS settings and the current token.

    In a pod the token's file is read again once a minute (the official loader's own period), because the kubelet
    replaces the token long before it expires.
    """

    def __init__(self, kubeconfig: Path | None, configuration: Configuration) -> None:
        self._kubeconfig = kubeconfig
        self._configuration = configuration
        self._lock = asyncio.Lock()
        rest = RESTClientObject(configuration)
        self.ssl_context = rest.ssl_context
        self.host: str = configuration.host
        self.extras: dict[str, Any] = _extras(configuration)

    @classmethod
    async def load(cls, kubeconfig: Path | None) -> "Credentials":
        """Read them.

        Raises:
            ConfigError: no API server, or no credentials, can be found.
        """
        try:
            return cls(kubeconfig, await _configuration(kubeconfig))
        except _UNREADABLE as error:
            source = kubeconfig or "the environment"
            raise ConfigError(f"no Kubernetes configuration in {source}: {error}") from error

    async def authorization(self) -> dict[str, str]:
        """The header that says who we are; empty where a client certificate does.

        Raises:
            Unavailable: the token's file cannot be read at the moment.
        """
        try:
            value = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except _UNREADABLE as error:
            raise Unavailable(f"cannot read the token: {error}") from error
        return {"Authorization": value.strip()} if value else {}

    async def connection(self) -> Connection:
        """What another client needs to connect as we do.

        Raises:
            Unavailable: the token's file cannot be read at the moment.
        """
        scheme, _, token = (await self.authorization()).get("Authorization", "").partition(" ")
        return Connection(
            server=self.host,
            ca_path=self._configuration.ssl_ca_cert,
            verify=self._configuration.verify_ssl,
            token=token if scheme.lower() == "bearer" else None,
            certificate_path=self._configuration.cert_file,
            private_key_path=self._configuration.key_file,
        )

    async def reload(self, refused: dict[str, str]) -> None:
        """Read everything again, unless another request has done so since `refused` was current.

        Raises:
            Unavailable: it cannot be read at the moment.
        """
        async with self._lock:
            if await self.authorization() != refused:
                return
            try:
                self._configuration = await _configuration(self._kubeconfig)
                if self._configuration.cert_file:
                    self.ssl_context.load_cert_chain(
                        self._configuration.cert_file, keyfile=self._configuration.key_file
                    )
            except _UNREADABLE as error:
                raise Unavailable(f"cannot read the credentials again: {error}") from error


async def _configuration(kubeconfig: Path | None) -> Configuration:
    configuration = Configuration()
    if kubeconfig is None and os.environ.get(SERVICE_HOST_ENV_NAME):
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # no annotations
    else:
        # Without `persist_config=False` the loader writes the user's file.
        await load_kube_config(  # type: ignore[no-untyped-call]  # no annotations
            _paths(kubeconfig), client_configuration=configuration, persist_config=False
        )
    return configuration


def _paths(kubeconfig: Path | None) -> str:
    if kubeconfig is not None:
        return str(kubeconfig)
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _extras(configuration: Configuration) -> dict[str, Any]:
    """What the session must be told with each request; the environment's proxy is looked up only here."""
    url = urlsplit(configuration.host)
    proxy = configuration.proxy
    if not proxy and not proxy_bypass(url.hostname or ""):
        proxy = getproxies().get(url.scheme)
    extras = {"proxy": proxy, "server_hostname": configuration.tls_server_name}
    return {key: value for key, value in extras.items() if value}
