"""From a TrackingSink to a sink."""

import dataclasses
from typing import Any

import pytest

from rollbook.core.errors import ConfigError, InvalidObject
from rollbook.core.transition import Channel
from rollbook.core.workload import Namespace
from rollbook.crd.sink import TrackingSinkSpec, parse
from rollbook.delivery import Sink
from rollbook.sinks import registry
from rollbook.sinks.registry import Credential, build, key
from tests.unit.sinks.builders import KEY, TOKEN, body, tracking_sink

TRACKER = {"tracker": {"endpoint": "https://tracker.test"}}
CREDENTIAL = Credential(token=TOKEN, hosts=frozenset({"tracker.test"}))


def sink(**spec: Any) -> Sink:
    return build(tracking_sink({**TRACKER, **spec}), CREDENTIAL)


def test_there_is_a_sink_for_every_destination_of_the_resource() -> None:
    fields = {"chainloop", "launchDarkly", "tracker"}
    assert registry._APIS.keys() == fields
    assert fields <= {field.alias for field in TrackingSinkSpec.model_fields.values()}


async def test_what_the_object_says_of_the_sink() -> None:
    built = sink()
    assert built.name == "insights"
    assert built.since == 1795341600000
    assert built.channels == {Channel.STATE, Channel.ROLLOUT}
    await built.close()


def test_a_key_is_the_uid_and_eight_digits_of_the_destination() -> None:
    uid, digits = key(tracking_sink(TRACKER)).split(":")
    assert uid == "9b1f6c1e-0c7e-4b53-a6f5-1f5d3b0c8a11"
    assert digits == "4c126224"


def test_another_destination_has_another_key() -> None:
    specs: list[dict[str, Any]] = [
        TRACKER,
        {"tracker": {"endpoint": "https://other.test"}},
        {"tracker": {"endpoint": "https://tracker.test", "projectKey": "p"}},
        {"launchDarkly": {"endpoint": "https://tracker.test", "projectKey": "p"}},
        {"chainloop": {"endpoint": "https://tracker.test"}},
    ]
    assert len({key(tracking_sink(spec)) for spec in specs}) == len(specs)


def test_what_is_no_destination_leaves_the_key() -> None:
    plain = key(tracking_sink(TRACKER))
    changed = {
        "tracker": {"endpoint": "https://tracker.test/", "environments": {"prod": "p"}},
        "selector": {},
        "suspend": True,
        "credentials": {"secretName": "another"},
    }
    assert key(tracking_sink(changed)) == plain


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"environments": []}, True),
        ({"environments": ["dev", "prod"]}, True),
        ({"environments": ["dev"]}, False),
        ({"namespaceLabels": {"team": "blue"}}, True),
        ({"namespaceLabels": {"team": "red"}}, False),
        ({"namespaceLabels": {"team": "blue", "tier": "1"}}, False),
        ({"workloadLabels": {"app": "billing"}}, True),
        ({"workloadLabels": {"app": "other"}}, False),
        ({"workloadLabels": {"team": "blue"}}, False),
        (
            {"environments": ["prod"], "namespaceLabels": {"team": "blue"}, "workloadLabels": {"app": "billing"}},
            True,
        ),
        (
            {"environments": ["dev"], "namespaceLabels": {"team": "blue"}, "workloadLabels": {"app": "billing"}},
            False,
        ),
    ],
)
async def test_what_a_selector_selects(selector: dict[str, Any], *, selected: bool) -> None:
    built = sink(selector=selector)
    namespace = Namespace(name="pay", labels={"team": "blue"})
    assert built.selects(KEY, namespace, {"app": "billing", "x": "y"}) is selected
    await built.close()


async def test_a_sink_without_selector_hears_of_everything() -> None:
    whole = body(TRACKER)
    del whole["spec"]["selector"]
    built = build(parse(whole), CREDENTIAL)
    assert built.selects(KEY, Namespace(name="pay"), {})
    await built.close()


@pytest.mark.parametrize("token", ["", " \n", "two words", "line\nbreak", "naïve", "nul\0"])
def test_a_token_that_cannot_be_sent_is_refused_unseen(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(tracking_sink(TRACKER), dataclasses.replace(CREDENTIAL, token=token))
    assert "token" in str(caught.value)
    assert not token.strip() or token not in str(caught.value)


def test_a_token_is_not_in_a_representation() -> None:
    assert TOKEN not in repr(CREDENTIAL)
    assert TOKEN not in repr(sink())


@pytest.mark.parametrize(
    ("endpoint", "insecure", "why"),
    [
        ("https://other.test", False, "may not be sent to other.test"),
        ("http://tracker.test", False, "not https"),
        ("https://169.254.169.254", True, "link-local"),
        ("tracker.test", True, "not an http"),
    ],
)
def test_an_endpoint_against_the_rules_is_refused(endpoint: str, why: str, *, insecure: bool) -> None:
    with pytest.raises(ConfigError, match=why):
        sink(tracker={"endpoint": endpoint}, allowInsecureHTTP=insecure)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({}, "spec: exactly one of"),
        ({**TRACKER, "chainloop": {}}, "spec: exactly one of"),
        ({"launchDarkly": {"projectKey": "p"}, "selector": {}}, "spec: launchDarkly needs a selector"),
        ({"launchDarkly": {}}, r"spec\.launchDarkly\.projectKey: Field required"),
        ({"tracker": {}}, r"spec\.tracker\.endpoint: Field required"),
        ({**TRACKER, "credentials": {}}, r"spec\.credentials\.secretName: Field required"),
        ({**TRACKER, "suspend": "maybe"}, r"spec\.suspend: "),
    ],
)
def test_an_object_against_the_schema_is_refused_in_one_line(spec: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidObject, match=why) as caught:
        tracking_sink(spec)
    assert "\n" not in str(caught.value)


def test_fields_of_later_versions_are_kept() -> None:
    assert tracking_sink({**TRACKER, "later": 1}).model_dump(by_alias=True)["spec"]["later"] == 1
