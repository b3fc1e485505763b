"""``tc -j qdisc show`` → impairments: what the kernel really took, to compare with what was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.links.impairments.base import Impairment
from node.links.impairments.corrupt import Corrupt
from node.links.impairments.delay import Delay
from node.links.impairments.duplicate import Duplicate
from node.links.impairments.jitter import Jitter
from node.links.impairments.loss import Loss
from node.links.impairments.queue import Queue
from node.links.impairments.rate import Rate
from node.links.impairments.ratio import Ratio
from node.links.impairments.reorder import Reorder
from node.links.settings import Impairments
from node.protocol.time import MICROSECOND, SECOND
from orchestrator.errors import BackendError
from orchestrator.tc.commands import (
    NETEM_BOTTLENECK_HANDLE,
    OPEN_HANDLE,
    ROOT_HANDLE,
    TBF_HANDLE,
    TBF_QUEUE_HANDLE,
    delay_line_limit,
)

#: The kernel keeps probabilities as 32-bit fractions, and tc prints six digits of them.
_RATIO_STEP = 1e-9
_RATIO_DIGITS = 1e-4
#: Old tc counts in ticks of 64 ns and prints µs.
_TIME_TOLERANCE = 2 * MICROSECOND
_RATIOS: tuple[tuple[str, str, type[Ratio]], ...] = (
    ("loss-random", "loss", Loss),
    ("duplicate", "duplicate", Duplicate),
    ("corrupt", "corrupt", Corrupt),
    ("reorder", "reorder", Reorder),
)


@dataclass(frozen=True, slots=True)
class QueueCounters:
    """What the device's qdiscs counted, from ``tc -s``."""

    #: Packets and bytes that left.
    packets: int
    bytes: int
    #: Packets dropped by loss, or by a full delay line, and what a bottleneck replaced since let overflow.
    lost: int
    #: Packets that found the bottleneck's queue full, since this bottleneck was made.
    overflowed: int


def parse(text: str) -> Impairments:
    """Return the impairments in tc's JSON output for one device.

    Raises:
        BackendError: it is not tc's JSON, or not a tree that `commands` makes.
    """
    by_handle = _qdiscs(text)
    root = by_handle.get(ROOT_HANDLE)
    if root is None:
        return Impairments()
    if root.get("kind") != "netem":
        raise BackendError(f"the root qdisc is {root.get('kind')!r}, not netem: something else set it")
    options = _mapping(root.get("options"))
    found: list[Impairment] = []
    delay = _mapping(options.get("delay"))
    found.append(Delay(_nanoseconds(delay.get("delay", 0))))
    found.append(Jitter(_nanoseconds(delay.get("jitter", 0))))
    for section, key, kind in _RATIOS:
        ratio = _mapping(options.get(section)).get(key, 0)
        found.append(kind(float(str(ratio))))  # type: ignore[arg-type]
    return Impairments(_order([*found, *_bottleneck(by_handle)]))


def counters(text: str) -> QueueCounters:
    """Return what the qdiscs counted.

    Raises:
        BackendError: it is not tc's JSON.
    """
    by_handle = _qdiscs(text)
    root = by_handle.get(ROOT_HANDLE, {})
    behind = NETEM_BOTTLENECK_HANDLE if NETEM_BOTTLENECK_HANDLE in by_handle else TBF_QUEUE_HANDLE
    overflowed = _whole(by_handle.get(behind, {}).get("drops", 0))
    drops = _whole(root.get("drops", 0))
    return QueueCounters(
        packets=_whole(root.get("packets", 0)),
        bytes=_whole(root.get("bytes", 0)),
        lost=max(0, drops - overflowed),
        overflowed=overflowed,
    )


def differences(asked: Impairments, got: Impairments) -> list[str]:
    """Return, in words, where what was read back is not what was asked; empty: it took."""
    ratios = (
        ("loss", asked.loss, got.loss),
        ("duplicate", asked.duplicate, got.duplicate),
        ("corrupt", asked.corrupt, got.corrupt),
        ("reorder", asked.reorder, got.reorder),
    )
    pairs: list[tuple[str, float, float, float]] = [
        ("delay", asked.delay, got.delay, _TIME_TOLERANCE + asked.delay * 1e-6),
        ("jitter", asked.jitter, got.jitter, _TIME_TOLERANCE + asked.jitter * 1e-6),
        *((name, wanted, found, _RATIO_STEP + wanted * _RATIO_DIGITS) for name, wanted, found in ratios),
        # tc hands the kernel bytes per second.
        ("rate", asked.rate, got.rate, 8.0),
    ]
    if asked.rate:
        pairs.append(("queue", asked.queue, got.queue, 0))
    asked_words, got_words = asked.to_mapping(), got.to_mapping()
    return [
        f"{name}: asked {asked_words.get(name, 'none')}, the kernel has {got_words.get(name, 'none')}"
        for name, wanted, found, tolerance in pairs
        if abs(wanted - found) > tolerance
    ]


def limit_problem(text: str) -> str | None:
    """Return what is wrong with the delay line's limit, or None: it must never bite."""
    root = _qdiscs(text).get(ROOT_HANDLE)
    if root is None:
        return None
    limit = _whole(_mapping(root.get("options")).get("limit", 0))
    needed = delay_line_limit(parse(text))
    return f"the delay line holds {limit} packets, {needed} are needed" if limit < needed else None


def _bottleneck(by_handle: Mapping[str, Mapping[str, object]]) -> Iterable[Impairment]:
    if NETEM_BOTTLENECK_HANDLE in by_handle:
        options = _mapping(by_handle[NETEM_BOTTLENECK_HANDLE].get("options"))
        yield Rate(8 * _whole(_mapping(options.get("rate")).get("rate", 0)))
        yield Queue(_whole(options.get("limit", 0)))
    elif TBF_HANDLE in by_handle:
        options = _mapping(by_handle[TBF_HANDLE].get("options"))
        yield Rate(8 * _whole(options.get("rate", 0)))
        queue = _mapping(by_handle.get(TBF_QUEUE_HANDLE, {}).get("options"))
        yield Queue(_whole(queue.get("limit", 0)))
    elif OPEN_HANDLE not in by_handle:
        raise BackendError(f"behind the netem stands none of our qdiscs, but {sorted(by_handle)}")


def _qdiscs(text: str) -> dict[str, Mapping[str, object]]:
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


def _whole(value: object) -> int:
    return int(float(str(value)))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
