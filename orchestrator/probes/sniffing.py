"""What a probe sees: the frames on links from the captures as they grow, and who answered what it sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from node.capture.pcapng import Capture, CaptureError, Direction
from node.dissectors.scapy_layer import RESPONSE
from node.protocol.time import Instant
from orchestrator.backends.base import Deployment, Sniffed
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.headers import LAYER2_BYTES, address_bytes, read_headers
from orchestrator.probes.wire.sightings import INJECTED_DSCP
from orchestrator.topology.plan import DeploymentPlan

#: SPEC 3-3, 13.2-3: so many bytes may come back for one whose sender is not validated.
MAX_AMPLIFICATION = 3
_RESPONSE = bytes([RESPONSE])


class Seen(NamedTuple):
    """A UDP datagram that entered a link."""

    at: Instant
    #: MAC address of who sent the frame.
    sender: bytes
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    #: ECN codepoint.
    ecn: int
    payload: bytes


class Sniffer:
    """Reads the running captures of some links, each frame once.

    Args:
        deployment: the lab.
        links: by name.
        probe: whose errors these are.

    Raises:
        ProbeError: nothing is captured there, or the back end does not show it.
    """

    def __init__(self, deployment: Deployment, links: list[str], *, probe: str) -> None:
        files = deployment.running_captures() if isinstance(deployment, Sniffed) else {}
        missing = [link for link in links if not files.get(link)]
        if missing:
            raise ProbeError(
                f"{probe}: the capture of {', '.join(missing)} cannot be read while it runs; "
                "use the back end simulation, netns or docker, with captures"
            )
        self._deployment = deployment
        self._links = links
        self._read: dict[Path, int] = defaultdict(int)

    def read(self) -> Iterator[Seen]:
        """Yield what has entered the links since the last call, but for what probes sent.

        Raises:
            ProbeError: a capture is damaged.
        """
        assert isinstance(self._deployment, Sniffed)
        files = self._deployment.running_captures()
        for path in (path for link in self._links for path in files.get(link, ())):
            try:
                for frame in Capture.open(path):
                    if frame.number <= self._read[path]:
                        continue
                    self._read[path] = frame.number
                    if frame.direction == Direction.INBOUND and (seen := _seen(frame.at, frame.data)):
                        yield seen
            except CaptureError as error:
                raise ProbeError(str(error)) from error


def _seen(at: Instant, data: memoryview) -> Seen | None:
    headers = read_headers(data)
    if headers is None or headers.traffic_class >> 2 == INJECTED_DSCP:
        return None
    payload = bytes(data[headers.start : LAYER2_BYTES + headers.length])
    return Seen(at, bytes(data[6:12]), *headers.key, headers.traffic_class & 3, payload)


def framed(
    payload: bytes, *, macs: tuple[str, str], source: tuple[str, int], destination: tuple[str, int],
    ecn: int = 0,
) -> bytes:  # fmt: skip
    """Return an Ethernet frame with a datagram, marked as a probe's.

    Args:
        payload: of UDP.
        macs: of the sender and of the next hop.
        source: IP address and port that it says to be from.
        destination: IP address and port.
        ecn: codepoint.
    """
    traffic_class = INJECTED_DSCP << 2 | ecn
    if ":" in destination[0]:
        # Zero is no checksum over IPv6: scapy puts the right one in.
        ip = IPv6(src=source[0], dst=destination[0], tc=traffic_class)
        udp = UDP(sport=source[1], dport=destination[1])
    else:
        ip = IP(src=source[0], dst=destination[0], tos=traffic_class, flags="DF")
        # Without a UDP checksum, so that no kernel on the way has a reason to drop it.
        udp = UDP(sport=source[1], dport=destination[1], chksum=0)
    return bytes(Ether(src=macs[0], dst=macs[1]) / ip / udp / Raw(payload))


class Answers:
    """Counts bytes that came back to addresses of which the probe alone sent.

    Args:
        deployment: the lab; one that does not show its captures is not counted.
        plan: what it was made from.
        probe: whose errors these are.
    """

    def __init__(self, deployment: Deployment, plan: DeploymentPlan, *, probe: str) -> None:
        self._asked: dict[tuple[bytes, bytes, int], int] = {}
        self._ports = {node.port for node in plan.nodes}
        self._macs = {
            bytes.fromhex(interface.mac.replace(":", "")): set(map(address_bytes, node.all_addresses))
            for node in plan.nodes
            for interface in node.interfaces
        }
        self._sniffer: Sniffer | None = None
        try:
            self._sniffer = Sniffer(deployment, [link.name for link in plan.links], probe=probe)
        except ProbeError as error:
            self.note = str(error)

    def sent(self, payload: bytes, *, source: tuple[str, int], target: str) -> None:
        """Note that the probe sent a datagram to ``target``, which says to be from ``source``."""
        if source[1] not in self._ports:
            asked = address_bytes(target), address_bytes(source[0]), source[1]
            self._asked[asked] = self._asked.get(asked, 0) + len(payload)

    def count(self) -> tuple[bool, dict[str, float], list[str]]:
        """Return whether nobody answered more than he may, figures and notes.

        Raises:
            ProbeError: a capture is damaged.
        """
        if self._sniffer is None:
            return True, {}, [f"answers were not counted: {self.note}"]
        answered: dict[tuple[bytes, bytes, int], int] = {}
        responses = 0
        for seen in self._sniffer.read():
            asked = seen.source, seen.destination, seen.destination_port
            # Where it leaves its sender, not on further links.
            if asked in self._asked and seen.source in self._macs.get(seen.sender, ()):
                answered[asked] = answered.get(asked, 0) + len(seen.payload)
                responses += seen.payload[:1] == _RESPONSE
        most = max((size / self._asked[asked] for asked, size in answered.items()), default=0.0)
        figures = {
            "bytes_sent_from_addresses_of_its_own": float(sum(self._asked.values())),
            "bytes_answered_there": float(sum(answered.values())),
            "responses_answered_there": float(responses),
            "most_answered_for_a_byte": most,
        }
        return most <= MAX_AMPLIFICATION, figures, []
