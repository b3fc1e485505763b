"""From captures to datagrams: the same datagram on several links, or twice on one, is one Datagram."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath

from node.capture.pcapng import LINKTYPE_ETHERNET, Capture, CaptureError, Direction
from node.measuring.frames import is_probe
from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.headers import (
    LAYER2_BYTES,
    Headers,
    address_bytes,
    has_right_checksum,
    read_headers,
)
from orchestrator.probes.wire.report import LinkReport, Violation, WireReport
from orchestrator.topology.plan import DeploymentPlan, LinkPlan

#: Frames with this DSCP were put on the wire by a probe; it survives routers, and nodes do not use it.
INJECTED_DSCP = 42

#: The kind of nodes that change addresses, as plans spell it.
NAT = "nat"
#: Captures of real time count from 1970: below this, a quarter of a year, the time is virtual.
_VIRTUAL_BELOW = 1 << 53
#: Frames, or datagrams, that are looked at before captures give memory back.
_PART = 1 << 12
_HEAD_BYTES = 9
_OUTBOUND = int(Direction.OUTBOUND)

#: IP address and port.
Place = tuple[bytes, int]
#: From where and to where.
Path = tuple[bytes, int, bytes, int]
#: Hash of the payload, addresses and ports where they tell datagrams apart, and whether it is a probe's.
_Key = tuple[int, tuple[object, ...] | None, bool]


@dataclass(slots=True, eq=False)
class Datagram:
    """One distinct datagram and where it was seen."""

    payload: memoryview
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    #: The earliest sighting: link, number of the frame, ns.
    link: str
    frame: int
    at: int
    #: From where and to where it then went; equal ones are the same object.
    path: Path
    #: Its first nine bytes, of DATA packets type and connection ID; equal ones are the same object.
    head: bytes
    injected: bool
    #: When it came out of a link at its target: None, if it never did or only entries were captured.
    delivered: int | None = None
    #: When it entered a link that ends at its target; None: it never did.
    approached: int | None = None
    #: How often it entered such a link.
    approaches: int = 0
    #: How often a node that has its source address sent it.
    departures: int = 0
    #: How often it came out of a link at its target.
    arrivals: int = 0
    #: ECN codepoint (RFC 3168 §5) as it was first seen, and as it first came out at its target.
    ecn: int = 0
    arrived_ecn: int = 0
    #: Address and port that it first came from at its target; a NAT on the way changes them.
    arrived_from: Place = (b"", 0)
    #: ... and that it came to; the socket there may have moved away.
    arrived_to: Place = (b"", 0)


class Sightings:
    """Reads all captures of a run.

    Args:
        plan: what was deployed.
        report: takes counts, notes, and the violations that concern frames as such.
    """

    def __init__(self, plan: DeploymentPlan, report: WireReport) -> None:
        self._plan = plan
        #: A node's addresses, by its name: a hub of thousands of links is asked for once a link.
        self._of_nodes: dict[str, frozenset[bytes]] = {}
        self._report = report
        self._datagrams: dict[_Key, Datagram] = {}
        self._places: dict[Place, Place] = {}
        self._paths: dict[Path, Path] = {}
        self._heads: dict[bytes, bytes] = {}
        self._captures: list[Capture] = []
        self._ports = {node.port for node in plan.nodes}
        #: Behind a NAT the same datagram has other addresses.
        self._translated = any(node.kind.value == NAT for node in plan.nodes)
        self._corrupting = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
        #: Whether what left each link was captured, too.
        self.exits_captured = True
        # A capture has an interface for each end of its link: if nothing left it, all was lost.
        self._both_ends = False
        #: Whether time is virtual: then nodes act at the very instant at which something comes.
        self.is_virtual = False

    def read(self, collected: Collected) -> list[Datagram]:
        """Return all distinct datagrams, in order of their first sighting.

        Raises:
            ProbeError: a capture cannot be read or is damaged.
        """
        for link in self._plan.links:
            report = self._report.links[link.name] = LinkReport()
            paths = collected.captures.get(link.name, [])
            if not paths:
                self._incomplete(f"{link.name}: there is no capture")
            for path in paths:
                self._read_file(path, link, report)
            self._report.frames += report.frames
        self._take_replays()
        self.exits_captured = self._both_ends or any(report.left for report in self._report.links.values())
        self._report.exits_captured = self.exits_captured
        # Frame numbers order what one end sent at one virtual instant.
        found = sorted(self._datagrams.values(), key=lambda datagram: (datagram.at, datagram.frame))
        self._report.distinct = len(found)
        self._datagrams.clear()
        self.is_virtual = bool(found) and found[-1].at < _VIRTUAL_BELOW
        return found

    def parts(self, datagrams: list[Datagram]) -> Iterator[list[Datagram]]:
        """Yield datagrams some at a time, and give back what their payloads took of memory in between."""
        for first in range(0, len(datagrams), _PART):
            yield datagrams[first : first + _PART]
            self._release()

    def _release(self) -> None:
        for capture in self._captures:
            capture.release()

    def _read_file(self, path: FilePath, link: LinkPlan, report: LinkReport) -> None:
        try:
            capture = Capture.open(path)
            self._captures.append(capture)
            self._read_frames(capture, link, report)
        except CaptureError as error:
            raise ProbeError(f"link {link.name}: {error}") from error
        self._both_ends = self._both_ends or len(capture.interfaces) > 1
        dropped = sum(interface.dropped or 0 for interface in capture.interfaces)
        report.dropped += dropped
        if dropped:
            self._incomplete(f"{link.name}: the capture lost {dropped} frames")
        if capture.truncated_at is not None:
            report.truncated = True
            self._incomplete(f"{path.name} is cut off at offset {capture.truncated_at}")

    def _incomplete(self, text: str) -> None:
        self._report.complete = False
        self._report.note(f"{text}: windows and acknowledgements were not checked")

    def _read_frames(self, capture: Capture, link: LinkPlan, report: LinkReport) -> None:
        senders = dict(self._senders(link))
        targets, corrupting = self._targets(link), self._corrupting
        owners = {mac: self._addresses(end) for mac, end in senders.items()}
        #: Frames and their bytes, by whether they left the link and whose MAC address they come from.
        tallies: defaultdict[tuple[bool, bytes], list[int]] = defaultdict(lambda: [0, 0])
        ethernet: set[int] = set()
        datagrams, ports = self._datagrams, self._ports
        for number, interface, at, data, original, direction in capture:
            if not number % _PART:
                capture.release()
            if interface not in ethernet:
                if capture.interfaces[interface].link_type != LINKTYPE_ETHERNET:
                    report.other += 1
                    continue
                ethernet.add(interface)
            headers = read_headers(data, suspect=corrupting)
            if headers is None and is_probe(data):
                report.other += 1
                continue
            outbound, mac = direction == _OUTBOUND, bytes(data[6:12])
            tally = tallies[outbound, mac]
            tally[0] += 1
            tally[1] += original
            if headers is None:
                report.other += 1
                continue
            tos, length, source, destination, source_port, destination_port, start, whole = headers
            if source_port not in ports and destination_port not in ports:
                report.other += 1
                continue
            report.frames += 1
            if original > len(data):
                report.cut += 1
                self._incomplete(f"{link.name}: frames are cut to the snap length")
                continue
            if not whole:
                self._bad_headers(link, report, number, at)
                continue
            if length > link.mtu:
                found = f"an IP packet of {length} bytes (an unsplit burst: are the sender's offloads on?)"
                self._report.add(Violation(link.name, number, at, "1-1", found, f"at most {link.mtu}"))
                continue
            payload = data[start : LAYER2_BYTES + length]
            key = self._key(payload, headers)
            datagram = datagrams.get(key)
            if datagram is None:
                datagram = datagrams[key] = self._first(payload, headers, link.name, number, at)
            elif at < datagram.at:
                datagram.link, datagram.frame, datagram.at, datagram.ecn = link.name, number, at, tos & 3
                datagram.source, datagram.source_port = source, source_port
                datagram.destination, datagram.destination_port = destination, destination_port
                datagram.path = self._path(headers)
            if not outbound and source in owners.get(mac, ()):
                datagram.departures += 1
            if destination not in targets:
                continue
            if not outbound:
                datagram.approaches += 1
                if datagram.approached is None or at < datagram.approached:
                    datagram.approached = at
                continue
            if corrupting and not (bytes(data[:6]) in senders and has_right_checksum(data, headers)):
                continue  # damaged beside what makes a datagram ours: its host does not take it
            datagram.arrivals += 1
            if datagram.delivered is None or at < datagram.delivered:
                datagram.delivered, datagram.arrived_ecn = at, tos & 3
                datagram.arrived_from = self._place(source, source_port)
                datagram.arrived_to = self._place(destination, destination_port)
        report.take_frames(tallies, senders)

    def _key(self, payload: memoryview, headers: Headers) -> _Key:
        """Return what is equal in all sightings of a datagram, and in no two datagrams."""
        injected = headers.traffic_class >> 2 == INJECTED_DSCP
        if self._translated and not injected:
            return hash(payload), None, False
        return hash(payload), headers[2:6], injected

    def _first(self, payload: memoryview, headers: Headers, link: str, number: int, at: int) -> Datagram:
        path = self._path(headers)
        source, source_port, destination, destination_port = path
        tos = headers.traffic_class
        ports = source_port, destination_port
        injected = tos >> 2 == INJECTED_DSCP
        head = bytes(payload[:_HEAD_BYTES])
        head = self._heads.setdefault(head, head)
        return Datagram(
            payload, source, destination, *ports, link, number, at, path, head, injected, ecn=tos & 3
        )  # fmt: skip

    def _path(self, headers: Headers) -> Path:
        """Return from where to where a datagram goes, each once: datagrams are many, and paths few."""
        path = headers.source, headers.source_port, headers.destination, headers.destination_port
        return self._paths.setdefault(path, path)

    def _place(self, address: bytes, port: int) -> Place:
        """Return an address and port, each once."""
        place = address, port
        return self._places.setdefault(place, place)

    def _take_replays(self) -> None:
        """What a probe sent again has come where it came, as a duplicate does; nobody else sent it twice."""
        replays = [one for one in self._datagrams.values() if one.injected]
        if not replays:
            return
        own = {hash(one.payload): one for one in self._datagrams.values() if not one.injected}
        for replay in replays:
            first = own.get(hash(replay.payload))
            if first is None or first.payload != replay.payload:
                continue
            first.approaches += replay.approaches
            first.arrivals += replay.arrivals
            if replay.approached is not None:
                first.approached = min(replay.approached, first.approached or replay.approached)
            if replay.delivered is not None and (
                first.delivered is None or replay.delivered < first.delivered
            ):
                first.delivered, first.arrived_ecn = replay.delivered, replay.arrived_ecn
                first.arrived_from, first.arrived_to = replay.arrived_from, replay.arrived_to

    def _bad_headers(self, link: LinkPlan, report: LinkReport, number: int, at: int) -> None:
        if self._corrupting:
            report.damaged += 1
            self._report.damaged += 1
            return
        found = "an IP or UDP header with wrong lengths or checksum"
        self._report.add(Violation(link.name, number, at, "1", found, "whole headers: no link corrupts here"))

    def _senders(self, link: LinkPlan) -> Iterator[tuple[bytes, str]]:
        for end in (link.a, link.b):
            for interface in self._plan.node(end.node).interfaces:
                if interface.name == end.interface:
                    yield bytes.fromhex(interface.mac.replace(":", "")), str(end)

    def _addresses(self, end: str) -> frozenset[bytes]:
        """Return the addresses of the node that an end of a link is of: what comes from there it has sent.

        But a NAT router's are on what others sent, and have left once already.
        """
        name = end.partition(":")[0]
        found = self._of_nodes.get(name)
        if found is None:
            node = self._plan.node(name)
            hosts = () if node.nat is not None else node.all_addresses
            found = self._of_nodes[name] = frozenset(address_bytes(host) for host in hosts)
        return found

    def _targets(self, link: LinkPlan) -> frozenset[bytes]:
        """Return the addresses of the link's two nodes, those of their other interfaces included.

        What arrives at a NAT router's own address is for somebody behind it, and not delivered yet.
        """
        return self._addresses(link.a.node) | self._addresses(link.b.node)
