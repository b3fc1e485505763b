"""Whether what was read back is what was asked: aspect by aspect, as finely as tc shows it."""

from __future__ import annotations

from collections.abc import Iterator

from node.links.impairments.burst import Burst
from node.links.impairments.chance import DISTRIBUTIONS
from node.links.impairments.gemodel import GeModel
from node.links.impairments.loss_models import burst_transitions
from node.links.impairments.loss_state import LossState
from node.links.queues.choice import red_limit
from node.links.queues.red import RedThresholds
from node.links.settings import Impairments
from node.links.traces import NO_TRACE
from node.protocol.time import MICROSECOND, Duration
from orchestrator.tc import traces

#: The kernel keeps probabilities as 32-bit fractions, and tc prints six digits of them.
_RATIO_STEP = 1e-9
_RATIO_DIGITS = 1e-4
#: Old tc counts in ticks of 64 ns and prints µs; CoDel counts 1.024 µs.
_TIME_TOLERANCE = 2 * MICROSECOND
_TIME_DIGITS = 1e-6
#: tc hands the kernel bytes per second.
_RATE_TOLERANCE = 8.0

#: Rates of classes are shown with three digits at least.
_CLASS_RATE_DIGITS = 1e-3

#: 1-h and 1-k of a chain that is as well a mean loss and a mean length of bursts.
_GILBERT = (1.0, 0.0)

#: Name, numbers, and by how much each may differ.
_Aspect = tuple[str, tuple[float, ...], float, float]


def differences(asked: Impairments, got: Impairments) -> list[str]:
    """Return, in words, where what was read back is not what was asked; empty: it took.

    What cannot be seen in a kernel (seeds) is not compared. A trace that it follows may be anywhere.
    """
    moving = ("rate", "delay") if _reached(asked, got) else ()
    asked_words, got_words = asked.to_mapping(), got.to_mapping()
    return [
        f"{name}: asked {asked_words.get(name, 'none')}, the kernel has {got_words.get(name, 'none')}"
        for (name, wanted, step, digits), (_, found, _, _) in zip(_aspects(asked), _aspects(got), strict=True)
        if name not in moving
        and (
            len(wanted) != len(found)
            or any(
                abs(one - other) > step + abs(one) * digits for one, other in zip(wanted, found, strict=True)
            )
        )
    ]


def at_end(asked: Impairments, got: Impairments) -> bool:
    """Return whether what was read back is where the trace of a set ends."""
    *_, (rate, delay) = traces.reached(asked)
    return _is_at(got, rate, delay)


def _reached(asked: Impairments, got: Impairments) -> bool:
    """Return whether a kernel has got somewhere in the trace of a set."""
    if not asked.trace.steps or got.trace != NO_TRACE:
        return False
    return any(_is_at(got, rate, delay) for rate, delay in traces.reached(asked))


def _is_at(got: Impairments, rate: int, delay: Duration) -> bool:
    return (
        abs(got.delay - delay) <= _TIME_TOLERANCE + delay * _TIME_DIGITS
        and abs(got.rate - rate) <= rate * _CLASS_RATE_DIGITS + _RATE_TOLERANCE
    )


def _aspects(impairments: Impairments) -> Iterator[_Aspect]:
    modifiers = impairments.modifiers()
    times, ratios = (_TIME_TOLERANCE, _TIME_DIGITS), (_RATIO_STEP, _RATIO_DIGITS)
    yield "delay", (impairments.delay,), *times
    yield "jitter", (impairments.jitter,), *times
    yield "distribution", (DISTRIBUTIONS.index(modifiers.distribution),), 0, 0
    yield "delay-correlation", (modifiers.delay_correlation,), *ratios
    yield "loss", _loss(impairments), *ratios
    chain = impairments.of(GeModel).ratios
    yield "gemodel", () if chain[2:] == _GILBERT else chain, *ratios
    yield "loss-state", impairments.of(LossState).ratios, *ratios
    yield "duplicate", (impairments.duplicate, modifiers.duplicate_correlation), *ratios
    yield "corrupt", (impairments.corrupt, modifiers.corrupt_correlation), *ratios
    yield "reorder", (impairments.reorder, modifiers.reorder_correlation), *ratios
    yield "gap", (modifiers.gap,), 0, 0
    yield "slot", (impairments.slot.shortest, impairments.slot.longest), *times
    yield "slot", (impairments.slot.packets, impairments.slot.size), 0, 0
    yield "ecn", (impairments.ecn,), 0, 0
    yield "rate", (impairments.rate,), _RATE_TOLERANCE, 0
    yield "aqm", tuple(map(ord, impairments.aqm)), 0, 0
    yield "queue", _queue(impairments), 0, 0
    yield "ce-threshold", (impairments.ce_threshold,), *times


def _loss(impairments: Impairments) -> tuple[float, ...]:
    burst, loss = impairments.of(Burst).packets, impairments.loss
    chain = impairments.of(GeModel).ratios
    if chain[2:] == _GILBERT:
        return chain[:2]
    return burst_transitions(loss, burst) if burst and loss else (loss,)


def _queue(impairments: Impairments) -> tuple[float, ...]:
    if not impairments.rate:
        return ()
    if impairments.aqm == "red":
        return (RedThresholds(red_limit(impairments)).limit,)
    return (0, impairments.queue_bytes) if impairments.queue_bytes else (impairments.queue,)
