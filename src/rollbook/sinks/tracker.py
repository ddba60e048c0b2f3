"""The embedded tracker: the state of slots by Chainloop's call, rollout events by LaunchDarkly's.

Nothing here is a third dialect: both calls, their rules and their ways out of doubt are the vendors'.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from rollbook.core.transition import Channel
from rollbook.crd.sink import ChainloopSpec, LaunchDarklySpec, TrackerSpec
from rollbook.delivery import Delivery
from rollbook.sinks.chainloop import ChainloopApi
from rollbook.sinks.http import HttpClient
from rollbook.sinks.launchdarkly import LaunchDarklyApi


class TrackerApi:
    """Both calls to one endpoint, with one token."""

    channels = frozenset({Channel.STATE, Channel.ROLLOUT})

    def __init__(self, spec: TrackerSpec, http: HttpClient) -> None:
        common = {"endpoint": spec.endpoint, "environments": spec.environments}
        self._state = ChainloopApi(ChainloopSpec.model_validate(common), http)
        self._rollouts = LaunchDarklyApi(
            LaunchDarklySpec.model_validate({**common, "projectKey": spec.project_key}), http
        )

    async def deliver(self, delivery: Delivery) -> Mapping[str, str] | None:
        """See `Sink.deliver`."""
        match delivery.transition.kind.channel:
            case Channel.STATE:
                await self._state.deliver(delivery)
                return None
            case Channel.ROLLOUT:
                return await self._rollouts.deliver(_without_project(delivery))
            case channel:
                assert_never(channel)


def _without_project(delivery: Delivery) -> Delivery:
    """The project that a team chose is LaunchDarkly's; the tracker has one of its own."""
    identity = replace(delivery.transition.identity, project=None)
    return replace(delivery, transition=replace(delivery.transition, identity=identity))
