"""Laws that hold for every life of a slot, whatever the cluster shows and whenever we look."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hypothesis import HealthCheck, given, settings, strategies as st

from rollbook.core import plan as rules
from rollbook.core.image import Resolution
from rollbook.core.observe import Rollout, Running, Sighting
from rollbook.core.outbox import (
    MAX_PENDING,
    Progress,
    Subscription,
    compact,
    enroll,
    owed,
    prune,
    settle,
)
from rollbook.core.plan import Plan, plan
from rollbook.core.seen import Absent, Held, Policy, Seen
from rollbook.core.slot import KEPT_DIGESTS, Condition, Entry, Slot
from rollbook.core.transition import (
    TRANSITIONS,
    Cause,
    Channel,
    Identity,
    Kind,
    Phase,
    RecordStatus,
    Transition,
)
from tests.unit.core.make import (
    MINUTE,
    SECOND,
    A,
    B,
    C,
    Story,
    T,
    entry,
    identity,
    image,
    key,
    running,
    seen,
    slot,
    subscription,
    transition,
)

ROWS: Final = {
    name
    for row in re.findall(r"^\| ([a-z][a-z, -]*) \|", rules.__doc__ or "", re.MULTILINE)
    for name in row.split(", ")
}

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A law holds on a busy machine too."""

ENDS: Final = (Kind.FINISHED, Kind.FAILED)

digests = st.sampled_from([A, B, C])
tags = st.sampled_from(["v1", "v2", "latest", A])

resolutions = st.one_of(
    digests.map(lambda digest: Resolution(digest=digest, digests=(digest,))),
    st.sampled_from(["Empty", "ConfigDigest", "PodsUnknown"]).map(lambda reason: Resolution(reason=reason)),
    st.just(Resolution(reason="Disagree", digests=(A, B))),
)
presentations = st.sampled_from(
    [identity(), identity(deployment_name="payments/till"), identity(application="till")]
)
absences = st.builds(
    Absent,
    cause=st.sampled_from([Cause.DELETED, Cause.REMOVED, Cause.MOVED, Cause.UNTRACKED]),
    pods_left=st.booleans(),
)
holds = st.just(Held(condition=Condition(type="NotAllowed", reason="EnvironmentNotAllowed")))


seconds_ago = st.integers(0, 180)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Anything that a cluster may show of a container, its times in seconds before the moment."""

    uid: str
    tag: str
    revision: str
    rollout: Rollout
    resolution: Resolution
    previous: Running | None
    replica_set: int | None
    reused: bool
    pods: frozenset[int]
    container: int | None
    condition: int | None
    available: bool
    has_deadline: bool
    version: str | None
    identity: Identity
    moved: Entry | None

    def at(self, now: int) -> Seen:
        """As it is seen at a moment."""

        def ago(seconds: int | None) -> int | None:
            return None if seconds is None else (now - seconds * SECOND) // SECOND * SECOND

        failed = self.rollout is Rollout.FAILED
        sighting = Sighting(
            workload_uid=self.uid,
            container="web",
            reference=image(self.tag),
            revision=self.revision,
            rollout=self.rollout,
            resolution=self.resolution,
            previous=self.previous,
            replica_set_created=ago(self.replica_set),
            reused=self.reused,
            pods_created=tuple(sorted((now - each * SECOND) // SECOND * SECOND for each in self.pods)),
            container_started=ago(self.container),
            condition_updated=ago(self.condition or 0) if failed else ago(self.condition),
            available=self.available and not failed,
            has_deadline=self.has_deadline or failed,
            reason="CrashLoopBackOff",
        )
        return seen(sighting, version=self.version, identity=self.identity, moved=self.moved)


shown = st.builds(
    Shown,
    uid=st.sampled_from(["d1", "d1", "d2"]),
    tag=tags,
    revision=st.sampled_from(["1", "2", "3"]),
    rollout=st.sampled_from([*Rollout, Rollout.COMPLETE]),
    resolution=resolutions,
    previous=st.none() | st.builds(running, tags, st.none() | digests),
    replica_set=st.none() | seconds_ago,
    reused=st.booleans(),
    pods=st.frozensets(seconds_ago, max_size=2),
    container=st.none() | seconds_ago,
    condition=st.none() | seconds_ago,
    available=st.booleans(),
    has_deadline=st.booleans(),
    version=st.sampled_from([None, None, "2026.1"]),
    identity=presentations,
    moved=st.sampled_from([None, None, None, entry(number=7)]),
)
moments = st.tuples(
    st.sampled_from([0, 1, 700, 20 * SECOND, 2 * MINUTE, 20 * MINUTE]),
    shown | shown | shown | absences | holds,
)


@dataclass(frozen=True)
class Moment:
    """What was seen when."""

    now: int
    what: Seen | Absent | Held


def dated(steps: list[tuple[int, Shown | Absent | Held]]) -> list[Moment]:
    """One moment after the other: short steps, and gaps in which anything may have happened."""
    now, life = T, []
    for step, what in steps:
        now += step
        life.append(Moment(now=now, what=what.at(now) if isinstance(what, Shown) else what))
    return life


lives = st.lists(moments, min_size=1, max_size=10).map(dated)
"""What somebody saw who looked now and then."""

policies = st.builds(Policy, epoch=st.sampled_from([T - MINUTE, T + MINUTE]), history=st.integers(0, 3))


def live(life: list[Moment], policy: Policy) -> list[tuple[Slot, Plan]]:
    """Every step: the slot before, and what was planned. `Story` sees to it that each plan is idempotent."""
    told, steps = Story(policy=policy), []
    for moment in life:
        before = told.slot
        steps.append((before, told.see(moment.what, at=moment.now)))
    return steps


def facts(life: list[Moment], policy: Policy) -> list[Transition]:
    return [each for _, done in live(life, policy) for each in done.transitions]


@law
@given(lives, policies)
def test_a_plan_is_idempotent_and_asks_to_be_woken_only_later(life: list[Moment], policy: Policy) -> None:
    for (_, done), moment in zip(live(life, policy), life, strict=True):
        assert done.wake is None or done.wake > moment.now


@law
@given(lives, policies)
def test_a_plan_depends_on_nothing_but_its_arguments(life: list[Moment], policy: Policy) -> None:
    assert [done for _, done in live(life, policy)] == [done for _, done in live(life, policy)]


@law
@given(lives, policies)
def test_every_row_is_one_of_the_table(life: list[Moment], policy: Policy) -> None:
    assert {done.row for _, done in live(life, policy)} <= ROWS


@law
@given(lives, policies)
def test_numbers_are_unique_and_grow(life: list[Moment], policy: Policy) -> None:
    numbers = [each.seq for each in facts(life, policy)]
    assert numbers == sorted(set(numbers))
    for before, done in live(life, policy):
        assert all(before.seq < each.seq <= done.slot.seq for each in done.transitions)


@law
@given(lives, policies)
def test_time_never_runs_backwards(life: list[Moment], policy: Policy) -> None:
    times = [each.at.time for each in facts(life, policy)]
    assert times == sorted(times)


@law
@given(lives, policies)
def test_bounds_are_around_their_times(life: list[Moment], policy: Policy) -> None:
    for stamp in (each.at for each in facts(life, policy)):
        assert stamp.not_before is None or stamp.not_before <= stamp.time
        assert stamp.not_after is None or stamp.time <= stamp.not_after


@law
@given(lives, policies)
def test_nothing_ends_before_it_began(life: list[Moment], policy: Policy) -> None:
    for _, done in live(life, policy):
        for each in (done.slot.attempt, done.slot.current, *done.slot.closed):
            if each and each.started and each.ended:
                assert each.started.time <= each.ended.time


@law
@given(lives, policies)
def test_at_most_one_entry_is_deployed_and_every_state_is_legal(life: list[Moment], policy: Policy) -> None:
    """Followed from the transitions alone, as a tracker would."""
    status: dict[int, RecordStatus | None] = defaultdict(lambda: None)
    becomes = {Kind(name.value): name for name in RecordStatus}
    for _, done in live(life, policy):
        for each in done.transitions:
            if each.kind.channel is Channel.STATE:
                assert each.kind in TRANSITIONS[status[each.entry]]
                status[each.entry] = becomes.get(each.kind, status[each.entry])
                assert Counter(status.values())[RecordStatus.DEPLOYED] <= 1
        deployed = {number for number, each in status.items() if each is RecordStatus.DEPLOYED}
        assert deployed == ({done.slot.deployed.number} if done.slot.deployed else set())


@law
@given(lives, policies)
def test_every_end_has_one_start_and_nothing_follows_it_but_recovery(life: list[Moment], policy: Policy) -> None:
    course: dict[int, list[Kind]] = defaultdict(list)
    for each in facts(life, policy):
        if each.kind.channel is Channel.ROLLOUT:
            course[each.entry].append(each.kind)
    legal: tuple[list[Kind], ...] = ([], [Kind.FINISHED], [Kind.FAILED], [Kind.FAILED, Kind.FINISHED])
    for told in course.values():
        assert told[0] is Kind.STARTED
        assert told[1:] in legal


@law
@given(lives, policies)
def test_at_most_one_rollout_is_open_and_the_slot_says_which(life: list[Moment], policy: Policy) -> None:
    open_: set[int] = set()
    for _, done in live(life, policy):
        for each in done.transitions:
            if each.kind is Kind.STARTED:
                open_.add(each.entry)
            elif each.kind in ENDS:
                open_.discard(each.entry)
        attempt = done.slot.attempt
        said = attempt is not None and attempt.said and attempt.phase is not Phase.FAILED
        assert open_ == ({attempt.number} if attempt and said else set())


@law
@given(lives, policies)
def test_what_is_kept_is_bounded(life: list[Moment], policy: Policy) -> None:
    for _, done in live(life, policy):
        assert len(done.slot.closed) <= policy.history
        assert len(done.slot.digests) <= KEPT_DIGESTS
        assert len(set(done.slot.digests)) == len(done.slot.digests)


@law
@given(lives, policies)
def test_what_is_deployed_has_a_digest_and_is_the_newest_remembered(life: list[Moment], policy: Policy) -> None:
    for _, done in live(life, policy):
        if done.slot.deployed:
            assert done.slot.deployed.artifact.digest == done.slot.digests[0]


@law
@given(lives, policies)
def test_every_start_has_a_version_and_every_deployment_a_digest(life: list[Moment], policy: Policy) -> None:
    for each in facts(life, policy):
        assert each.artifact.version
        assert each.artifact.digest or each.kind.channel is Channel.ROLLOUT


@law
@given(lives, policies)
def test_nothing_is_stored_before_something_is_recorded(life: list[Moment], policy: Policy) -> None:
    for _, done in live(life, policy):
        assert done.slot.seq or done.slot == slot()


@law
@given(lives, policies)
def test_all_that_is_told_is_owed(life: list[Moment], policy: Policy) -> None:
    """Each transition of a plan is pending in the slot of the same plan."""
    for before, done in live(life, policy):
        assert done.slot.pending == (*before.pending, *done.transitions)


# The outbox, over the same lives

subscriptions = st.lists(
    st.builds(
        Subscription,
        key=st.sampled_from(["a", "b", "c"]),
        channels=st.sampled_from([frozenset(Channel), frozenset({Channel.STATE}), frozenset({Channel.ROLLOUT})]),
        since=st.sampled_from([0, T + 2 * MINUTE]),
        backfill=st.booleans(),
        closing=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda each: each.key,
)


@st.composite
def audiences(draw: st.DrawFn) -> tuple[Slot, list[Subscription]]:
    """A slot with a history, sinks that joined at some time and got somewhere."""
    policy, sinks = draw(policies), draw(subscriptions)
    told = Slot(key=key())
    for moment in draw(lives):
        joined = draw(st.sets(st.sampled_from(sinks))) if sinks else set()
        there = [each for each in sinks if each in joined or each.key in told.cursors]
        told = plan(enroll(told, there), moment.what, moment.now, policy).slot
    told = enroll(told, sinks)
    return settle(told, draw(progress(told))), sinks


@st.composite
def progress(draw: st.DrawFn, told: Slot) -> Mapping[str, Progress]:
    """What sinks may have accepted of it."""
    seqs = st.integers(0, told.seq)
    frozen = st.sampled_from([None, {"version": "v1"}])
    return {name: Progress(seq=draw(seqs), frozen=draw(frozen)) for name in sorted(told.cursors)}


@law
@given(audiences())
def test_enrolling_is_idempotent(audience: tuple[Slot, list[Subscription]]) -> None:
    told, sinks = audience
    assert enroll(enroll(told, sinks), sinks) == enroll(told, sinks)


@law
@given(audiences(), st.randoms())
def test_the_order_of_sinks_does_not_matter(audience: tuple[Slot, list[Subscription]], random: object) -> None:
    told, sinks = audience
    shuffled = sorted(sinks, key=lambda _: random.random())  # type: ignore[attr-defined]  # Hypothesis gives a Random
    bare = replace(told, cursors={})
    assert enroll(bare, sinks) == enroll(bare, shuffled)
    assert prune(told, sinks) == prune(told, shuffled)


@law
@given(audiences())
def test_what_is_owed_is_owed_once_in_order_until_it_is_accepted(
    audience: tuple[Slot, list[Subscription]],
) -> None:
    told, sinks = audience
    for sink in sinks:
        heard, slot_ = [], told
        while due := owed(slot_, sink):
            heard.append(due[0].seq)
            frozen = told.cursors[sink.key].frozen
            slot_ = settle(slot_, {sink.key: Progress(seq=due[0].seq, frozen=frozen)})
        assert heard == [each.seq for each in owed(told, sink)]
        assert heard == sorted(set(heard))


@law
@given(audiences(), st.data())
def test_settling_is_monotone_and_repeatable(
    audience: tuple[Slot, list[Subscription]], data: st.DataObject
) -> None:
    told, _ = audience
    made = data.draw(progress(told))
    once = settle(told, made)
    assert all(once.cursors[name].seq >= cursor.seq for name, cursor in told.cursors.items())
    assert settle(once, made) == once


@law
@given(audiences())
def test_pruning_drops_nothing_that_is_owed_and_keeps_nothing_else(
    audience: tuple[Slot, list[Subscription]],
) -> None:
    told, sinks = audience
    pruned = prune(told, sinks)
    assert all(owed(pruned, each) == owed(told, each) for each in sinks)
    assert all(any(each in owed(pruned, sink) for sink in sinks) for each in pruned.pending)


@law
@given(audiences())
def test_a_closing_sink_hears_at_most_the_end_of_one_rollout(audience: tuple[Slot, list[Subscription]]) -> None:
    told, sinks = audience
    for sink in sinks:
        heard = owed(told, replace(sink, closing=True))
        assert {each.kind for each in heard} <= set(ENDS)
        assert len({each.entry for each in heard}) <= 1


@law
@given(lives, policies)
def test_a_late_sink_hears_todays_state_once_and_no_old_rollout(life: list[Moment], policy: Policy) -> None:
    late = subscription("late", since=T + 100 * 60 * MINUTE)
    before = live(life, policy)[-1][1].slot
    heard = owed(enroll(before, [late]), late)
    there = before.deployed is not None and before.tracked
    assert [each.kind for each in heard] == [Kind.DEPLOYED] * there
    if before.deployed and there:
        assert heard[0].artifact == before.deployed.artifact


@st.composite
def backlogs(draw: st.DrawFn) -> Slot:
    """A long outbox: lives of entries one after the other, under names that change, with back-fills between."""
    sinks = ["a", "b", "c"]
    pending: list[Transition] = []
    for number in range(draw(st.integers(1, 40))):
        name = identity(deployment_name=draw(st.sampled_from(["payments/shop", "payments/till"])))
        course = draw(
            st.sampled_from(
                [
                    (Kind.STARTED, Kind.DEPLOYED, Kind.FINISHED),
                    (Kind.STARTED, Kind.FAILED),
                    (Kind.STARTED, Kind.FAILED, Kind.DEPLOYED, Kind.FINISHED),
                    (Kind.DECOMMISSIONED, Kind.DEPLOYED),
                    (Kind.DEPLOYED,),
                    (Kind.UNTRACKED,),
                ]
            )
        )
        only = draw(st.sampled_from([None, *sinks])) if course == (Kind.DEPLOYED,) else None
        first = len(pending) + 1
        pending.extend(
            transition(first + step, kind, entry=number, identity=name, only=only)
            for step, kind in enumerate(course)
        )
    told = slot(seq=len(pending), pending=tuple(pending))
    told = enroll(told, [subscription(name) for name in sinks])
    at = {name: Progress(seq=draw(st.integers(0, len(pending)))) for name in sinks}
    return settle(replace(told, cursors={name: replace(each, seq=0) for name, each in told.cursors.items()}), at)


@settings(law, max_examples=200)
@given(backlogs())
def test_compacting_bounds_the_outbox(told: Slot) -> None:
    done = compact(told)
    assert len(done.pending) <= max(MAX_PENDING, MAX_PENDING // 2 + 1 + 6 * len(told.cursors))
    assert all(each in told.pending for each in done.pending)
    assert [each.seq for each in done.pending] == sorted(each.seq for each in done.pending)
    assert compact(done) == done


@settings(law, max_examples=200)
@given(backlogs())
def test_compacting_keeps_for_each_sink_the_latest_state_and_the_end_of_what_was_open(told: Slot) -> None:
    done = compact(told)
    for name in told.cursors:
        sink = subscription(name)
        before, after = owed(told, sink), owed(done, sink)
        states = [each for each in before if each.kind.channel is Channel.STATE]
        assert [each for each in after if each.kind.channel is Channel.STATE][-1:] == states[-1:]
        course = [each for each in before if each.kind.channel is Channel.ROLLOUT]
        assert [each for each in after if each.kind in ENDS][-1:] == [
            each for each in course if each.kind in ENDS
        ][-1:]
        if course and course[0].kind in ENDS:
            assert [each for each in course if each.entry == course[0].entry][-1] in after


@settings(law, max_examples=200)
@given(backlogs())
def test_compacting_leaves_no_end_without_the_start_that_is_owed_as_well(told: Slot) -> None:
    done = compact(told)
    for name in told.cursors:
        before, after = owed(told, subscription(name)), owed(done, subscription(name))
        started = {each.entry for each in before if each.kind is Kind.STARTED}
        kept = {each.entry for each in after if each.kind is Kind.STARTED}
        assert {each.entry for each in after if each.kind in ENDS} & started <= kept
