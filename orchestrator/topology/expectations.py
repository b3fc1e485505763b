"""What a topology may expect of a run: the one table of kinds, units and operators.

An expectation is ``KIND OPERATOR VALUE``; it holds for every flow, or for one that is named:

    expect:
      - integrity == ok
      - wire violations == 0
      - film: completion <= 30s
      - film: goodput >= 5Mbit
      - ping: rtt p90 <= 120ms
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from node.links.units import UnitError, parse_duration, parse_rate, parse_ratio
from orchestrator.topology.errors import suggestion
from orchestrator.topology.model import Expectation

AT_MOST = "<="
AT_LEAST = ">="
EQUAL = "=="
OPERATORS = (AT_MOST, AT_LEAST, EQUAL)
#: What ``integrity == ok`` compares with: 1.0 for a flow whose target has every byte, else 0.0.
OK = 1.0


@dataclass(frozen=True, slots=True)
class ExpectationKind:
    """A quantity of a run that can be compared."""

    #: As it is written, and as ``Expectation.kind`` holds it.
    name: str
    #: Base unit of the value: ns, bit/s, ratio, count, or ok.
    unit: str
    operators: tuple[str, ...]
    description: str
    #: Whether it is about a flow (of a kind in ``workloads``, if not empty) or about the whole run.
    per_flow: bool = True
    workloads: tuple[str, ...] = ()


#: Workloads whose flows have a connection, and so a round trip and retransmissions.
_WITH_CONNECTION = ("bulk", "echo", "files", "incast", "messages", "request-response")
_RANKS = ("min", "p50", "p90", "p99", "max")

_KINDS = (
    ExpectationKind("completion", "ns", (AT_MOST, AT_LEAST), "time from the flow's start to its end"),
    ExpectationKind("goodput", "bit/s", (AT_MOST, AT_LEAST), "payload bits a second, start to end"),
    ExpectationKind(
        "rtt",
        "ns",
        (AT_MOST, AT_LEAST),
        "smoothed RTT of the flow's connection at its end",
        workloads=_WITH_CONNECTION,
    ),
    *(
        ExpectationKind(
            f"rtt {rank}",
            "ns",
            (AT_MOST, AT_LEAST),
            f"{rank} of the round trips an echo flow measured",
            workloads=("echo",),
        )
        for rank in _RANKS
    ),
    *(
        ExpectationKind(
            f"latency {rank}",
            "ns",
            (AT_MOST, AT_LEAST),
            f"{rank} of the times from a request to its whole response, or of an incast's blocks",
            workloads=("request-response", "incast"),
        )
        for rank in _RANKS
    ),
    *(
        ExpectationKind(
            f"round {rank}",
            "ns",
            (AT_MOST, AT_LEAST),
            f"{rank} of the times until an incast's slowest block was whole",
            workloads=("incast",),
        )
        for rank in _RANKS
    ),
    ExpectationKind(
        "loss",
        "ratio",
        (AT_MOST, AT_LEAST),
        "packets declared lost (datagrams: missing) of those sent",
    ),
    ExpectationKind(
        "retransmissions",
        "ratio",
        (AT_MOST, AT_LEAST),
        "packets sent again of packets sent",
        workloads=_WITH_CONNECTION,
    ),
    ExpectationKind("integrity", "ok", (EQUAL,), "every byte arrived and the SHA-256 sums are equal"),
    ExpectationKind("wire violations", "count", OPERATORS, "frames that break the protocol", per_flow=False),
)
#: Name → kind, in the order of the documentation.
EXPECTATION_KINDS: dict[str, ExpectationKind] = {kind.name: kind for kind in _KINDS}

_EXPRESSION = re.compile(r"\s*([a-z][a-z0-9 -]*?)\s*(<=|>=|==|=<|=>|<|>|=|!=)\s*(\S+)\s*", re.ASCII)


class ExpressionError(ValueError):
    """An expectation cannot be read. ``advice`` says how to write it."""

    def __init__(self, message: str, *advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def parse_expectation(text: str, flow: str | None) -> Expectation:
    """Return the expectation written as ``text``, about ``flow`` (None: all flows).

    Raises:
        ExpressionError: it cannot be read.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ExpressionError(
            f"{text!r} is not an expectation", "write KIND OPERATOR VALUE, as in 'completion <= 30s'"
        )
    name, operator, value = match.groups()
    name = " ".join(name.split())
    kind = EXPECTATION_KINDS.get(name)
    if kind is None:
        raise ExpressionError(f"nothing called {name!r} is measured", *suggestion(name, EXPECTATION_KINDS))
    if operator not in kind.operators:
        raise ExpressionError(
            f"{name!r} cannot be compared with {operator!r}", f"use one of: {', '.join(kind.operators)}"
        )
    if not kind.per_flow and flow is not None:
        raise ExpressionError(f"{name!r} is about the whole run, not about a flow", f"take '{flow}:' out")
    try:
        number = _VALUES[kind.unit](value)
    except UnitError as error:
        raise ExpressionError(str(error)) from None
    return Expectation(
        kind=name, flow=flow, operator=operator, value=number, text=f"{name} {operator} {value}"
    )


def _ok(value: str) -> float:
    if value != "ok":
        raise UnitError(f"{value!r} is not 'ok'; write ok")
    return OK


def _count(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise UnitError(f"{value!r} is not a whole number; write for example 0")
    return float(int(value))


_VALUES: dict[str, Callable[[str], float]] = {
    "ns": lambda value: float(parse_duration(value)),
    "bit/s": lambda value: float(parse_rate(value)),
    "ratio": parse_ratio,
    "count": _count,
    "ok": _ok,
}
