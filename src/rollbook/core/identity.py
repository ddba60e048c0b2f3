"""What a namespace, a workload and their annotations say: which slots a workload claims, and under which names.

Annotations (`rollbook.dev/...`) stand on the pod template, the workload or the namespace; the nearest wins. An
empty one says nothing, so a near one can take back what a far one says.

| annotation | means |
|---|---|
| track | `true`, `on`, `false` or `off` |
| environment | another environment than the namespace's own, among those that the namespace allows |
| containers | the containers that are tracked, by comma; else all |
| primary-container | the one whose rollouts are the application's; else the first that is tracked |
| deployment-name | replaces what stands after the namespace in the deployment name |
| application, application-name, application-kind, project | how trackers know it; else the workload's name |
| version, version-name, commit | of the primary container |
| metadata.`<key>` | passed on |

A value that cannot be read counts as not there, and is reported. Nothing is altered to fit.

Environments are granted by whoever may label namespaces: the label `environment` on the namespace, else the
operator's mapping, else the install's default. The label or annotation `allowed-environments` on the namespace
lists others that may be chosen. The *annotation* `environment` on a namespace is such a choice, like a
workload's: only the label grants.
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from rollbook.core.annotations import PREFIX, Words, names, nearest, quoted
from rollbook.core.errors import InvalidObject
from rollbook.core.image import ImageReference, is_moving, parse_reference, short
from rollbook.core.slot import Condition, SlotKey
from rollbook.core.transition import Identity
from rollbook.core.workload import Deployment, Namespace

_SWITCH: Final = {"true": True, "on": True, "false": False, "off": False}
_APPLICATION_KINDS: Final = ("server", "browser", "mobile")
_ALLOWED: Final = "allowed-environments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the admins of an install say."""

    cluster: str
    default_environment: str = ""
    """Of namespaces that neither a label nor the mapping places; empty: the cluster's name."""
    namespace_environments: tuple[tuple[str, str], ...] = ()
    """(namespace or glob, environment): the first that matches counts."""
    track_default: bool = True
    excluded_namespaces: tuple[str, ...] = ("kube-*",)
    """Names or globs; nothing in them is ever tracked."""
    teams_may_untrack: bool = True
    moving_tags: tuple[str, ...] = ()
    """Tags or globs that name no version, besides `latest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a workload belongs."""

    name: str
    """The namespace's own one if the choice of another is refused."""
    refused: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Untracked:
    """A workload that claims no slot."""

    reason: str
    """`NamespaceExcluded`, `Annotation` or `Default`."""
    findings: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One tracked container: its slot and how it presents itself."""

    key: SlotKey
    reference_text: str
    """The image reference as the spec gives it."""
    reference: ImageReference | None
    """The same, read; None if it is not one, and then the claim is refused."""
    identity: Identity
    stated_version: str = ""
    """The version as far as it stands in the spec; empty when only the digest tells."""
    refused: Condition | None = None
    """Why nothing may be recorded or told of it."""
    findings: tuple[Condition, ...] = ()
    """What people should put right; each type once. It hinders nothing."""

    def version(self, digest: str | None) -> str:
        """The version, given the artifact's digest or None; empty while only the digest could tell.

        By precedence: `version`, `commit`, the label `app.kubernetes.io/version`, the tag unless it is a
        moving one, the digest's first 12 hex digits. The first three are the application's: they count for
        the primary container only, since a sidecar has a version of its own.
        """
        pinned = self.reference.digest if self.reference else None
        return self.stated_version or short(pinned or digest or "")


def claims(deployment: Deployment, namespace: Namespace | None, rules: Rules) -> tuple[Claim, ...] | Untracked:
    """The slots that a workload claims, one for each tracked container.

    Args:
        deployment: the workload.
        namespace: its namespace; None says nothing about it.
        rules: of the install.
    """
    words = Words(deployment, namespace)
    untracked = _untracked(words, deployment.ref.namespace, rules)
    if untracked:
        return Untracked(reason=untracked, findings=words.findings)
    containers = _tracked_containers(words, deployment)
    context = _Context(
        words=words,
        deployment=deployment,
        rules=rules,
        place=environment(deployment, namespace, rules),
        primary=_primary(words, [name for name, _ in containers]),
        several=len(containers) > 1,
    )
    claimed = [_claim(context, name, text) for name, text in containers]
    return tuple(replace(claim, findings=words.findings) for claim in claimed)


def environment(deployment: Deployment, namespace: Namespace | None, rules: Rules) -> Environment:
    """The environment of a workload: its namespace's, or one that it chooses and its namespace allows."""
    own = _own_environment(deployment.ref.namespace, namespace, rules)
    chosen = nearest(deployment, namespace).get("environment", own)
    if chosen == own or chosen in _allowed(namespace):
        return Environment(name=chosen)
    message = f"namespace {deployment.ref.namespace} does not allow the environment {quoted(chosen)}"
    refused = Condition(type="NotAllowed", reason="EnvironmentNotAllowed", message=message)
    return Environment(name=own, refused=refused)


def _own_environment(name: str, namespace: Namespace | None, rules: Rules) -> str:
    label = namespace.labels.get(PREFIX + "environment") if namespace else None
    mapped = (place for pattern, place in rules.namespace_environments if fnmatchcase(name, pattern))
    return label or next(mapped, rules.default_environment or rules.cluster)


def _allowed(namespace: Namespace | None) -> frozenset[str]:
    if namespace is None:
        return frozenset()
    label, annotation = namespace.labels.get(PREFIX + _ALLOWED, ""), namespace.annotations.get(_ALLOWED, "")
    return names(f"{label},{annotation}")


def _untracked(words: Words, namespace: str, rules: Rules) -> str:
    """Why the workload is not tracked; empty if it is."""
    if any(fnmatchcase(namespace, pattern) for pattern in rules.excluded_namespaces):
        return "NamespaceExcluded"
    tracked, reason = rules.track_default, "Default"
    for value in (level["track"] for level in words.levels if level.get("track")):
        wanted = _SWITCH.get(value.lower())
        if wanted is None:
            words.problem("track", "UnknownValue", f"{quoted(value)} is none of {', '.join(_SWITCH)}")
        elif tracked and not wanted and not rules.teams_may_untrack:
            words.problem("track", "UntrackNotAllowed", "this install does not let teams switch tracking off")
        else:
            tracked, reason = wanted, "Annotation"
    return "" if tracked else reason


def _tracked_containers(words: Words, deployment: Deployment) -> tuple[tuple[str, str], ...]:
    """As listed, in the pod's order; all of them if the list names none that is there."""
    listed = words.names("containers")
    unknown = sorted(listed - {name for name, _ in deployment.containers})
    if unknown:
        words.problem("containers", "UnknownContainer", f"no container {quoted(', '.join(unknown))}")
    return tuple(one for one in deployment.containers if one[0] in listed) or deployment.containers


def _primary(words: Words, tracked: list[str]) -> str:
    named = words.get("primary-container")
    if named and named in tracked:
        return named
    if named:
        words.problem("primary-container", "UnknownContainer", f"{quoted(named)} is no tracked container")
    return next(iter(tracked), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the claims of one workload have in common."""

    words: Words
    deployment: Deployment
    rules: Rules
    place: Environment
    primary: str
    several: bool


def _claim(context: _Context, container: str, text: str) -> Claim:
    reference, unreadable = _reference(text)
    return Claim(
        key=SlotKey(
            cluster=context.rules.cluster,
            environment=context.place.name,
            workload=context.deployment.ref,
            container=container,
        ),
        reference_text=text,
        reference=reference,
        identity=_identity(context, container),
        stated_version=_stated(context, container) or _tag(reference, context.rules),
        refused=context.place.refused or unreadable,
    )


def _reference(text: str) -> tuple[ImageReference | None, Condition | None]:
    try:
        return parse_reference(text), None
    except InvalidObject as error:
        message = str(error)
    return None, Condition(type="DigestResolved", reason="InvalidReference", message=message, status=False)


def _tag(reference: ImageReference | None, rules: Rules) -> str:
    """The tag, if it names a version."""
    tag = reference.tag if reference else None
    return tag if tag and not is_moving(tag, rules.moving_tags) else ""


def _stated(context: _Context, container: str) -> str:
    """The application's version, as its annotations or its label say."""
    words = context.words
    if container != context.primary:
        return ""
    return words.get("version") or words.get("commit") or context.deployment.version_label or ""


def _identity(context: _Context, container: str) -> Identity:
    words, primary = context.words, container == context.primary
    return Identity(
        deployment_name=_deployment_name(context, container),
        application=words.get("application") or context.deployment.ref.name,
        application_name=words.get("application-name"),
        application_kind=words.one_of("application-kind", _APPLICATION_KINDS),
        project=words.get("project"),
        version_name=words.get("version-name") if primary else None,
        commit=words.get("commit") if primary else None,
        metadata=words.metadata(),
        reports=primary,
    )


def _deployment_name(context: _Context, container: str) -> str:
    ref, named = context.deployment.ref, context.words.get("deployment-name")
    if named is None:
        kind = "" if ref.kind == "Deployment" else f"{ref.kind.lower()}/"
        return f"{ref.namespace}/{kind}{ref.name}/{container}"
    return f"{ref.namespace}/{named}/{container}" if context.several else f"{ref.namespace}/{named}"
