"""Which slots a workload claims, and under which names."""

from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given, strategies as st

from rollbook.core.annotations import METADATA_ENTRIES, VALUE_LENGTH
from rollbook.core.identity import Claim, Environment, Rules, Untracked, claims, environment
from rollbook.core.slot import Condition
from rollbook.core.workload import Deployment, Namespace, WorkloadRef
from tests.unit.core import strategies
from tests.unit.core.strategies import unhurried

DIGEST: Final = "sha256:" + "0123456789abcdef" * 4
RULES: Final = Rules(cluster="prod-eu")
ONE: Final = (("api", "acme/api:v1.2"),)
TWO: Final = (("api", "acme/api:v1.2"), ("proxy", "envoy:v1.30"))


def deployment(
    annotations: Mapping[str, str] | None = None,
    containers: tuple[tuple[str, str], ...] = ONE,
    *,
    version_label: str | None = None,
    kind: str = "Deployment",
) -> Deployment:
    """The workload `shop/web`."""
    return Deployment(
        ref=WorkloadRef(namespace="shop", name="web", kind=kind),
        uid="u1",
        created=0,
        generation=1,
        observed_generation=1,
        revision="1",
        containers=containers,
        replicas=1,
        annotations=annotations or {},
        version_label=version_label,
    )


def namespace(annotations: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Namespace:
    """The namespace `shop`; labels are given without the prefix."""
    prefixed = {f"rollbook.dev/{name}": value for name, value in (labels or {}).items()}
    return Namespace(name="shop", labels=prefixed, annotations=annotations or {})


def claimed(workload: Deployment, space: Namespace | None = None, rules: Rules = RULES) -> dict[str, Claim]:
    """The claims by container; the workload must be tracked."""
    found = claims(workload, space, rules)
    assert not isinstance(found, Untracked), found
    return {claim.key.container: claim for claim in found}


def finding(claim: Claim) -> Condition:
    """The only finding of a claim."""
    (found,) = claim.findings
    assert found.type == "InvalidAnnotation"
    return found


# environment


@pytest.mark.parametrize(
    ("labels", "rules", "expected"),
    [
        pytest.param({"environment": "production"}, RULES, "production", id="the namespace's label"),
        pytest.param({}, RULES, "prod-eu", id="the cluster's name"),
        pytest.param({}, Rules(cluster="c", default_environment="dev"), "dev", id="the install's default"),
        pytest.param(
            {},
            Rules(cluster="c", namespace_environments=(("web", "no"), ("sh*", "staging"), ("shop", "late"))),
            "staging",
            id="the first match of the mapping",
        ),
        pytest.param(
            {"environment": "production"},
            Rules(cluster="c", namespace_environments=(("*", "staging"),)),
            "production",
            id="the label before the mapping",
        ),
    ],
)
def test_a_namespace_has_one_environment_of_its_own(labels: dict[str, str], rules: Rules, expected: str) -> None:
    assert environment(deployment(), namespace(labels=labels), rules) == Environment(name=expected)


def test_an_unknown_namespace_is_mapped_by_its_name() -> None:
    rules = Rules(cluster="c", namespace_environments=(("shop", "staging"),))

    assert environment(deployment(), None, rules) == Environment(name="staging")


@pytest.mark.parametrize("chosen", ["canary", "staging", "qa", "production"])
def test_a_workload_may_choose_what_its_namespace_allows_and_its_own(chosen: str) -> None:
    space = namespace(
        annotations={"allowed-environments": "canary, staging,,"},
        labels={"environment": "production", "allowed-environments": "qa"},
    )

    assert environment(deployment({"environment": chosen}), space, RULES) == Environment(name=chosen)


def refused(chosen: str) -> Environment:
    """The refusal to leave `production`."""
    message = f"namespace shop does not allow the environment {chosen!r}"
    condition = Condition(type="NotAllowed", reason="EnvironmentNotAllowed", message=message)
    return Environment(name="production", refused=condition)


@pytest.mark.parametrize(
    ("said", "space_said"),
    [
        pytest.param({"environment": "staging"}, {}, id="nothing is allowed"),
        pytest.param({"environment": "staging"}, {"allowed-environments": "canary"}, id="another is allowed"),
        pytest.param(
            {"environment": "staging", "allowed-environments": "staging"}, {}, id="a workload grants nothing"
        ),
        pytest.param({}, {"environment": "staging"}, id="the namespace's annotation is a choice too"),
    ],
)
def test_what_is_not_allowed_is_refused(said: dict[str, str], space_said: dict[str, str]) -> None:
    space = namespace(space_said, {"environment": "production"})

    assert environment(deployment(said), space, RULES) == refused("staging")


def test_an_unknown_namespace_allows_nothing() -> None:
    chosen = environment(deployment({"environment": "staging"}), None, Rules(cluster="production"))

    assert chosen == refused("staging")


def test_a_refused_workload_claims_its_own_environment_and_says_so() -> None:
    claim = claimed(deployment({"environment": "staging"}), namespace(labels={"environment": "production"}))["api"]

    assert claim.key.environment == "production"
    assert claim.refused == refused("staging").refused


def test_the_nearest_choice_wins_and_an_empty_one_takes_it_back() -> None:
    space = namespace({"environment": "a", "allowed-environments": "a, b"}, {"environment": "own"})

    assert environment(deployment({"environment": "b"}), space, RULES).name == "b"
    assert environment(deployment(), space, RULES).name == "a"
    assert environment(deployment({"environment": ""}), space, RULES).name == "own"


# tracking

OPT_IN: Final = Rules(cluster="c", track_default=False)
NO_WAY_OUT: Final = Rules(cluster="c", teams_may_untrack=False)
HIDDEN: Final = Rules(cluster="c", excluded_namespaces=("kube-*", "sh*"))


@pytest.mark.parametrize(
    ("near", "far", "rules", "reason"),
    [
        pytest.param(None, None, RULES, "", id="on by default"),
        pytest.param(None, None, OPT_IN, "Default", id="off by default"),
        pytest.param("true", None, OPT_IN, "", id="opted in"),
        pytest.param(None, "On", OPT_IN, "", id="opted in by the namespace"),
        pytest.param("off", None, RULES, "Annotation", id="opted out"),
        pytest.param(None, "FALSE", RULES, "Annotation", id="opted out by the namespace"),
        pytest.param("on", "off", RULES, "", id="the workload before the namespace"),
        pytest.param("off", "on", RULES, "Annotation", id="the workload before the namespace, off"),
        pytest.param("", "off", RULES, "Annotation", id="an empty one says nothing"),
        pytest.param("on", None, HIDDEN, "NamespaceExcluded", id="excluded, whatever it says"),
        pytest.param("off", None, NO_WAY_OUT, "", id="out is not allowed"),
        pytest.param(
            "off", "on", Rules(cluster="c", track_default=False, teams_may_untrack=False), "", id="nor back"
        ),
        pytest.param(
            "off",
            None,
            Rules(cluster="c", track_default=False, teams_may_untrack=False),
            "Annotation",
            id="was out",
        ),
    ],
)
def test_tracking_is_switched(near: str | None, far: str | None, rules: Rules, reason: str) -> None:
    workload = deployment({} if near is None else {"track": near})
    found = claims(workload, namespace({} if far is None else {"track": far}), rules)

    assert (found.reason if isinstance(found, Untracked) else "") == reason


def test_a_switch_that_cannot_be_read_counts_as_not_there_and_is_reported() -> None:
    told = "track: 'nope' is none of true, on, false, off"

    assert finding(claimed(deployment({"track": "nope"}))["api"]) == Condition(
        type="InvalidAnnotation", reason="UnknownValue", message=told
    )
    assert claims(deployment({"track": "nope"}), None, OPT_IN) == Untracked(
        reason="Default", findings=(Condition(type="InvalidAnnotation", reason="UnknownValue", message=told),)
    )


def test_a_refused_way_out_is_reported() -> None:
    claim = claimed(deployment({"track": "off"}), rules=NO_WAY_OUT)["api"]

    assert finding(claim).reason == "UntrackNotAllowed"
    assert claim.refused is None


# containers and names


def test_every_container_has_a_slot_and_the_first_one_reports() -> None:
    found = claimed(deployment(containers=TWO))

    assert [claim.identity.deployment_name for claim in found.values()] == ["shop/web/api", "shop/web/proxy"]
    assert [claim.identity.reports for claim in found.values()] == [True, False]
    assert found["proxy"].reference_text == "envoy:v1.30"
    assert found["proxy"].reference is not None
    assert found["proxy"].reference.repository == "docker.io/library/envoy"
    key = found["proxy"].key
    assert (key.cluster, key.workload, key.container) == ("prod-eu", deployment().ref, "proxy")


def test_a_pod_template_without_containers_claims_nothing() -> None:
    assert claims(deployment(containers=()), None, RULES) == ()


def test_only_listed_containers_are_tracked_and_the_first_of_them_reports() -> None:
    found = claimed(deployment({"containers": " proxy ,", "deployment-name": "edge"}, TWO))

    assert list(found) == ["proxy"]
    assert found["proxy"].identity.reports
    assert found["proxy"].identity.deployment_name == "shop/edge"


def test_a_listed_container_that_is_not_there_is_reported() -> None:
    found = claimed(deployment({"containers": "proxy, worker"}, TWO))

    assert list(found) == ["proxy"]
    assert finding(found["proxy"]).message == "containers: no container 'worker'"


def test_a_list_that_names_no_container_counts_as_not_there_and_is_reported() -> None:
    found = claimed(deployment({"containers": "worker"}, TWO))

    assert list(found) == ["api", "proxy"]
    assert {finding(claim).reason for claim in found.values()} == {"UnknownContainer"}


def test_the_primary_container_can_be_named() -> None:
    found = claimed(deployment({"primary-container": "proxy"}, TWO))

    assert [claim.identity.reports for claim in found.values()] == [False, True]
    assert found["proxy"].findings == ()


@pytest.mark.parametrize("said", [{"primary-container": "x"}, {"primary-container": "proxy", "containers": "api"}])
def test_a_primary_container_that_is_not_tracked_is_reported_and_the_first_one_reports(
    said: dict[str, str],
) -> None:
    claim = claimed(deployment(said, TWO))["api"]

    assert claim.identity.reports
    assert finding(claim).reason == "UnknownContainer"


def test_other_kinds_of_workloads_are_named_in_the_deployment_name() -> None:
    claim = claimed(deployment(kind="StatefulSet"))["api"]

    assert claim.identity.deployment_name == "shop/statefulset/web/api"


def test_a_given_deployment_name_stays_in_its_namespace_and_tells_containers_apart() -> None:
    said = {"deployment-name": "../other/api"}

    assert claimed(deployment(said))["api"].identity.deployment_name == "shop/../other/api"
    assert [claim.identity.deployment_name for claim in claimed(deployment(said, TWO)).values()] == [
        "shop/../other/api/api",
        "shop/../other/api/proxy",
    ]


def test_an_application_is_what_the_annotations_say() -> None:
    said = {
        "application": "storefront",
        "application-name": "Storefront",
        "application-kind": "browser",
        "project": "retail",
        "version-name": "Release 7",
        "commit": "abc1234",
        "metadata.team": "blue",
    }
    found = claimed(deployment(said, TWO), namespace({"application": "far", "metadata.tier": "1"}))
    primary, other = found["api"].identity, found["proxy"].identity

    assert (primary.application, primary.application_name) == ("storefront", "Storefront")
    assert (primary.application_kind, primary.project) == ("browser", "retail")
    assert (primary.version_name, primary.commit) == ("Release 7", "abc1234")
    assert primary.metadata == other.metadata == {"team": "blue", "tier": "1"}
    assert (other.application, other.version_name, other.commit) == ("storefront", None, None)
    assert found["api"].findings == ()


def test_without_annotations_the_application_is_the_workload() -> None:
    identity = claimed(deployment())["api"].identity

    assert identity.application == "web"
    assert identity.application_name is identity.application_kind is identity.project is None


def test_an_application_kind_that_trackers_do_not_know_is_reported() -> None:
    claim = claimed(deployment({"application-kind": "desktop"}))["api"]

    assert claim.identity.application_kind is None
    assert finding(claim).message == "application-kind: 'desktop' is none of server, browser, mobile"


def test_a_value_too_long_for_the_ledger_is_left_out_and_reported() -> None:
    claim = claimed(deployment({"deployment-name": "n" * (VALUE_LENGTH + 1), "project": "p" * VALUE_LENGTH}))[
        "api"
    ]

    assert claim.identity.deployment_name == "shop/web/api"
    assert claim.identity.project == "p" * VALUE_LENGTH
    assert finding(claim).reason == "TooLong"


def test_metadata_is_bounded_and_what_is_left_out_is_reported() -> None:
    said = {f"metadata.k{number:02}": "v" for number in range(METADATA_ENTRIES + 2)}
    claim = claimed(deployment({**said, "metadata.a": "v" * (VALUE_LENGTH + 1)}))["api"]

    assert list(claim.identity.metadata) == [f"k{number:02}" for number in range(METADATA_ENTRIES)]
    assert finding(claim).message.startswith("metadata: 3 left out")


def test_all_problems_are_one_finding() -> None:
    claim = claimed(deployment({"track": "?", "application-kind": "?", "containers": "?"}))["api"]

    assert finding(claim).message.count("; ") == 2
    assert claim.refused is None


def test_an_image_that_is_no_reference_refuses_its_own_claim_only() -> None:
    found = claimed(deployment(containers=(("api", "Not An Image"), ("proxy", "envoy:v1.30"))))

    assert found["api"].reference is None
    assert found["api"].refused == Condition(
        type="DigestResolved",
        reason="InvalidReference",
        message="not an image reference: 'Not An Image'",
        status=False,
    )
    assert found["api"].version(None) == ""
    assert found["proxy"].refused is None


# version

MOVING: Final = Rules(cluster="c", moving_tags=("main", "release-*"))


@pytest.mark.parametrize(
    ("said", "label", "image", "before", "after"),
    [
        pytest.param({"version": "7", "commit": "abc"}, "l", "a:v1", "7", "7", id="the annotation"),
        pytest.param({"commit": "abc"}, "l", "a:v1", "abc", "abc", id="the commit"),
        pytest.param({"version": ""}, "l", "a:v1", "l", "l", id="the label"),
        pytest.param({}, None, "a:v1", "v1", "v1", id="the tag"),
        pytest.param({}, "", f"a:v1@{DIGEST}", "v1", "v1", id="the tag beside a digest"),
        pytest.param({}, None, "a:latest", "", "0123456789ab", id="latest is no version"),
        pytest.param({}, None, "a:main", "", "0123456789ab", id="a branch is no version"),
        pytest.param({}, None, "a:release-2", "", "0123456789ab", id="a glob of branches is none"),
        pytest.param({}, None, "a", "", "0123456789ab", id="no tag"),
        pytest.param({}, None, f"a:latest@{DIGEST}", "0123456789ab", "0123456789ab", id="a pinned digest"),
    ],
)
def test_the_version_by_precedence_before_and_after_the_digest_is_known(
    said: dict[str, str], label: str | None, image: str, before: str, after: str
) -> None:
    claim = claimed(deployment(said, (("api", image),), version_label=label), rules=MOVING)["api"]

    assert claim.version(None) == before
    assert claim.version(DIGEST) == after


@pytest.mark.parametrize("said", [{"version": "7"}, {"commit": "abc"}, {}])
def test_the_applications_version_is_not_the_sidecars(said: dict[str, str]) -> None:
    found = claimed(deployment(said, TWO, version_label="l"))

    assert found["api"].version(None) in {"7", "abc", "l"}
    assert found["proxy"].version(None) == "v1.30"


# laws

values = st.one_of(
    st.text(max_size=20), st.text(min_size=VALUE_LENGTH - 1, max_size=VALUE_LENGTH + 1), st.just("api, proxy")
)
annotation_names = st.sampled_from(
    [
        "track",
        "environment",
        "allowed-environments",
        "containers",
        "primary-container",
        "deployment-name",
        "application",
        "application-kind",
        "project",
        "version",
        "commit",
        "metadata.a",
        "metadata.b",
    ]
)
annotations = st.dictionaries(annotation_names, values, max_size=6)
pods = st.lists(
    st.tuples(
        st.sampled_from(["api", "proxy", "x"]), st.one_of(st.text(max_size=9), strategies.canonical_references())
    ),
    max_size=3,
    unique_by=lambda one: one[0],
).map(tuple)


@unhurried
@given(annotations, annotations, pods)
def test_whatever_a_team_writes_stays_in_its_namespace_and_within_bounds(
    near: dict[str, str], far: dict[str, str], containers: tuple[tuple[str, str], ...]
) -> None:
    rules = Rules(cluster="c", excluded_namespaces=())
    found = claims(deployment(near, containers), namespace(far), rules)
    if isinstance(found, Untracked):
        return
    assert sum(claim.identity.reports for claim in found) == min(1, len(containers))
    assert len({claim.identity.deployment_name for claim in found}) == len(found)
    for claim in found:
        assert claim.key.workload == deployment().ref
        assert claim.key.environment == "c" or claim.key.environment in far["allowed-environments"]
        assert claim.identity.deployment_name.startswith("shop/")
        assert len(claim.identity.deployment_name) <= VALUE_LENGTH + len("shop//proxy")
        assert len(claim.findings) <= 1
        assert all(len(one.message) < 2_000 for one in claim.findings)
        assert (claim.reference is None) <= (claim.refused is not None)
