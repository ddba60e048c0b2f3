"""Where a credential may be sent: the rules for a sink's endpoint.

- https, unless the sink allows http;
- the host is one of those that the credential's Secret names;
- no link-local address: a cloud's metadata service lives there. An address is refused here, a name that leads to
  one is refused at every connection, before a byte is sent (`http.py`).

Limit: a proxy (`HTTPS_PROXY`) resolves names itself; then only an endpoint that is an address can be refused.
"""

import ipaddress
from collections.abc import Collection

import httpx

from rollbook.core.errors import ConfigError


def check(endpoint: str, *, hosts: Collection[str], insecure: bool) -> str:
    """The endpoint in its normal form, without a trailing slash.

    Args:
        endpoint: the base address of the API.
        hosts: `host` (then on the scheme's own port) or `host:port`, where the credential may be sent.
        insecure: whether http is allowed.

    Raises:
        ConfigError: it breaks a rule; the message is one sentence.
    """
    url = _parse(endpoint)
    if url.scheme == "http" and not insecure:
        raise ConfigError(f"endpoint {endpoint} is not https, and allowInsecureHTTP is not set")
    if is_link_local(url.host):
        raise ConfigError(f"endpoint {endpoint} is a link-local address, to which no credential is sent")
    if not any(_names(host, url) for host in hosts):
        allowed = ", ".join(sorted(hosts)) or "none"
        raise ConfigError(
            f"the credential may not be sent to {authority(url)}; its Secret allows (annotation "
            f"rollbook.dev/hosts): {allowed}"
        )
    return str(url).rstrip("/")


def is_link_local(address: str) -> bool:
    """Whether it is an address in 169.254.0.0/16 or fe80::/10, or an IPv6 form of the former; not a name."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = parsed.ipv4_mapped or parsed.sixtofour if isinstance(parsed, ipaddress.IPv6Address) else None
    return (inner or parsed).is_link_local


def authority(url: httpx.URL) -> str:
    """`host[:port]` of a URL, for people."""
    return url.netloc.decode("ascii", "replace")


def _parse(endpoint: str) -> httpx.URL:
    try:
        url = httpx.URL(endpoint)
        url.raw_host.decode("ascii").encode("idna")  # no label that the resolver would choke on
    except (httpx.InvalidURL, ValueError, TypeError):
        raise ConfigError(f"endpoint {endpoint!r} is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"endpoint {endpoint!r} is not an http(s) URL with a host")
    if url.userinfo or url.query or url.fragment:
        raise ConfigError(f"endpoint of {url.host} must hold no user, query or fragment")
    return url


def _names(host: str, url: httpx.URL) -> bool:
    """Whether an entry of the Secret's hosts names the host and port of this URL."""
    try:
        entry = httpx.URL(f"{url.scheme}://{host.strip()}")
    except httpx.InvalidURL:
        return False
    return (entry.raw_host, entry.port) == (url.raw_host, url.port) and entry.path == "/"
