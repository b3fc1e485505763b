"""Captures of a real run with something added, left out or changed: what the wire probe says of it then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from node.capture.pcapng import Capture, Direction, Writer
from node.dissectors.scapy_layer import Frame
from orchestrator.backends.base import Collected
from orchestrator.experiment.kept import KeptRun
from orchestrator.probes.wire import WireReport, verify
from orchestrator.probes.wire.decrypt import Keys, Opener
from orchestrator.simulation.packet import Packet, from_frame, to_frame


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A frame where it entered a link (``entered``) or left it."""

    link: str
    interface: int
    at: int
    data: bytes
    entered: bool

    @property
    def packet(self) -> Packet:
        """Addresses, codepoint and payload."""
        found = from_frame(self.data)
        assert found is not None
        return found

    def changed(self, change: Callable[[Packet], Packet]) -> Sighting:
        """Return it with the packet that ``change`` makes, and headers that fit."""
        return replace(self, data=to_frame(change(self.packet), self.data[6:12], self.data[:6]))


class Doctored:
    """The captures of a run, to be changed: ``seen`` holds their frames in order.

    Args:
        run: which.
        directory: where the changed captures go.
    """

    def __init__(self, run: KeptRun, directory: Path) -> None:
        self.run = run
        self._directory = directory
        self.seen: list[Sighting] = [
            Sighting(link, one.interface, one.at, bytes(one.data), one.direction == Direction.INBOUND)
            for link, paths in run.collected.captures.items()
            for path in paths
            for one in Capture.open(path)
        ]

    def first(self, link: str, source: str, *, entered: bool = True, kind: int | None = None) -> Sighting:
        """Return the first of a node's packets on a link that begins with it, by its MAC address there."""
        return next(self.all(link, source, entered=entered, kind=kind))

    def all(
        self, link: str, source: str, *, entered: bool = True, kind: int | None = None
    ) -> Iterator[Sighting]:
        """Yield a node's packets on a link (named by how its name begins), where they enter or leave it."""
        macs = {
            bytes.fromhex(interface.mac.replace(":", ""))
            for interface in self.run.plan.node(source).interfaces
        }
        for one in self.seen:
            here = one.link.startswith(link) and one.entered is entered and one.data[6:12] in macs
            if here and (kind is None or one.packet.payload[0] == kind):
                yield one

    def frames(self, sightings: Iterator[Sighting]) -> Iterator[tuple[Sighting, list[Frame]]]:
        """Yield packets with their frames."""
        opener = Opener(Keys.read(self.run.collected.key_logs))
        for one in sightings:
            opened = opener.open(bytes(one.packet.payload))
            if opened is not None and opened.frames is not None:
                yield one, opened.frames

    def leave_out(self, payload: bytes, link: str = "") -> None:
        """Leave a datagram out, on all links or on one."""
        kept = [one for one in self.seen if not (one.link.startswith(link) and payload in one.data)]
        assert len(kept) < len(self.seen)
        self.seen = kept

    def report(self) -> WireReport:
        """Return the verdict on the captures as they now are."""
        captures = {}
        for link in self.run.plan.links:
            path = self._directory / f"{link.index}.pcapng"
            captures[link.name] = [path]
            with Writer.create(path) as writer:
                for end in (link.a, link.b):
                    writer.add_interface(str(end))
                for one in sorted(self.seen, key=lambda one: one.at):
                    if one.link == link.name:
                        way = Direction.INBOUND if one.entered else Direction.OUTBOUND
                        writer.write_packet(one.interface, one.at, one.data, direction=way)
        return verify(self.run.plan, Collected(captures, self.run.collected.key_logs))

    def rules(self) -> list[str]:
        """Return the rules that are broken, each once."""
        return sorted({violation.rule for violation in self.report().violations})
