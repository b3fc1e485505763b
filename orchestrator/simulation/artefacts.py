"""The files of a simulated run: captures of all links in virtual time, the nodes' key logs and traces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TextIO

from node.capture.pcapng import Direction, Writer
from node.protocol.time import Instant
from node.protocol.trace import TraceEvent, Tracer, TracerOf
from node.qlog.writer import QlogFile, QlogWriter
from orchestrator.simulation.link import LinkDirection, Tap
from orchestrator.simulation.network import Network
from orchestrator.simulation.packet import Packet, to_frame
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: Below the run's directory: a directory for each node, with a qlog file for each connection.
QLOG = "qlog"
#: Virtual time 0 on the calendar of traces, ms since 1970: viewers take 0 for none. 2000-01-01.
VIRTUAL_EPOCH_MS = 946_684_800_000.0
#: Events of a connection that are written together.
WRITE_AT = 4096


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
        self._files: list[BinaryIO] = []
        self._tapped: list[tuple[LinkDirection, Tap]] = []
        self._traces: list[QlogWriter] = []

    def key_log_of(self, node: str) -> Callable[[str], None]:
        """Return what takes the key log lines of ``node``; the file is made with the first one.

        Of ten thousand nodes most have no connection, and no process has so many files open.
        """

        def write(line: str) -> None:
            if node not in self._key_logs:
                path = self._directory / f"{node}.keylog"
                self._key_logs[node] = (path, self._open.enter_context(path.open("w", encoding="ascii")))
            _, log = self._key_logs[node]
            log.write(line.rstrip("\n") + "\n")

        return write

    def tracers_of(self, node: NodePlan, warn: Callable[[str], None]) -> TracerOf:
        """Return what traces the connections of ``node`` into qlog files; ``warn``: told if it ends."""
        writer = QlogWriter(
            self._directory / QLOG / node.name,
            name=node.name,
            local=(node.host, node.port),
            reference=0,
            reference_time=VIRTUAL_EPOCH_MS,
            on_trouble=warn,
        )
        self._traces.append(writer)

        def tracer_of(connection_id: bytes, initiator: bool) -> Tracer | None:
            tracer = writer.tracer_of(connection_id, initiator)
            return None if tracer is None else _written(tracer, writer)

        return tracer_of

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
            file = self._open.enter_context(path.open("wb"))
            self._files.append(file)
            writer = Writer(file, comment=comment)
            a, b = writer.add_interface(str(link.a)), writer.add_interface(str(link.b))
            forward, reverse = network.directions[link.a], network.directions[link.b]
            self._tap(forward, _capture(writer, a, b, macs[link.a], macs[link.b]))
            self._tap(reverse, _capture(writer, b, a, macs[link.b], macs[link.a]))
            self._captures[link.name] = path

    def running(self) -> dict[str, list[Path]]:
        """Return the captures by link, with all in them that was captured so far."""
        for file in self._files:
            if not file.closed:
                file.flush()
        return {link: [path] for link, path in self._captures.items()}

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
        for writer in self._traces:
            writer.close()
        self._open.close()

    def _tap(self, direction: LinkDirection, tap: Tap) -> None:
        direction.taps.append(tap)
        self._tapped.append((direction, tap))


def _written(tracer: QlogFile, writer: QlogWriter) -> Tracer:
    """Return the tracer; it writes by itself, as no time passes here meanwhile."""

    def trace(now: Instant, event: TraceEvent) -> None:
        tracer(now, event)
        if tracer.waiting >= WRITE_AT:
            writer.write()

    return trace


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
