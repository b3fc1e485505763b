"""``tc -j qdisc show`` → impairments: what the kernel really took, to compare with what was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from node.links.impairments.aqm import Aqm
from node.links.impairments.base import Impairment
from node.links.impairments.burst import Burst
from node.links.impairments.ce_threshold import CeThreshold
from node.links.impairments.corrupt import Corrupt
from node.links.impairments.corrupt_correlation import CorruptCorrelation
from node.links.impairments.delay import Delay
from node.links.impairments.delay_correlation import DelayCorrelation
from node.links.impairments.distribution import Distribution
from node.links.impairments.duplicate import Duplicate
from node.links.impairments.duplicate_correlation import DuplicateCorrelation
from node.links.impairments.ecn import Ecn
from node.links.impairments.gap import Gap
from node.links.impairments.gemodel import GeModel
from node.links.impairments.jitter import Jitter
from node.links.impairments.loss import Loss
from node.links.impairments.loss_state import LossState
from node.links.impairments.queue import Queue
from node.links.impairments.rate import Rate
from node.links.impairments.ratio import Ratio
from node.links.impairments.reorder import Reorder
from node.links.impairments.reorder_correlation import ReorderCorrelation
from node.links.impairments.slot import Slot
from node.links.settings import Impairments
from node.protocol.time import MICROSECOND, SECOND
from orchestrator.errors import BackendError
from orchestrator.tc.commands import (
    HTB_HANDLE,
    NETEM_BOTTLENECK_HANDLE,
    OPEN_HANDLE,
    QUEUE_HANDLES,
    ROOT_HANDLE,
    SLOT_HANDLE,
    TBF_HANDLE,
    below_slot,
    delay_line_limit,
    root_handles,
)

_Qdiscs = dict[str, Mapping[str, object]]

_RATIOS: tuple[tuple[str, str, type[Ratio], type[Ratio] | None], ...] = (
    ("loss-random", "loss", Loss, None),
    ("duplicate", "duplicate", Duplicate, DuplicateCorrelation),
    ("corrupt", "corrupt", Corrupt, CorruptCorrelation),
    ("reorder", "reorder", Reorder, ReorderCorrelation),
)
#: Digits of probabilities that were computed from what tc prints.
_SHOWN_DIGITS = 6
#: tc of many ages writes classes as text only, and rates with three digits at least: ``rate 12345Kbit``.
_CLASS_RATE = re.compile(r"^class htb \S+ .*?\brate (\d+)([KMGT]?)bit", re.MULTILINE)
_POWERS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}


@dataclass(frozen=True, slots=True)
class QueueCounters:
    """What the device's qdiscs counted, from ``tc -s``."""

    #: Packets and bytes that left.
    packets: int
    bytes: int
    #: Packets dropped by loss (or marked, with ecn), or by a full delay line, and what a bottleneck
    #: replaced since let overflow.
    lost: int
    #: Packets that the bottleneck's queue dropped, since this bottleneck was made.
    overflowed: int
    #: Packets that the bottleneck's queue marked with Congestion Experienced.
    marked: int = 0


def parse(text: str, classes: str = "") -> Impairments:
    """Return the impairments in tc's JSON output for one device.

    A seed cannot be seen, bursts are seen as what they are made of, and a trace as where it has got to.

    Args:
        text: what the command of ``commands.show`` wrote.
        classes: what that of ``commands.show_classes`` wrote, if ``needs_classes``.

    Raises:
        BackendError: it is not tc's JSON, or not a tree that `commands` makes.
    """
    by_handle = _qdiscs(text)
    handle, root = _root(by_handle)
    if root is None:
        return Impairments()
    if root.get("kind") != "netem":
        raise BackendError(f"the root qdisc is {root.get('kind')!r}, not netem: something else set it")
    options = _mapping(root.get("options"))
    distribution, ecn = root_handles()[handle]
    delay = _mapping(options.get("delay"))
    found: list[Impairment] = [
        Distribution(distribution),
        Ecn(ecn),
        Delay(_nanoseconds(delay.get("delay", 0))),
        Jitter(_nanoseconds(delay.get("jitter", 0))),
        DelayCorrelation(_number(delay.get("correlation", 0))),
    ]
    for section, key, kind, correlation in _RATIOS:
        shown = _mapping(options.get(section))
        found.append(_impairment(kind, _number(shown.get(key, 0))))
        if correlation is not None:
            found.append(_impairment(correlation, _number(shown.get("correlation", 0))))
    if "reorder" in options:
        found.append(Gap(max(1, _whole(options.get("gap", 1)))))
    found += _losses(options)
    return Impairments(_order([*found, *_bottleneck(by_handle, classes)]))


def needs_classes(text: str) -> bool:
    """Return whether the rate is that of a class, which the output for qdiscs does not show."""
    by_handle = _qdiscs(text)
    return HTB_HANDLE in by_handle or below_slot(HTB_HANDLE) in by_handle


def counters(text: str) -> QueueCounters:
    """Return what the qdiscs counted.

    Raises:
        BackendError: it is not tc's JSON.
    """
    by_handle = _qdiscs(text)
    root = _root(by_handle)[1] or {}
    queues = [NETEM_BOTTLENECK_HANDLE, *QUEUE_HANDLES.values()]
    queues += [below_slot(handle) for handle in queues]
    behind = next((by_handle[handle] for handle in queues if handle in by_handle), {})
    overflowed = _whole(behind.get("drops", 0))
    return QueueCounters(
        packets=_whole(root.get("packets", 0)),
        bytes=_whole(root.get("bytes", 0)),
        lost=max(0, _whole(root.get("drops", 0)) - overflowed),
        overflowed=overflowed,
        marked=sum(_whole(behind.get(name, 0)) for name in ("ecn_mark", "ce_mark", "marked")),
    )


def limit_problem(text: str) -> str | None:
    """Return what is wrong with the delay line's limit, or None: it must never bite."""
    root = _root(_qdiscs(text))[1]
    if root is None:
        return None
    limit = _whole(_mapping(root.get("options")).get("limit", 0))
    needed = delay_line_limit(parse(text))
    return f"the delay line holds {limit} packets, {needed} are needed" if limit < needed else None


def _impairment(kind: type[Ratio], ratio: float) -> Impairment:
    made = kind(ratio)
    assert isinstance(made, Impairment)
    return made


def _losses(options: Mapping[str, object]) -> Iterator[Impairment]:
    chain = _mapping(options.get("loss-gemodel"))
    if chain:
        leave, end, bad, good = (_number(chain.get(name, 0)) for name in ("p", "r", "1-h", "1-k"))
        if bad == 1 and good == 0 and leave and end:
            # What a mean loss and a mean length of bursts are made of.
            yield Loss(_short(leave / (leave + end)))
            yield Burst(_short(1 / end))
        else:
            yield GeModel((leave, end, bad, good))
    states = _mapping(options.get("loss-state"))
    if states:
        yield LossState(tuple(_number(states.get(name, 0)) for name in ("p13", "p31", "p32", "p23", "p14")))


def _bottleneck(by_handle: _Qdiscs, classes: str) -> Iterator[Impairment]:
    slot = by_handle.get(SLOT_HANDLE)
    if slot is not None:
        shown = _mapping(_mapping(slot.get("options")).get("slot"))
        yield Slot(
            _nanoseconds(shown.get("min-delay", 0)),
            _nanoseconds(shown.get("max-delay", 0)),
            _whole(shown.get("packets", 0)),
            _whole(shown.get("bytes", 0)),
        )

    def at(handle: str) -> Mapping[str, object] | None:
        return by_handle.get(handle if slot is None else below_slot(handle))

    netem, tbf, htb = at(NETEM_BOTTLENECK_HANDLE), at(TBF_HANDLE), at(HTB_HANDLE)
    if netem is not None:
        options = _mapping(netem.get("options"))
        yield Rate(8 * _whole(_mapping(options.get("rate")).get("rate", 0)))
        yield Queue(_whole(options.get("limit", 0)))
    elif tbf is not None or htb is not None:
        yield Rate(
            _class_rate(classes) if tbf is None else 8 * _whole(_mapping(tbf.get("options")).get("rate", 0))
        )
        for kind, handle in QUEUE_HANDLES.items():
            queue = at(handle)
            if queue is not None:
                yield from _queue(kind, _mapping(queue.get("options")))
    elif at(OPEN_HANDLE) is None:
        raise BackendError(f"behind the netem stands none of our qdiscs, but {sorted(by_handle)}")


def _class_rate(classes: str) -> int:
    shown = _CLASS_RATE.search(classes)
    return int(shown[1]) * _POWERS[shown[2]] if shown else 0


def _queue(kind: str, options: Mapping[str, object]) -> Iterator[Impairment]:
    limit = _whole(options.get("limit", 0))
    yield Queue(packets=0, size=limit) if kind in ("bfifo", "red") else Queue(limit)
    if kind == "marking":
        yield CeThreshold(_whole(options.get("ce_threshold", 0)) * MICROSECOND)
    elif kind not in ("pfifo", "bfifo"):
        yield Aqm(kind)


def _root(by_handle: _Qdiscs) -> tuple[str, Mapping[str, object] | None]:
    for handle in root_handles():
        if handle in by_handle:
            return handle, by_handle[handle]
    return ROOT_HANDLE, None


def _qdiscs(text: str) -> _Qdiscs:
    try:
        listed = json.loads(text or "[]")
    except ValueError as error:
        advice = "iproute2 4.17 and newer write it"
        raise BackendError(f"tc's answer is not JSON ({advice}): {text[:200]!r}") from error
    return {str(item.get("handle")): item for item in listed if isinstance(item, dict)}


def _order(found: list[Impairment]) -> tuple[Impairment, ...]:
    kept = [item for item in found if item != type(item)()]
    return tuple(sorted(kept, key=lambda item: item.stage))


def _nanoseconds(seconds: object) -> int:
    # The kernel counts ticks of 64 ns and tc prints what they make: the nearest µs is what was asked.
    return round(float(str(seconds)) * SECOND / MICROSECOND) * MICROSECOND


def _short(number: float) -> float:
    return float(f"{number:.{_SHOWN_DIGITS}g}")


def _number(value: object) -> float:
    return float(str(value))


def _whole(value: object) -> int:
    return int(float(str(value)))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
