"""The files of a simulated run: captures of all links in virtual time, and the nodes' key logs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from node.capture.pcapng import Direction, Writer
from node.protocol.time import Instant
from orchestrator.simulation.link import LinkDirection, Tap
from orchestrator.simulation.network import Network
from orchestrator.simulation.packet import Packet, to_frame
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan


class Artefacts:
    """Writes the files of one run.

    Args:
        directory: where they go.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._open = ExitStack()
        self._key_logs: dict[str, tuple[Path, TextIO]] = {}
        self._captures: dict[str, Path] = {}
        self._tapped: list[tuple[LinkDirection, Tap]] = []

    def key_log_of(self, node: str) -> Callable[[str], None]:
        """Return what takes the key log lines of ``node``."""
        if node not in self._key_logs:
            path = self._directory / f"{node}.keylog"
            self._key_logs[node] = (path, self._open.enter_context(path.open("w", encoding="ascii")))
        _, log = self._key_logs[node]

        def write(line: str) -> None:
            log.write(line.rstrip("\n") + "\n")

        return write

    def capture(self, network: Network, plan: DeploymentPlan) -> None:
        """Capture every link: one file each, with an interface for each end, as a link namespace has them.

        A frame that an end sends comes *in* at its interface; one that is delivered to it goes *out* there.
        """
        macs = {
            LinkEndpoint(node.name, interface.name): bytes.fromhex(interface.mac.replace(":", ""))
            for node in plan.nodes
            for interface in node.interfaces
        }
        for link in plan.links:
            path = self._directory / f"{link.name.replace(':', '_')}.pcapng"
            comment = f"link {link.name}, simulated; times are virtual"
            writer = self._open.enter_context(Writer.create(path, comment=comment))
            a, b = writer.add_interface(str(link.a)), writer.add_interface(str(link.b))
            forward, reverse = network.directions[link.a], network.directions[link.b]
            self._tap(forward, _capture(writer, a, b, macs[link.a], macs[link.b]))
            self._tap(reverse, _capture(writer, b, a, macs[link.b], macs[link.a]))
            self._captures[link.name] = path

    def finish(self) -> tuple[dict[str, list[Path]], list[Path]]:
        """End the captures; return them by link, and the key logs."""
        self.close()
        captures = {link: [path] for link, path in self._captures.items()}
        return captures, [path for path, _ in self._key_logs.values()]

    def close(self) -> None:
        """Finish all files; nothing is written from then on. May be called twice."""
        for direction, tap in self._tapped:
            direction.taps.remove(tap)
        self._tapped.clear()
        self._open.close()

    def _tap(self, direction: LinkDirection, tap: Tap) -> None:
        direction.taps.append(tap)
        self._tapped.append((direction, tap))


def _capture(writer: Writer, here: int, there: int, source_mac: bytes, destination_mac: bytes) -> Tap:
    """Return a tap that writes frames as they enter the link at ``here`` and leave it at ``there``."""
    write, inbound, outbound = writer.write_packet, Direction.INBOUND, Direction.OUTBOUND

    def tap(now: Instant, delivered: bool, packet: Packet) -> None:
        frame = to_frame(packet, source_mac, destination_mac)
        if delivered:
            write(there, now, frame, direction=outbound)
        else:
            write(here, now, frame, direction=inbound)

    return tap
