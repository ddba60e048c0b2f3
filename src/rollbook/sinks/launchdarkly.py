"""LaunchDarkly, *create deployment event* (WIRE §1.1): hears the course of rollouts.

A deployment there is project, environment, application and version: no id is returned, so the end of a rollout
must come under the same four as its start. They are returned for a start, and frozen while it is open.

The call has no idempotency key. Where an earlier try may have taken effect, *list deployments* (WIRE §1.2) is
read first. While that cannot be answered, the delivery stays uncertain: every `SinkUnavailable` says `sent`.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from rollbook.core.errors import SinkRejected, SinkUnavailable
from rollbook.core.transition import Channel, Kind, Stamp, Transition
from rollbook.crd.sink import LaunchDarklySpec
from rollbook.delivery import Delivery
from rollbook.sinks.answers import MESSAGE_LIMIT, Answer
from rollbook.sinks.http import Auth, HttpClient

EVENTS: Final = "/api/v2/engineering-insights/deployment-events"
DEPLOYMENTS: Final = "/api/v2/engineering-insights/deployments"

PAGE_SIZE: Final = 100
"""The most that one page of the list may hold (WIRE §1.2)."""

PAGE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one page."""

MAX_PAGES: Final = 50
"""A list without end must not hold a delivery for ever."""

MARGIN: Final = 60 * 60 * 1000
"""Milliseconds before the attempt's beginning from which the list is read: clocks differ."""

_HEADERS: Final = {"LD-API-Version": "beta"}
"""Documented as required, and harmless where it is not (WIRE §6.2)."""

_WITHOUT_INSIGHTS: Final = frozenset({"app.eu.launchdarkly.com", "app.launchdarkly.us"})
"""LaunchDarkly's hosts without engineering insights (WIRE §1.0); asked all the same: that may change."""

_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_COURSE: Final = (Kind.STARTED, Kind.FINISHED, Kind.FAILED)
_IDENTITY: Final = ("project", "environment", "application", "version")


class LaunchDarklyApi:
    """Reports rollouts that started, finished and failed."""

    channels = frozenset({Channel.ROLLOUT})

    def __init__(self, spec: LaunchDarklySpec, http: HttpClient) -> None:
        self._spec = spec
        self._http = http

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """See `Sink.deliver`."""
        if not hears(delivery.transition):
            return None
        identity = identify(delivery, self._spec)
        if delivery.uncertain:
            await self._look_then_post(delivery, identity)
        else:
            await self._post(delivery, identity)
        return identity if delivery.transition.kind is Kind.STARTED else None

    async def _look_then_post(self, delivery: Delivery, identity: Mapping[str, str]) -> None:
        try:
            if not await self._applied(delivery, identity):
                await self._post(delivery, identity)
        except SinkUnavailable as error:
            unavailable = SinkUnavailable(str(error), retry_after=error.retry_after, sent=True)
        else:
            return
        raise unavailable

    async def _post(self, delivery: Delivery, identity: Mapping[str, str]) -> None:
        body = payload(delivery, identity)
        check(await self._http.post(EVENTS, body, auth=Auth.BARE, headers=_HEADERS), self._spec)

    async def _applied(self, delivery: Delivery, identity: Mapping[str, str]) -> bool:
        """Whether a deployment in the list shows this very event."""
        transition = delivery.transition
        async with aclosing(self._listed(transition, identity)) as deployments:
            async for deployment in deployments:
                if shows(deployment, transition, identity):
                    return True
        return False

    async def _listed(self, transition: Transition, identity: Mapping[str, str]) -> AsyncGenerator[Any, None]:
        """Every deployment of the application since shortly before the attempt began."""
        query = search(transition, identity)
        for _ in range(MAX_PAGES):
            answer = await self._http.get(DEPLOYMENTS, query, auth=Auth.BARE, headers=_HEADERS, limit=PAGE_LIMIT)
            check(answer, self._spec)
            items, after = read_page(answer)
            for item in items:
                yield item
            if after is None or after == query.get("after"):
                return
            query = query | {"after": after}
        raise SinkUnavailable(f"the list of deployments has no end within {MAX_PAGES} pages")


def hears(transition: Transition) -> bool:
    """Whether it is told at all: the course of the application's reporting slot, nothing else."""
    return transition.kind.channel is Channel.ROLLOUT and transition.identity.reports


def identify(delivery: Delivery, spec: LaunchDarklySpec) -> dict[str, str]:
    """The four that a deployment is known by; for the end of a rollout those that its start was told under.

    Raises:
        SinkRejected: the project is not allowed, or the version is one that LaunchDarkly would refuse.
    """
    transition, frozen = delivery.transition, delivery.frozen
    if frozen and transition.kind is not Kind.STARTED and all(name in frozen for name in _IDENTITY):
        return {name: frozen[name] for name in _IDENTITY}
    environment = delivery.key.environment
    return {
        "project": _project(transition.identity.project, spec),
        "environment": spec.environments.get(environment, environment),
        "application": transition.identity.application,
        "version": _version(transition.artifact.version),
    }


def payload(delivery: Delivery, identity: Mapping[str, str]) -> dict[str, Any]:
    """The body of the call."""
    transition = delivery.transition
    who = transition.identity
    body = {
        "projectKey": identity["project"],
        "environmentKey": identity["environment"],
        "applicationKey": identity["application"],
        "applicationName": who.application_name,
        "applicationKind": who.application_kind,
        "version": identity["version"],
        "versionName": who.version_name,
        "eventType": transition.kind.value,
        "eventTime": transition.at.time,
        "eventMetadata": _event_metadata(transition),
        "deploymentMetadata": _deployment_metadata(delivery),
    }
    return _given(body)


def search(transition: Transition, identity: Mapping[str, str]) -> dict[str, str | int]:
    """The query of the list; without `from`, only the last seven days are listed."""
    return {
        "projectKey": identity["project"],
        "environmentKey": identity["environment"],
        "applicationKey": identity["application"],
        "from": max(0, min(transition.began, transition.at.time) - MARGIN),
        "limit": PAGE_SIZE,
    }


def shows(deployment: Any, transition: Transition, identity: Mapping[str, str]) -> bool:
    """Whether a deployment of the list has this event in it: the same version, and the event's own time.

    The words of `status` are not published: one that is not an event's does not speak against it.
    """
    if not isinstance(deployment, dict):
        return False
    known = (
        deployment.get("applicationKey"),
        deployment.get("environmentKey"),
        deployment.get("applicationVersion"),
    )
    if known != (identity["application"], identity["environment"], identity["version"]):
        return False
    if transition.kind is Kind.STARTED:
        return _millis(deployment.get("startedAt")) == transition.at.time
    another = deployment.get("status") in [kind.value for kind in _COURSE if kind is not transition.kind]
    return _millis(deployment.get("endedAt")) == transition.at.time and not another


def read_page(answer: Answer) -> tuple[list[Any], str | None]:
    """The deployments of one page, and the cursor of the next.

    Only the cursor is taken from the link: whether it repeats the query is not known, nor where it leads.

    Raises:
        SinkUnavailable: it is not a list of deployments.
    """
    page = answer.json()
    items = page.get("items") if isinstance(page, dict) else None
    if not isinstance(items, list):
        raise SinkUnavailable("the list of deployments cannot be read")
    href: Any = page
    for name in ("_links", "next", "href"):
        href = href.get(name) if isinstance(href, dict) else None
    return items, _cursor(href) if isinstance(href, str) else None


def _cursor(href: str) -> str | None:
    try:
        return parse_qs(urlsplit(href).query).get("after", [None])[0]
    except ValueError:
        return None


def check(answer: Answer, spec: LaunchDarklySpec) -> None:
    """Return if LaunchDarkly took the request; what differs from the others' answers is here.

    Raises:
        SinkUnavailable: also for 409, a lost optimistic lock (WIRE §1.0).
        SinkUnauthorized: for 401, and for 403 where another credential may help.
        SinkRejected: also for a 403 that misses the beta header, as no credential cures that.
    """
    host = urlsplit(spec.endpoint).hostname
    if answer.status == HTTPStatus.CONFLICT:
        raise SinkUnavailable(answer.message, retry_after=answer.retry_after)
    if answer.status == HTTPStatus.FORBIDDEN and "ld-api-version" in answer.message.lower():
        raise _rejected("LD-API-Version was sent, does a proxy remove it?", answer)
    if answer.status == HTTPStatus.NOT_FOUND and host in _WITHOUT_INSIGHTS:
        raise _rejected(f"{host} has no engineering insights:", answer)
    answer.check()


def _rejected(hint: str, answer: Answer) -> SinkRejected:
    return SinkRejected(f"{hint} {answer.message}"[:MESSAGE_LIMIT])


def _project(chosen: str | None, spec: LaunchDarklySpec) -> str:
    if chosen is None or chosen == spec.project_key or chosen in spec.allowed_projects:
        return chosen or spec.project_key
    raise SinkRejected(f"NotAllowed: this sink does not allow the project {chosen[:80]!r}; its admin may")


def _version(version: str) -> str:
    if _VERSION.fullmatch(version):
        return version
    raise SinkRejected(
        f"version {version[:80]!r} is not 1 to 64 letters, digits, '.', '_' or '-': "
        "set the annotation rollbook.dev/version"
    )


def _event_metadata(transition: Transition) -> dict[str, Any]:
    at: Stamp = transition.at
    return _given(
        {
            "reason": transition.reason,
            "message": transition.message,
            "revision": transition.revision,
            "timeSource": at.source.value,
            "notBefore": at.not_before,
            "notAfter": at.not_after,
        }
    )


def _deployment_metadata(delivery: Delivery) -> dict[str, Any]:
    """What people look for; a team's own entries come first, ours win."""
    transition, key = delivery.transition, delivery.key
    ours = {
        "id": delivery.id,
        "digest": transition.artifact.digest,
        "image": transition.artifact.reference,
        "commit": transition.identity.commit,
        "cluster": key.cluster,
        "namespace": key.namespace,
        "workload": key.workload.name,
        "kind": key.workload.kind,
        "container": key.container,
        "deploymentName": transition.identity.deployment_name,
    }
    return {**transition.identity.metadata, **_given(ours)}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {name: value for name, value in values.items() if value not in (None, "")}


def _millis(value: Any) -> int | None:
    """A time of the list; the published examples write it as a string (WIRE §6.6)."""
    return int(value) if isinstance(value, int | str) and re.fullmatch(r"[0-9]{1,15}", str(value)) else None
