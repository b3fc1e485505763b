"""What a topology may expect of a run: the one table of kinds, units and operators.

An expectation is ``KIND OPERATOR VALUE``; it holds for every flow, or for one that is named:

    expect:
      - integrity == ok
      - wire violations == 0
      - film: completion <= 30s
      - ping: rtt p90 <= 120ms
      - fairness(film, news) >= 95%
      - utilisation(r1:eth2) >= 80%
      - median(goodput) >= 5Mbit

The last one is about all runs together, where a topology is run several times (``repeats:``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from node.links.units import UnitError, parse_duration, parse_rate, parse_ratio, parse_size
from orchestrator.topology.errors import suggestion
from orchestrator.topology.model import Expectation

AT_MOST = "<="
AT_LEAST = ">="
EQUAL = "=="
OPERATORS = (AT_MOST, AT_LEAST, EQUAL)
#: What ``integrity == ok`` compares with: 1.0 for a flow whose target has every byte, else 0.0.
OK = 1.0
#: What may be expected of the values of all runs of a repeated topology.
AGGREGATES = ("median", "mean", "min", "max")


class Subject(Enum):
    """What a kind of expectation is about."""

    FLOW = "a flow"
    #: Several flows together: those in brackets, or all.
    FLOWS = "several flows"
    #: One direction of a link, by the end that sends: in brackets, or every direction.
    LINK = "a link"
    RUN = "the whole run"


@dataclass(frozen=True, slots=True)
class ExpectationKind:
    """A quantity of a run that can be compared."""

    #: As it is written, and as ``Expectation.kind`` holds it.
    name: str
    #: Base unit of the value: ns, bit/s, ratio, bytes, count, number, or ok.
    unit: str
    operators: tuple[str, ...]
    description: str
    subject: Subject = Subject.FLOW
    #: The workloads whose flows have it; empty: all.
    workloads: tuple[str, ...] = ()
    #: Whether the captures tell it, so that a run without captures does not know it.
    from_captures: bool = False

    @property
    def per_flow(self) -> bool:
        """Whether it is about one flow at a time."""
        return self.subject is Subject.FLOW


#: Workloads whose flows have a connection, and so a round trip and retransmissions.
_WITH_CONNECTION = ("bulk", "echo", "files", "incast", "messages", "request-response")
_RANKS = ("min", "p50", "p90", "p99", "max")
_BOUNDS = (AT_MOST, AT_LEAST)


def _counted(
    name: str, description: str, *, workloads: tuple[str, ...] = _WITH_CONNECTION
) -> ExpectationKind:
    return ExpectationKind(name, "count", OPERATORS, description, workloads=workloads)


def _captured(name: str, unit: str, operators: tuple[str, ...], description: str) -> ExpectationKind:
    return ExpectationKind(name, unit, operators, description, Subject.RUN, from_captures=True)


def _on_links(name: str, unit: str, operators: tuple[str, ...], description: str) -> ExpectationKind:
    return ExpectationKind(name, unit, operators, description, Subject.LINK, from_captures=True)


_KINDS = (
    ExpectationKind("completion", "ns", _BOUNDS, "time from the flow's start to its end"),
    ExpectationKind("goodput", "bit/s", _BOUNDS, "payload bits a second, start to end"),
    ExpectationKind(
        "rtt",
        "ns",
        _BOUNDS,
        "smoothed RTT of the flow's connection at its end",
        workloads=_WITH_CONNECTION,
    ),
    *(
        ExpectationKind(
            f"rtt {rank}",
            "ns",
            _BOUNDS,
            f"{rank} of the round trips an echo flow measured, or of those that Strait measured for another",
            workloads=_WITH_CONNECTION,
        )
        for rank in _RANKS
    ),
    *(
        ExpectationKind(
            f"latency {rank}",
            "ns",
            _BOUNDS,
            f"{rank} of the times from a request to its whole response, or of an incast's blocks",
            workloads=("request-response", "incast"),
        )
        for rank in _RANKS
    ),
    *(
        ExpectationKind(
            f"round {rank}",
            "ns",
            _BOUNDS,
            f"{rank} of the times until an incast's slowest block was whole",
            workloads=("incast",),
        )
        for rank in _RANKS
    ),
    ExpectationKind(
        "loss",
        "ratio",
        _BOUNDS,
        "packets declared lost (datagrams: missing) of those sent",
    ),
    ExpectationKind(
        "retransmissions",
        "ratio",
        _BOUNDS,
        "packets sent again of packets sent",
        workloads=_WITH_CONNECTION,
    ),
    ExpectationKind("integrity", "ok", (EQUAL,), "every byte arrived and the SHA-256 sums are equal"),
    ExpectationKind(
        "delivery",
        "ratio",
        _BOUNDS,
        "messages or datagrams that arrived of those sent",
        workloads=("messages", "datagrams"),
    ),
    ExpectationKind(
        "expired",
        "ratio",
        _BOUNDS,
        "messages given up at their deadline, of those sent",
        workloads=("messages",),
    ),
    _counted(
        "duplicates",
        "packets with datagrams that came once more, of all flows of such from that source together",
        workloads=("datagrams",),
    ),
    _counted("late", "datagrams that came when the target had reported already", workloads=("datagrams",)),
    _counted("probe timeouts", "probe timeouts of the source"),
    _counted("spurious losses", "packets declared lost that were acknowledged after all"),
    _counted("duplicate packets", "packets that came more than once, both ends together"),
    _counted("late packets", "packets that came after one sent later, both ends together"),
    _counted("damaged packets", "packets that both ends dropped because their tag was wrong"),
    _counted("repaired packets", "packets of the source that its target rebuilt (forward error correction)"),
    _counted("key updates", "key phases begun after the first, both ends together"),
    _counted("path changes", "paths the connection moved to, at the end that saw more of them"),
    _counted("marks", "packets that came marked Congestion Experienced, both ends together"),
    ExpectationKind(
        "ecn",
        "ok",
        (EQUAL,),
        "the path carries the source's ECN marks, as its acknowledgements show",
        workloads=_WITH_CONNECTION,
    ),
    ExpectationKind(
        "datagram size",
        "bytes",
        OPERATORS,
        "UDP payload of a full packet at the flow's end, as path MTU discovery found",
        workloads=_WITH_CONNECTION,
    ),
    _counted("restarts", "how often the flow started anew after a crash", workloads=()),
    ExpectationKind(
        "fairness", "number", _BOUNDS, "Jain's index of the flows' goodputs: 1 is fair", Subject.FLOWS
    ),
    ExpectationKind("total goodput", "bit/s", _BOUNDS, "sum of the flows' goodputs", Subject.FLOWS),
    _on_links("link loss", "ratio", _BOUNDS, "frames of ours lost on the link, by chance or overflow"),
    _on_links("link drops", "count", OPERATORS, "the same as a number of frames"),
    _on_links("utilisation", "ratio", _BOUNDS, "bits that left the link, of its rate × the run's time"),
    ExpectationKind(
        "queue drops",
        "count",
        OPERATORS,
        "packets that the link's full or managed queue dropped",
        Subject.LINK,
    ),
    _captured("wire violations", "count", OPERATORS, "frames that break the protocol"),
    _captured("connections", "count", OPERATORS, "connections that were begun (INITIATION)"),
    _captured("handshakes", "count", OPERATORS, "connections whose handshake was completed"),
    _captured("retries", "count", OPERATORS, "connections that had to bring a cookie (RETRY)"),
    _captured("resumptions", "count", OPERATORS, "connections whose ticket and early data were taken"),
    _captured("early packets", "count", OPERATORS, "packets of early data that opened"),
    _captured("phase changes", "count", OPERATORS, "key phases seen after the first, both directions"),
    _captured("resets", "count", OPERATORS, "stateless resets"),
    _captured("ect packets", "count", OPERATORS, "packets sent as ECN-capable"),
    _captured("ce packets", "count", OPERATORS, "packets that arrived marked Congestion Experienced"),
    _captured("amplification", "number", _BOUNDS, "bytes sent of bytes received before validation, at most"),
    _captured("addresses", "count", OPERATORS, "addresses that one end of a connection had, at most"),
    _captured("largest datagram", "bytes", OPERATORS, "largest UDP payload on any link"),
    _captured("ipv4 datagrams", "count", OPERATORS, "UDP datagrams of ours over IPv4"),
    _captured("ipv6 datagrams", "count", OPERATORS, "UDP datagrams of ours over IPv6"),
    _captured("chacha20 connections", "count", OPERATORS, "connections sealed by ChaCha20-Poly1305"),
    _captured("damaged datagrams", "count", OPERATORS, "datagrams that a link damaged"),
    _captured("slipped datagrams", "count", OPERATORS, "of these, those whose integrity check is right"),
    ExpectationKind("timeline done", "count", OPERATORS, "beginnings and ends that were done", Subject.RUN),
    ExpectationKind(
        "timeline missed",
        "count",
        OPERATORS,
        "beginnings and ends that failed, or came too late",
        Subject.RUN,
    ),
)
#: Name → kind, in the order of the documentation.
EXPECTATION_KINDS: dict[str, ExpectationKind] = {kind.name: kind for kind in _KINDS}

_EXPRESSION = re.compile(r"\s*([a-z][^<>=!]*?)\s*(<=|>=|==|=<|=>|<|>|=|!=)\s*(\S+)\s*", re.ASCII)
_QUANTITY = re.compile(r"([a-z][a-z0-9 -]*?)\s*(?:\(([^()]*)\))?", re.ASCII)
_AGGREGATE = re.compile(rf"({'|'.join(AGGREGATES)})\s*\((.*)\)", re.ASCII)


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
    quantity = None if match is None else _quantity(match[1])
    if match is None or quantity is None:
        raise ExpressionError(
            f"{text!r} is not an expectation", "write KIND OPERATOR VALUE, as in 'completion <= 30s'"
        )
    aggregate, name, arguments = quantity
    _, operator, value = match.groups()
    kind = EXPECTATION_KINDS.get(name)
    if kind is None:
        raise ExpressionError(f"nothing called {name!r} is measured", *suggestion(name, EXPECTATION_KINDS))
    if operator not in kind.operators:
        raise ExpressionError(
            f"{name!r} cannot be compared with {operator!r}", f"use one of: {', '.join(kind.operators)}"
        )
    _check_subject(kind, arguments, flow)
    try:
        number = _VALUES[kind.unit](value)
    except UnitError as error:
        raise ExpressionError(str(error)) from None
    written = name if arguments is None else f"{name}({', '.join(arguments)})"
    return Expectation(
        kind=name,
        flow=flow,
        operator=operator,
        value=number,
        text=f"{f'{aggregate}({written})' if aggregate else written} {operator} {value}",
        arguments=arguments or (),
        aggregate=aggregate,
    )


def _quantity(text: str) -> tuple[str, str, tuple[str, ...] | None] | None:
    """Return aggregate, name and arguments of what stands left of the operator; None: it is no quantity."""
    outer = _AGGREGATE.fullmatch(text)
    match = _QUANTITY.fullmatch(text if outer is None else outer[2].strip())
    if match is None:
        return None
    name, listed = " ".join(match[1].split()), match[2]
    arguments = None if listed is None else tuple(word.strip() for word in listed.split(","))
    return "" if outer is None else outer[1], name, arguments


def _check_subject(kind: ExpectationKind, arguments: tuple[str, ...] | None, flow: str | None) -> None:
    """Refuse a flow, or brackets, where a kind is not about such."""
    name = kind.name
    example = "a, b" if kind.subject is Subject.FLOWS else "node:eth1"
    if flow is not None and kind.subject in (Subject.FLOWS, Subject.LINK):
        advice = f"write {name}({example}), without '{flow}:'"
        raise ExpressionError(f"{name!r} is about {kind.subject.value}", advice)
    if flow is not None and kind.subject is Subject.RUN:
        raise ExpressionError(f"{name!r} is about the whole run, not about a flow", f"take '{flow}:' out")
    if arguments is None:
        return
    if kind.subject is Subject.FLOW:
        raise ExpressionError(
            f"{name!r} is about one flow, and has no brackets", f"write '{arguments[0] or 'flow'}: {name} …'"
        )
    if kind.subject is Subject.RUN:
        raise ExpressionError(f"{name!r} is about the whole run", "take the brackets out")
    if not all(arguments):
        raise ExpressionError(f"{name!r} with an empty place in its brackets", f"write {name}({example})")
    if kind.subject is Subject.LINK and len(arguments) > 1:
        advice = "write one expectation for each, or none in brackets: then it is about every direction"
        raise ExpressionError(f"{name!r} of {len(arguments)} links", advice)


def _ok(value: str) -> float:
    if value != "ok":
        raise UnitError(f"{value!r} is not 'ok'; write ok")
    return OK


def _count(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise UnitError(f"{value!r} is not a whole number; write for example 0")
    return float(int(value))


def _number(value: str) -> float:
    if value.endswith("%"):
        return parse_ratio(value)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", value):
        raise UnitError(f"{value!r} is not a number; write for example 0.95")
    return float(value)


_VALUES: dict[str, Callable[[str], float]] = {
    "ns": lambda value: float(parse_duration(value)),
    "bit/s": lambda value: float(parse_rate(value)),
    "ratio": parse_ratio,
    "bytes": lambda value: float(parse_size(value)),
    "count": _count,
    "number": _number,
    "ok": _ok,
}
