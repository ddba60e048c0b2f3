"""Where a credential may be sent."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from rollbook.core.errors import ConfigError
from rollbook.sinks.endpoint import check, is_link_local

HOSTS = frozenset({"api.example.com", "tracker.rollbook.svc:8080", "[2001:db8::1]", " Upper.Example.com "})


@pytest.mark.parametrize(
    ("endpoint", "normal"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://API.example.com:443/base/", "https://api.example.com/base"),
        ("http://api.example.com:80", "http://api.example.com"),
        ("http://tracker.rollbook.svc:8080", "http://tracker.rollbook.svc:8080"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]"),
        ("https://upper.example.com", "https://upper.example.com"),
    ],
)
def test_an_allowed_endpoint_is_normalised(endpoint: str, normal: str) -> None:
    assert check(endpoint, hosts=HOSTS, insecure=True) == normal


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("http://api.example.com", "not https"),
        ("https://api.example.com:8443", "may not be sent to api.example.com:8443"),
        ("https://tracker.rollbook.svc", "may not be sent to tracker.rollbook.svc"),
        ("https://api.example.com.evil.test", "may not be sent"),
        ("https://evil.test/api.example.com", "may not be sent"),
        ("https://api.example.com@evil.test", "must hold no user"),
        ("https://api.example.com?x=1", "must hold no user, query"),
        ("https://api.example.com#x", "must hold no user, query"),
        ("https://169.254.169.254", "link-local"),
        ("https://[fe80::1]", "link-local"),
        ("https://[::ffff:169.254.169.254]", "link-local"),
        ("ftp://api.example.com", "not an http(s) URL"),
        ("api.example.com", "not an http(s) URL"),
        ("https://", "not an http(s) URL"),
        ("https://api.example.com:port", "not a URL"),
        (f"https://{'a' * 64}.example.com", "not a URL"),
        ("https://a..b", "not a URL"),
        ("", "not an http(s) URL"),
    ],
)
def test_another_endpoint_is_refused_in_one_sentence(endpoint: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(endpoint, hosts=HOSTS | {"169.254.169.254", "[fe80::1]"}, insecure=False)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_secret_without_hosts_is_sent_nowhere() -> None:
    with pytest.raises(ConfigError, match=r"rollbook\.dev/hosts\): none"):
        check("https://api.example.com", hosts=frozenset(), insecure=False)


@pytest.mark.parametrize(
    "host", ["*", "*.example.com", "https://api.example.com", "", "[", "a:b", "api.example.com/x"]
)
def test_an_entry_that_is_no_host_allows_nothing(host: str) -> None:
    with pytest.raises(ConfigError):
        check("https://api.example.com", hosts={host}, insecure=False)


@given(text=st.text())
def test_no_text_is_worse_than_a_config_error(text: str) -> None:
    for endpoint in (text, f"https://{text}", f"https://api.example.com{text}"):
        with contextlib.suppress(ConfigError):
            assert check(endpoint, hosts=HOSTS, insecure=False).startswith("https://")


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("169.254.0.1", True),
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("febf::1", True),
        ("::ffff:169.254.1.1", True),
        ("2002:a9fe:a9fe::1", True),
        ("169.253.1.1", False),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("fec0::1", False),
        ("localhost", False),
    ],
)
def test_link_local_addresses(address: str, *, refused: bool) -> None:
    assert is_link_local(address) is refused
