"""The story as data: what is done, and what must be known afterwards.

Every step is whole in itself: whoever performs the steps in order and waits after each for what it says must find
the same in the tracker and in the cluster, however often the operator dies on the way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

REGISTRY: Final = "registry.example/shop"

ENVIRONMENTS: Final[Mapping[str, str]] = {
    "shop-dev": "development",
    "shop-staging": "staging",
    "shop-prod": "production",
}
"""The namespaces of the story and what their label `rollbook.dev/environment` says."""

GRACES: Final[Mapping[str, object]] = {"idle_grace": 2, "missing_grace": 1}
"""The operator's settings: nobody waits minutes for the end of a demo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One slot of the story: an application in one namespace."""

    namespace: str
    application: str
    """The Deployment's name."""
    container: str
    """As `kubectl create deployment` names it: after the image."""

    @property
    def environment(self) -> str:
        """Where that is."""
        return ENVIRONMENTS[self.namespace]

    @property
    def deployment_name(self) -> str:
        """Under which name trackers know it."""
        return f"{self.namespace}/{self.application}/{self.container}"

    def image(self, version: str) -> str:
        """The reference of one version."""
        return f"{REGISTRY}/{self.container}:{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What must be known of a place, from its beginning.

    Args:
        slot: The slot's history, oldest first: `1.0.0 SUPERSEDED, 1.1.0 DEPLOYED`.
        told: The rollout events in order: `1.0.0 started finished, 1.1.0 started failed`.
        failure: The reason of the last failed rollout, empty where none failed.
        rollback: Whether what is DEPLOYED was so before.
    """

    slot: str
    told: str
    failure: str = ""
    rollback: bool = False

    @property
    def history(self) -> list[tuple[str, str]]:
        """(version, status) of each record."""
        return [(version, status) for version, status in map(str.split, self.slot.split(","))]

    @property
    def events(self) -> list[tuple[str, str]]:
        """(version, event) of each rollout event."""
        return [(version, kind) for version, *kinds in map(str.split, self.told.split(",")) for kind in kinds]

    @property
    def failing(self) -> bool:
        """Whether the last rollout failed and nothing has followed."""
        return self.events[-1][1] == "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a user types.

    Args:
        line: Its arguments, without `kubectl`.
        really: Typed instead where played nodes must be told what real ones would find out by themselves.
    """

    line: tuple[str, ...]
    really: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: commands, and what must be known afterwards of the places it concerns."""

    title: str
    commands: tuple[Command, ...]
    then: Mapping[Place, Known] = field(default_factory=dict)


def tell(suffix: str = "") -> tuple[Step, ...]:
    """The story, about applications whose names end in `suffix`."""
    web = {environment: _place(namespace, "web", suffix) for namespace, environment in ENVIRONMENTS.items()}
    cart = {environment: _place(namespace, "cart", suffix) for namespace, environment in ENVIRONMENTS.items()}
    return (*_beginning(web, cart), *_promotion(web), *_trouble(cart), *_end(web, cart))


def outcome(steps: tuple[Step, ...]) -> dict[Place, Known]:
    """What must be known of every place after these steps."""
    return {place: known for step in steps for place, known in step.then.items()}


def _place(namespace: str, name: str, suffix: str) -> Place:
    return Place(namespace=namespace, application=name + suffix, container=name)


def _beginning(web: Mapping[str, Place], cart: Mapping[str, Place]) -> Iterator[Step]:
    for places, version in ((web, "1.0.0"), (cart, "2.0.0")):
        name = next(iter(places.values())).application
        yield Step(
            title=f"{name} {version} is installed for the first time, in all three environments",
            commands=tuple(_create(place, version) for place in places.values()),
            then={
                place: Known(slot=f"{version} DEPLOYED", told=f"{version} started finished")
                for place in places.values()
            },
        )


def _promotion(web: Mapping[str, Place]) -> Iterator[Step]:
    for environment, place in web.items():
        yield Step(
            title=f"{place.application} 1.1.0 is promoted to {environment}",
            commands=(_set_image(place, "1.1.0"),),
            then={
                place: Known(
                    slot="1.0.0 SUPERSEDED, 1.1.0 DEPLOYED",
                    told="1.0.0 started finished, 1.1.0 started finished",
                )
            },
        )


def _trouble(cart: Mapping[str, Place]) -> Iterator[Step]:
    place = cart["production"]
    yield Step(
        title=f"{place.application} 2.1.0 fails in production: its image cannot be pulled",
        commands=(_set_missing_image(place, "2.1.0"),),
        then={
            place: Known(
                slot="2.0.0 DEPLOYED",
                told="2.0.0 started finished, 2.1.0 started failed",
                failure="ImagePullBackOff",
            )
        },
    )
    yield Step(
        title=f"{place.application} is rolled back to 2.0.0 in production, where it never stopped running",
        commands=(_undo(place),),
        then={
            place: Known(
                slot="2.0.0 DEPLOYED",
                told="2.0.0 started finished, 2.1.0 started failed, 2.0.0 started finished",
                failure="ImagePullBackOff",
            )
        },
    )


def _end(web: Mapping[str, Place], cart: Mapping[str, Place]) -> Iterator[Step]:
    disliked, idle, removed = web["production"], cart["development"], cart["staging"]
    yield Step(
        title=f"{disliked.application} 1.1.0 runs in production, but nobody likes it: back to 1.0.0",
        commands=(_undo(disliked),),
        then={
            disliked: Known(
                slot="1.0.0 SUPERSEDED, 1.1.0 SUPERSEDED, 1.0.0 DEPLOYED",
                told="1.0.0 started finished, 1.1.0 started finished, 1.0.0 started finished",
                rollback=True,
            )
        },
    )
    yield Step(
        title=f"{idle.application} is scaled to zero in development, longer than the grace",
        commands=(Command(line=(*_in(idle), "scale", f"deployment/{idle.application}", "--replicas=0")),),
        then={idle: Known(slot="2.0.0 DECOMMISSIONED", told="2.0.0 started finished")},
    )
    yield Step(
        title=f"{removed.application} is deleted in staging",
        commands=(Command(line=(*_in(removed), "delete", "deployment", removed.application)),),
        then={removed: Known(slot="2.0.0 DECOMMISSIONED", told="2.0.0 started finished")},
    )


def _in(place: Place) -> tuple[str, str]:
    return "-n", place.namespace


def _create(place: Place, version: str) -> Command:
    image = f"--image={place.image(version)}"
    return Command(line=(*_in(place), "create", "deployment", place.application, image, "--replicas=2"))


def _set_image(place: Place, version: str) -> Command:
    new = f"{place.container}={place.image(version)}"
    return Command(line=(*_in(place), "set", "image", f"deployment/{place.application}", new))


def _set_missing_image(place: Place, version: str) -> Command:
    """The same with a short deadline, and the played nodes told that they cannot pull it.

    Kubernetes counts from a time in whole seconds: a deadline of one may pass at once, and then the rollback that
    follows fails by it too before it succeeds.
    """
    template = (
        '{"metadata":{"annotations":{"harness.rollbook.dev/fail":"image-pull"}},"spec":{"containers":'
        f'[{{"name":"{place.container}","image":"{place.image(version)}"}}]}}}}'
    )
    patch = f'{{"spec":{{"progressDeadlineSeconds":3,"template":{template}}}}}'
    really = (*_in(place), "patch", f"deployment/{place.application}", "--patch", patch)
    return Command(line=_set_image(place, version).line, really=really)


def _undo(place: Place) -> Command:
    return Command(line=(*_in(place), "rollout", "undo", f"deployment/{place.application}"))
