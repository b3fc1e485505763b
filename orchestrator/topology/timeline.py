"""The ``timeline:`` of a topology file: its schema, and its entries as data that has been checked.

An entry may happen several times (``every:``, ``count:``) and in several steps (a link that flaps);
``steps_of`` lays all of these out on the clock, for the check and for the run alike.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, Field, create_model

from node.links.units import format_duration
from node.protocol.time import Duration
from orchestrator.faults.base import FAULTS, Fault, FaultError, FlowsFault, Lasting, Need, View
from orchestrator.topology.closed import Closed
from orchestrator.topology.document import Document, Path, Value
from orchestrator.topology.errors import suggestion
from orchestrator.topology.groups import flows_meant
from orchestrator.topology.model import TimelineEvent, Topology
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.quantities import DurationText, PositiveDuration

#: Begins and ends of actions in one run: more is a mistake, and would take longer than the run.
MAX_STEPS = 10_000
#: Keys of an entry that are no actions.
WHEN = ("at", "for", "every", "count")


class TimelineBase(Closed):
    """What happens at a time: exactly one action."""

    noun: ClassVar[str] = "timeline entry"

    at: DurationText = Field(description="When, from the start of the run, on the lab's clock.")
    for_: PositiveDuration = Field(default=None, validate_default=False)
    every: PositiveDuration = Field(default=None, validate_default=False)
    count: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = Field(
        default=None, description="How often; with every: and without count: until the time limit."
    )


def model_of(action: str) -> type[Closed] | None:
    """Return the model of an action's value; None: it is not a mapping."""
    return _MODELS.get(action)


def _mapping_model(name: str) -> type[Closed]:
    fields: dict[str, Any] = {}
    for key, kind in FAULTS[name].shape.items():
        optional = type(None) in getattr(kind, "__args__", ())
        field = key.replace("-", "_") + ("_" if key == "from" else "")
        fields[field] = (kind, None if optional else ...)
    title = "".join(part.capitalize() for part in name.split("-"))
    made = create_model(title, __base__=Closed, __doc__=FAULTS[name].summary, **fields)
    made.noun = name
    return made


_MODELS: Mapping[str, type[Closed]] = {
    name: _mapping_model(name) for name in FAULTS.names() if isinstance(FAULTS[name].shape, Mapping)
}


def _action_field(name: str) -> tuple[Any, Any]:
    shape = _MODELS.get(name, FAULTS[name].shape)

    def given(value: object) -> object:
        return plain(value)

    return (
        Annotated[shape, AfterValidator(given)] | None,
        Field(default=None, description=FAULTS[name].summary),
    )


_ACTION_FIELDS: dict[str, Any] = {name.replace("-", "_"): _action_field(name) for name in FAULTS.names()}
#: One field an action, so that a new action is in the schema by being registered.
_ENTRY: type[TimelineBase] = create_model(
    "TimelineEntry",
    __base__=TimelineBase,
    __doc__=TimelineBase.__doc__,
    **_ACTION_FIELDS,
)
if TYPE_CHECKING:
    TimelineEntry = TimelineBase
else:
    TimelineEntry = _ENTRY


def plain(value: object) -> object:
    """Return an action's validated value as plain data, by the keys of topology files."""
    if isinstance(value, Closed):
        dumped = value.model_dump(by_alias=True, exclude_unset=True)
        return {key: found for key, found in dumped.items() if found is not None}
    return value


def read_timeline(
    document: Document, entries: Iterable[TimelineBase], topology: Topology
) -> list[TimelineEvent]:
    """Return the entries as events; what is wrong with them is reported to the document."""
    view = View.of(topology)
    events: list[TimelineEvent] = []
    found: list[tuple[int, TimelineEvent, Fault]] = []
    for index, entry in enumerate(entries):
        event = _event(document, index, entry, topology.time_limit)
        if event is not None and issubclass(FAULTS[event.action], FlowsFault):
            event = _with_flows(document, index, event, topology)
        if event is None:
            continue
        try:
            fault = FAULTS[event.action](event.value, view)
        except FaultError as error:
            document.report(_place(document, index, event.action, error.path), error.message, *error.advice)
            continue
        events.append(event)
        found.append((index, event, fault))
    if not document.problems and _check_count(document, found, topology.time_limit):
        _check_together(document, found, topology.time_limit)
    return events


def view_of(plan: DeploymentPlan) -> View:
    """Return the view of a plan."""
    return View(
        {node.name: node.kind for node in plan.nodes},
        tuple((link.a, link.b) for link in plan.links),
        frozenset(flow.name for flow in plan.workloads),
    )


class Step(NamedTuple):
    """One time that an action happens."""

    at: Duration
    #: How long it lasts; None: it is one of an instant, or lasts until something ends it.
    duration: Duration | None
    #: Which entry of the timeline, from 0.
    entry: int
    fault: Fault


def steps_of(events: Iterable[TimelineEvent], view: View, *, limit: Duration) -> list[Step]:
    """Return everything that happens before ``limit``, in order of time and, within an instant, of the file.

    Each step of an entry has a fault of its own, so that what one of them laid over links can be told apart.
    """
    return sorted(
        (
            step
            for index, event in enumerate(events)
            for step in _steps(event, index, FAULTS[event.action], view, limit)
        ),
        key=lambda step: (step.at, step.entry),
    )


def needs_of(events: Iterable[TimelineEvent], view: View) -> frozenset[Need]:
    """Return what a back end must be able to do for these events."""
    return frozenset(
        need
        for event in events
        for need in FAULTS[event.action](event.value, view).needs(ends=event.duration is not None)
    )


def _steps(
    event: TimelineEvent, index: int, kind: type[Fault], view: View, limit: Duration
) -> Iterator[Step]:
    for start in _starts(event, limit):
        for offset, duration in kind(event.value, view).steps(event.duration):
            if start + offset >= limit:
                break
            yield Step(start + offset, duration, index, kind(event.value, view))


def _starts(event: TimelineEvent, limit: Duration) -> Iterator[Duration]:
    start, left = event.at, event.count if event.every is not None else 1
    while start < limit and (left is None or left > 0):
        yield start
        if event.every is None:
            return
        start += event.every
        left = None if left is None else left - 1


def _event(document: Document, index: int, entry: TimelineBase, limit: Duration) -> TimelineEvent | None:
    """Return what an entry says, after checking it by itself."""
    path: Path = ("timeline", index)
    given = document.data["timeline"]
    assert isinstance(given, list), "the structure has been checked"
    keys = [key for key in _keys(given[index]) if key not in WHEN]
    if len(keys) != 1:
        found = f"two actions, {keys[0]} and {keys[1]}, in one entry" if keys else "no action in this entry"
        advice = "give each an entry of its own" if keys else f"add one of {', '.join(FAULTS.names())}"
        document.report(path, found, advice, key=True)
        return None
    action = keys[0]
    value = getattr(entry, action.replace("-", "_"))
    at, duration, every = _whole(entry.at) or 0, _whole(entry.for_), _whole(entry.every)
    event = TimelineEvent(at, action, value, duration, every, _whole(entry.count))
    problem = _problem(event, limit)
    if problem is None:
        return event
    key, message, advice = problem
    document.report((*path, key) if key else path, message, advice, key=not key)
    return None


def _with_flows(
    document: Document, index: int, event: TimelineEvent, topology: Topology
) -> TimelineEvent | None:
    """Return an event with each flow in place of groups and patterns of flows."""
    assert isinstance(event.value, list), "the schema of actions on flows"
    sources = {flow.name: flow.source for flow in topology.workloads}
    meant: list[str] = []
    for number, name in enumerate(event.value):
        found = flows_meant(name, sources, document.flow_groups)
        if not found:
            place = _place(document, index, event.action, (number,))
            advice = suggestion(name, (*sources, *document.flow_groups))
            document.report(place, f"no flow is called {name!r}", *advice)
            return None
        meant += found
    return dataclasses.replace(event, value=list(dict.fromkeys(meant)))


def _problem(event: TimelineEvent, limit: Duration) -> tuple[str, str, str] | None:
    """Return what is wrong with an event by itself: the key (or none), message and advice."""
    at, duration, every = event.at, event.duration, event.every
    lasting, shown = FAULTS[event.action].lasting, format_duration(limit)
    if at >= limit:
        message = f"{format_duration(at)} is not before the time limit of {shown}"
        return "at", message, "take an earlier time, or raise time-limit:"
    if event.count is not None and every is None:
        return "count", "count: without every:", "add every:, the time between two"
    if duration is None:
        if lasting is Lasting.MUST:
            return "", f"{event.action} must say how long it lasts", "add for:"
        if every is not None and lasting is Lasting.MAY:
            return "", f"{event.action} would begin again before it ended", "add for:"
        return None
    if lasting is Lasting.NEVER:
        return "for", f"{event.action} does not last", "take for: out"
    if at + duration > limit:
        message = f"it would last until {format_duration(at + duration)}, and the time limit is {shown}"
        return "for", message, "take for: out, shorten it, or raise time-limit:"
    if every is not None and duration > every:
        message = f"longer than every: {format_duration(every)}; it would begin again before it ended"
        return "for", message, "shorten for:, or lengthen every:"
    return None


def _check_count(document: Document, found: list[tuple[int, TimelineEvent, Fault]], limit: Duration) -> bool:
    """Return whether the entries are few enough to be laid out on the clock; report those that are not."""
    total = 0
    for index, event, fault in found:
        each = fault.count_steps(event.duration)
        total += _times(event, limit) * each
        if total > MAX_STEPS:
            key = "every" if event.every is not None and each <= MAX_STEPS else event.action
            message = f"{total:,} actions, with those of the entries before it"
            advice = f"make at most {MAX_STEPS:,} in one file: let more time pass between them"
            document.report(("timeline", index, key), message, advice)
            return False
    return True


def _times(event: TimelineEvent, limit: Duration) -> int:
    """Return how often an event begins before ``limit``; ``_starts`` says when."""
    if event.every is None:
        return 1
    most = -(-(limit - event.at) // event.every)
    return most if event.count is None else min(most, event.count)


def _check_together(
    document: Document, found: list[tuple[int, TimelineEvent, Fault]], limit: Duration
) -> None:
    """Report entries that contradict each other, by walking through all of them once."""
    # (time, order, index, fault, end); what ends at an instant ends before what begins there.
    queue: list[tuple[Duration, int, int, Fault, Duration | None]] = []
    for index, event, fault in found:
        for start in _starts(event, limit):
            end = None if event.duration is None else start + event.duration
            queue.append((start, index, index, fault, end))
    heapq.heapify(queue)
    # claim → (when it ends, index)
    held: dict[str, tuple[Duration | None, int]] = {}
    told: set[int] = set()
    while queue:
        now, _, index, fault, end = heapq.heappop(queue)
        held = {claim: found for claim, found in held.items() if found[0] is None or found[0] > now}
        problem = _contradiction(document, fault, now, held)
        if problem is not None and index not in told:
            told.add(index)
            document.report(_place(document, index, fault.name, ()), *problem)
        held = {claim: found for claim, found in held.items() if not fault.ends(claim)}
        held.update(dict.fromkeys(fault.claims(), (end, index)))


def _contradiction(
    document: Document, fault: Fault, now: Duration, held: Mapping[str, tuple[Duration | None, int]]
) -> tuple[str, str] | None:
    when = format_duration(now)
    for claim in (*fault.claims(), *(f"node {name}" for name in fault.needs_up())):
        if claim in held:
            end, other = held[claim]
            line = document.place(("timeline", other)).line
            until = "until something ends it" if end is None else f"until {format_duration(end)}"
            return (
                f"at {when} {claim.partition(' ')[2]} is still held by the entry in line {line}, {until}",
                "let that one end before (for:, heal, enable or restart), or take another time",
            )
    expected = fault.expects()
    if expected is not None and not any(fault.ends(claim) for claim in held):
        return f"at {when} {expected[1]}", "begin it earlier on the timeline, or take this entry out"
    return None


def _place(document: Document, index: int, action: str, path: tuple[str | int, ...]) -> Path:
    """Return the nearest place that the file has."""
    place: Path = ("timeline", index, action, *path)
    while place not in document.values:
        place = place[:-1]
    return place


def _keys(entry: Value) -> list[str]:
    return list(entry) if isinstance(entry, dict) else []


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
