"""Image references, image IDs and the digest they amount to."""

import random
from typing import Final

import pytest
from hypothesis import given, strategies as st

from rollbook.core.errors import InvalidObject
from rollbook.core.image import (
    ImageIdKind,
    ImageReference,
    Resolution,
    is_moving,
    parse_digest,
    parse_image_id,
    parse_reference,
    resolve,
    short,
)
from tests.unit.core import strategies
from tests.unit.core.strategies import unhurried

A: Final = "sha256:" + "a" * 64
B: Final = "sha256:" + "b" * 64
LONG: Final = "sha512:" + "c" * 128
HUB_APP: Final = "docker.io/acme/app"


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("nginx", "docker.io/library/nginx", None, None),
        ("nginx:1.27", "docker.io/library/nginx", "1.27", None),
        ("acme/app:v1", "docker.io/acme/app", "v1", None),
        ("docker.io/nginx", "docker.io/library/nginx", None, None),
        ("index.docker.io/acme/app", "docker.io/acme/app", None, None),
        ("localhost/app", "localhost/app", None, None),
        ("localhost:5000", "docker.io/library/localhost", "5000", None),
        ("localhost:5000/app:v1", "localhost:5000/app", "v1", None),
        ("registry.example:443/a/b__c/d-e.f:x_Y.z-1", "registry.example:443/a/b__c/d-e.f", "x_Y.z-1", None),
        ("Registry/app", "Registry/app", None, None),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app", None, None),
        (f"ghcr.io/acme/app@{A}", "ghcr.io/acme/app", None, A),
        (f"ghcr.io/acme/app:v1@{A}", "ghcr.io/acme/app", "v1", A),
        (f"app@{LONG}", "docker.io/library/app", None, LONG),
    ],
)
def test_a_reference_is_read_and_normalised(
    text: str, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = parse_reference(text)

    assert (reference.repository, reference.tag, reference.digest) == (repository, tag, digest)
    assert reference.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " nginx",
        "nginx\n",
        "nginx:",
        "nginx:-x",
        "nginx:" + "t" * 129,
        "nginx@",
        "nginx@sha256:abc",
        "nginx@md5:" + "a" * 32,
        "Nginx",
        "acme/App",
        "acme//app",
        "/app",
        "app/",
        "a___b",
        "a._b",
        "-app",
        "registry.example:port/app",
        "-registry.example/app",
        "registry..example/app",
        "[::1/app",
        "a" * 256,
        f"{'r' * 300}.example/app",
        "a" * 64,
        A,
        "https://registry.example/app",
        "nginx:ä",
    ],
)
def test_what_is_no_reference_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidObject, match="not a"):
        parse_reference(text)


def test_a_message_quotes_only_the_beginning_of_what_it_refuses() -> None:
    with pytest.raises(InvalidObject) as refused:
        parse_reference("A" * 100_000)

    assert len(str(refused.value)) < 300


def test_references_are_equal_if_they_ask_for_the_same() -> None:
    assert parse_reference("nginx:1.27") == parse_reference("docker.io/library/nginx:1.27")
    assert parse_reference("nginx") != parse_reference("nginx:1.27")


@unhurried
@given(strategies.canonical_references())
def test_a_canonical_reference_survives_reading_and_writing(text: str) -> None:
    assert parse_reference(text).canonical == text


@unhurried
@given(st.one_of(st.text(), strategies.almost_references, strategies.canonical_references()))
def test_reading_a_reference_fails_with_invalid_object_or_ends_in_a_canonical_one(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidObject:
        return
    assert parse_reference(reference.canonical) == reference


@pytest.mark.parametrize("text", [A, LONG, "sha384:" + "0" * 96])
def test_a_digest_is_an_algorithm_and_as_many_hex_digits_as_it_has(text: str) -> None:
    assert parse_digest(text) == text


@pytest.mark.parametrize(
    "text", ["", "sha256", A[:-1], A + "a", A.upper(), "sha256:" + "g" * 64, "a" * 64, f" {A}"]
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidObject, match="not a digest"):
        parse_digest(text)


def test_a_short_digest_is_the_first_twelve_hex_digits() -> None:
    assert short("sha256:0123456789abcdef" + "0" * 48) == "0123456789ab"


@pytest.mark.parametrize(
    ("tag", "patterns", "moving"),
    [
        ("latest", (), True),
        ("main", (), False),
        ("main", ("main",), True),
        ("release-1.2", ("release-*",), True),
        ("Main", ("main",), False),
        ("v1.2.3", ("main", "release-*"), False),
    ],
)
def test_a_tag_moves_if_it_is_latest_or_an_admin_says_so(
    tag: str, patterns: tuple[str, ...], *, moving: bool
) -> None:
    assert is_moving(tag, patterns) is moving


@pytest.mark.parametrize(
    ("text", "kind", "digest", "repository"),
    [
        pytest.param(f"docker.io/acme/app@{A}", ImageIdKind.REPO, A, HUB_APP, id="containerd, CRI-O"),
        pytest.param(f"docker-pullable://acme/app@{A}", ImageIdKind.REPO, A, HUB_APP, id="dockershim, pulled"),
        pytest.param(f"acme/app@{LONG}", ImageIdKind.REPO, LONG, HUB_APP, id="sha512"),
        pytest.param(f"docker://{A}", ImageIdKind.CONFIG, A, "", id="dockershim, local"),
        pytest.param(A, ImageIdKind.CONFIG, A, "", id="containerd, loaded"),
        pytest.param(LONG, ImageIdKind.CONFIG, LONG, "", id="a config by sha512"),
        pytest.param("a" * 64, ImageIdKind.CONFIG, A, "", id="CRI-O, after a restart"),
        pytest.param(
            f"docker.io/library/import-2026-06-03@{A}",
            ImageIdKind.LOCAL,
            A,
            "docker.io/library/import-2026-06-03",
            id="imported with a name made up",
        ),
        pytest.param(
            f"docker.io/library/import-tool@{A}",
            ImageIdKind.REPO,
            A,
            "docker.io/library/import-tool",
            id="a repository that is only called so",
        ),
        pytest.param("", ImageIdKind.EMPTY, None, "", id="not pulled yet"),
        pytest.param("acme/app:v1", ImageIdKind.UNKNOWN, None, HUB_APP, id="a name without a digest"),
        pytest.param("acme/app@sha256:abc", ImageIdKind.UNKNOWN, None, "", id="a digest cut short"),
        pytest.param("\n", ImageIdKind.UNKNOWN, None, "", id="rubbish"),
    ],
)
def test_an_image_id_is_read_in_every_runtimes_form(
    text: str, kind: ImageIdKind, digest: str | None, repository: str
) -> None:
    image = parse_image_id(text)

    assert (image.kind, image.digest, image.repository) == (kind, digest, repository)


@unhurried
@given(st.one_of(st.text(), strategies.almost_references, strategies.image_ids))
def test_reading_an_image_id_never_fails_and_shows_only_digests_that_are_some(text: str) -> None:
    image = parse_image_id(text)

    assert image.digest is None or parse_digest(image.digest) == image.digest


def repo(digest: str) -> str:
    """An image ID that shows `digest`."""
    return f"docker.io/acme/app@{digest}"


@pytest.mark.parametrize(
    ("image_ids", "expected"),
    [
        pytest.param([], Resolution(reason="Empty"), id="no pod runs it"),
        pytest.param([""], Resolution(reason="Empty"), id="still being pulled"),
        pytest.param([repo(A)], Resolution(digest=A, digests=(A,)), id="one pod"),
        pytest.param([repo(A), f"mirror.example/x@{A}"], Resolution(digest=A, digests=(A,)), id="by two names"),
        pytest.param([repo(B), repo(A)], Resolution(reason="Disagree", digests=(A, B)), id="two digests"),
        pytest.param([repo(A), B], Resolution(reason="Disagree", digests=(A,)), id="a config digest beside it"),
        pytest.param([repo(A), "?"], Resolution(reason="Disagree", digests=(A,)), id="rubbish beside it"),
        pytest.param([repo(A), ""], Resolution(reason="Empty", digests=(A,)), id="one is still empty"),
        pytest.param([A, A], Resolution(reason="ConfigDigest"), id="only config digests"),
        pytest.param([A, ""], Resolution(reason="ConfigDigest"), id="a config digest and an empty one"),
        pytest.param([A, "?"], Resolution(reason="Unrecognised"), id="rubbish hides the rest"),
        pytest.param(
            [f"docker.io/library/import-2026-06-03@{A}"],
            Resolution(reason="LocalImport"),
            id="imported on the node",
        ),
    ],
)
def test_all_image_ids_must_agree_on_one_registry_digest(image_ids: list[str], expected: Resolution) -> None:
    assert resolve(parse_reference("acme/app:v1"), image_ids) == expected


@pytest.mark.parametrize(
    ("image_ids", "running", "digests"),
    [
        pytest.param([], None, (), id="nothing runs yet"),
        pytest.param([repo(A)], None, (A,), id="the same runs"),
        pytest.param([repo(B)], B, (B,), id="another form of it runs"),
        pytest.param([repo(B), repo(A)], None, (A, B), id="the pods do not agree"),
        pytest.param([repo(B), ""], None, (B,), id="one pod does not say"),
        pytest.param([B], None, (), id="a config digest"),
    ],
)
def test_a_pinned_digest_is_the_identity_whatever_runs(
    image_ids: list[str], running: str | None, digests: tuple[str, ...]
) -> None:
    resolution = resolve(parse_reference(f"acme/app:v1@{A}"), image_ids)

    assert resolution == Resolution(digest=A, running=running, digests=digests)


references = st.sampled_from(["acme/app:v1", f"acme/app@{A}"]).map(parse_reference)


@unhurried
@given(references, st.lists(strategies.image_ids, max_size=6), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_the_pods(
    reference: ImageReference, image_ids: list[str], shuffler: random.Random
) -> None:
    shuffled = list(image_ids)
    shuffler.shuffle(shuffled)

    assert resolve(reference, shuffled) == resolve(reference, image_ids)


@unhurried
@given(references, st.lists(strategies.image_ids, max_size=6))
def test_there_is_a_digest_or_a_reason_why_not_and_it_was_pinned_or_seen(
    reference: ImageReference, image_ids: list[str]
) -> None:
    resolution = resolve(reference, image_ids)

    assert bool(resolution.digest) is not bool(resolution.reason)
    assert resolution.digest in {None, reference.digest, *resolution.digests}
