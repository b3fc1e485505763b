"""The packets of a run between its nodes, in order of time: what a message sequence diagram shows.

Read from the captures alone: when a packet was first seen, and when it came out of a link at its target. What
is in it is told by the key logs; without them a DATA packet is shown closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from node.dissectors.reset import STATELESS_RESET
from node.dissectors.scapy_layer import (
    COMPLETION,
    DATA,
    DATA_ODD,
    EARLY,
    INITIATION,
    RESPONSE,
    RETRY,
    Ack,
    Frame,
    Stream,
)
from node.dissectors.sealed import SEALED
from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.decrypt import Keys, Opener
from orchestrator.probes.wire.headers import address_bytes, address_text
from orchestrator.probes.wire.report import WireReport
from orchestrator.probes.wire.sightings import Datagram, Sightings
from orchestrator.topology.plan import DeploymentPlan

_NAMES = {
    INITIATION: "INITIATION",
    RESPONSE: "RESPONSE",
    COMPLETION: "COMPLETION",
    RETRY: "RETRY",
    EARLY: "EARLY",
    SEALED: "SEALED",
    DATA: "DATA",
    DATA_ODD: "DATA",
    STATELESS_RESET: "STATELESS_RESET",
}
_HEADER_BYTES = 13
#: Ranges of an ACK that are written out.
_SHOWN_RANGES = 3


@dataclass(frozen=True, slots=True)
class Arrow:
    """One packet on its way."""

    source: str
    target: str
    #: ns of the captures' clock.
    sent: int
    #: None: it never arrived.
    arrived: int | None
    label: str
    size: int


def arrows(plan: DeploymentPlan, collected: Collected) -> Iterator[Arrow]:
    """Yield the packets of a run in the order in which they were sent.

    Raises:
        ProbeError: a capture or key log cannot be read.
    """
    names = {
        address_bytes(host): node.name
        for node in plan.nodes
        for host in (*(one for found in node.interfaces for one in found.hosts), *node.other_addresses)
    }
    report = WireReport()
    sightings = Sightings(plan, report)
    datagrams = sightings.read(collected)
    opener = _opener(collected)
    for datagram in datagrams:
        arrived = datagram.delivered if sightings.exits_captured else datagram.approached
        yield Arrow(
            source=names.get(datagram.source, address_text(datagram.source)),
            target=names.get(datagram.destination, address_text(datagram.destination)),
            sent=datagram.at,
            arrived=arrived,
            label=_label(datagram, opener),
            size=len(datagram.payload),
        )


def _opener(collected: Collected) -> Opener | None:
    try:
        return Opener(Keys.read(collected.key_logs))
    except ProbeError:
        return None


def _label(datagram: Datagram, opener: Opener | None) -> str:
    payload = bytes(datagram.payload)
    name = _NAMES.get(payload[0] if payload else 0, "not Strait")
    opened = opener.open(payload) if opener is not None else None
    if name == "SEALED":
        return f"SEALED {opened.comment.partition(': ')[2]}" if opened else f"SEALED, {len(payload)} bytes"
    if name not in ("DATA", "EARLY"):
        return name
    number = int.from_bytes(payload[9:_HEADER_BYTES], "big") if len(payload) >= _HEADER_BYTES else -1
    if opened is None:
        return f"{name} {number}, closed"
    if opened.frames is None:
        return f"{name} {number}, malformed"
    shown = (_frame(frame) for frame in opened.frames if frame.name != "PADDING")
    return f"{name} {number}: " + ", ".join(shown)


def _frame(frame: Frame) -> str:
    if isinstance(frame, Ack):
        ranges = [f"{low}-{high}" if low != high else str(low) for low, high in frame.intervals()]
        more = f" +{len(ranges) - _SHOWN_RANGES}" if len(ranges) > _SHOWN_RANGES else ""
        return f"{frame.name} {' '.join(ranges[:_SHOWN_RANGES])}{more}"
    if isinstance(frame, Stream):
        start = frame.fields["offset"]
        fin = " FIN" if frame.fin else ""
        return f"{frame.name} {frame.fields['stream_id']} [{start}, {start + len(frame.fields['data'])}){fin}"
    for key in ("maximum", "limit", "code", "sequence", "first"):
        if key in frame.fields:
            return f"{frame.name} {frame.fields[key]}"
    return str(frame.name)
