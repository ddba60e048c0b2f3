"""Hypothesis strategies for the core's values."""

from typing import Final

from hypothesis import settings, strategies as st

HEX: Final = "0123456789abcdef"
WORDS: Final = "abcxyz019"

unhurried = settings(deadline=None)
"""For laws: how long an example takes is a matter of the machine."""

words = st.text(WORDS, min_size=1, max_size=6)
dns_labels = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


def hex_digits(length: int) -> st.SearchStrategy[str]:
    """Exactly `length` lower-case hex digits."""
    return st.text(HEX, min_size=length, max_size=length)


sha256_digests = hex_digits(64).map("sha256:{}".format)
digests = st.one_of(
    sha256_digests, hex_digits(96).map("sha384:{}".format), hex_digits(128).map("sha512:{}".format)
)


@st.composite
def path_components(draw: st.DrawFn) -> str:
    """`nginx`, `my-app`, `a__b.c`."""
    first = draw(words)
    rest = draw(st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), words), max_size=2))
    return first + "".join(separator + word for separator, word in rest)


hosts = st.one_of(
    st.lists(dns_labels, min_size=2, max_size=3).map(".".join),
    st.just("localhost"),
    st.just("127.0.0.1"),
    st.just("[::1]"),
    st.just("Registry"),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)

hub_repositories = st.lists(path_components(), min_size=2, max_size=3).map(
    lambda parts: "/".join(("docker.io", *parts))
)
other_repositories = st.tuples(hosts, ports, st.lists(path_components(), min_size=1, max_size=3)).map(
    lambda parts: "/".join((parts[0] + parts[1], *parts[2]))
)
repositories = st.one_of(hub_repositories, other_repositories)


@st.composite
def canonical_references(draw: st.DrawFn) -> str:
    """References in full: domain and path, with or without tag and digest."""
    tag = draw(st.one_of(st.just(""), tags.map(":{}".format)))
    digest = draw(st.one_of(st.just(""), digests.map("@{}".format)))
    return draw(repositories) + tag + digest


almost_references = st.text(WORDS + "A:/@._-[] \n", max_size=40)
"""Text of the letters that references are made of, mostly wrong."""

few_digests = st.sampled_from(["sha256:" + digit * 64 for digit in "abc"])
"""Few enough that lists of them agree now and then."""

image_ids = st.one_of(
    few_digests.map("registry.example/app@{}".format),
    few_digests.map("docker-pullable://registry.example/app@{}".format),
    few_digests.map("docker.io/library/import-2026-06-03@{}".format),
    few_digests,
    few_digests.map(lambda digest: digest.partition(":")[2]),
    st.just(""),
    st.just("what is this"),
)
