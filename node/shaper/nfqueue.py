"""The NFQUEUE form: shapes what one existing interface receives, where no link namespace can be made.

Packets wait in the kernel, only their headers come up. In the receiving side's PREROUTING, never in the
sender's OUTPUT: held packets would be charged to the sender's socket buffer, and bursts arrive here split.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from node.links.frames import ecn_capable, flow_of, mark_frame
from node.links.model import Delivery
from node.protocol.time import Instant
from node.shaper.configuration import NfqueueConfiguration, ShaperError
from node.shaper.control import ControlServer
from node.shaper.directions import Direction
from node.shaper.frames import ETHERNET_BYTES, flip_bit
from node.shaper.loop import Loop
from node.shaper.netfilter_queue import HEADER_RANGE, WHOLE_RANGE, NetfilterQueue, QueuedPacket

#: In the comment of every rule of ours, with the interface: how leftovers are recognised.
RULE_TAG = "narrows-shaper"
_FIRST_QUEUE = 20_000
_IPTABLES_TIMEOUT_SECONDS = 10.0
#: Reads in one go before others are looked after.
_BATCH = 16
#: The Ethernet header that a corrupted bit may fall into: IPv4 inside, addresses unknown here.
_STAND_IN_HEADER = bytes(12) + b"\x08\x00"
#: How often we look whether the interface is still there.
_LOOK_NS = 1_000_000_000


def run_nfqueue(interface: str, configuration: NfqueueConfiguration, on_ready: Callable[[], None]) -> None:
    """Shape what ``interface`` receives until SIGTERM, a ``stop`` command, or until it is gone.

    Raises:
        ShaperError: the interface, iptables, a kernel module or a right is missing.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise ShaperError(f"interface {interface}: {error.strerror}") from error
    number = configuration.queue if configuration.queue is not None else _FIRST_QUEUE + index % 10_000
    inbound = Direction("inbound", configuration.impairments, configuration.seed)
    with Loop() as loop:
        _shape(loop, inbound, interface, number, configuration, on_ready)


def _shape(
    loop: Loop,
    inbound: Direction,
    interface: str,
    number: int,
    configuration: NfqueueConfiguration,
    on_ready: Callable[[], None],
) -> None:
    queue = NetfilterQueue(number)
    shaper = _Inbound(loop, inbound, queue, interface, configuration.mtu)
    try:
        install_rule(interface, number, configuration.protocol)
        # Last, since who can connect takes the shaper for ready.
        control = ControlServer(loop, configuration.control, {"inbound": inbound})
        try:
            on_ready()
            loop.run()
        finally:
            control.close()
    finally:
        # The rule before the queue: until it is gone, packets are handed to whoever has the queue.
        remove_rules(interface)
        shaper.close()
        queue.close()


def install_rule(interface: str, number: int, protocol: str) -> None:
    """Hand what ``interface`` receives to queue ``number``; a rule left over from before is replaced.

    Raises:
        ShaperError: iptables fails; the message holds its own.
    """
    remove_rules(interface)
    matches = [] if protocol == "all" else ["-p", protocol]
    _iptables(
        *["-A", "PREROUTING", "-i", interface, *matches],
        *["-m", "comment", "--comment", f"{RULE_TAG}:{interface}"],
        *["-j", "NFQUEUE", "--queue-num", str(number), "--queue-bypass"],
    )


def remove_rules(interface: str) -> None:
    """Remove all rules of ours for ``interface``, also those of a shaper that was killed.

    Raises:
        ShaperError: iptables fails; the message holds its own.
    """
    tag = f"{RULE_TAG}:{interface}"
    for line in _iptables("-S", "PREROUTING").splitlines():
        rule = shlex.split(line)
        if rule[:1] == ["-A"] and tag in rule:
            _iptables("-D", *rule[1:])


def _iptables(*arguments: str) -> str:
    argv = ["iptables", "-w", "-t", "mangle", *arguments]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_IPTABLES_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ShaperError(f"{shlex.join(argv)}: {error}; install iptables") from error
    if done.returncode != 0:
        raise ShaperError(f"{shlex.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class _Inbound:
    """Gives the queue's packets the fate that the model decides."""

    def __init__(
        self, loop: Loop, direction: Direction, queue: NetfilterQueue, interface: str, mtu: int
    ) -> None:
        self._loop = loop
        self._direction = direction
        self._queue = queue
        self._interface = interface
        self._longest = mtu
        self._look_at = 0
        # Sends duplicates: raw IP, header included, to ourselves; over lo, so past the rule.
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._look_at_queue: Instant | None = None
        direction.on_set = self._on_set
        direction.model.on_dropped(self._on_dropped)
        self._on_set()
        loop.on_readable(queue, self._read)
        self._look()

    def close(self) -> None:
        """Give back what was opened."""
        self._raw.close()

    def _on_set(self) -> None:
        """Let whole packets come up only where their bytes are needed: they cost a copy each way."""
        impairments = self._direction.model.impairments
        whole = bool(impairments.corrupt or impairments.duplicate or impairments.ecn)
        self._queue.copy(WHOLE_RANGE if whole else HEADER_RANGE)
        self._fetch_soon()

    def _read(self) -> None:
        for _ in range(_BATCH):
            found = False
            for packet in self._queue.packets():
                found = True
                self._enqueue(packet)
            if not found:
                return

    def _enqueue(self, packet: QueuedPacket) -> None:
        size = packet.length + ETHERNET_BYTES
        if packet.length > self._longest:
            self._on_oversized(packet.length)
        model, held = self._direction.model, _Held(packet.identifier, packet.payload, size)
        before = model.counters() if model.managed else None
        frame = _STAND_IN_HEADER + packet.payload if model.reads_headers else b""
        deliveries = model.enqueue(
            size, time.monotonic_ns(), item=held, ecn_capable=ecn_capable(frame), flow=flow_of(frame)
        )
        held.waiting = len(deliveries)
        if before is not None:
            after = model.counters()
            held.waiting = 1 + after.duplicated - before.duplicated - (after.lost - before.lost)
        if not held.waiting:
            self._queue.drop(packet.identifier)
        for delivery in deliveries:
            self._let_go(delivery)
        self._fetch_soon()

    def _let_go(self, delivery: Delivery) -> None:
        held = delivery.item
        assert isinstance(held, _Held)
        held.waiting -= 1
        changed = _changed(held.payload, delivery)
        # The packet itself is the first copy; others are sent anew from its bytes.
        if held.settled:
            self._loop.hold(delivery.at, held.size, self._send_copy, changed or held.payload)
            return
        held.settled = True
        if not self._loop.hold(delivery.at, held.size, self._accept, (held.identifier, changed)):
            self._direction.refused += 1
            self._queue.drop(held.identifier)

    def _on_dropped(self, item: object) -> None:
        assert isinstance(item, _Held)
        item.waiting -= 1
        if item.waiting <= 0 and not item.settled:
            item.settled = True
            self._queue.drop(item.identifier)

    def _fetch_soon(self) -> None:
        """See to it that what waits in the model is fetched when it is due."""
        at = self._direction.model.next_at()
        if at is not None and (self._look_at_queue is None or at < self._look_at_queue):
            self._look_at_queue = at
            self._loop.hold(at, 0, self._fetch, at)

    def _fetch(self, at: Instant) -> None:
        if at != self._look_at_queue:
            return
        self._look_at_queue = None
        for delivery in self._direction.model.advance(time.monotonic_ns()):
            self._let_go(delivery)
        self._fetch_soon()

    def _accept(self, verdict: tuple[int, bytes | None]) -> None:
        identifier, payload = verdict
        try:
            self._queue.accept(identifier, payload)
        except OSError:
            self._direction.unsendable += 1

    def _send_copy(self, packet: bytes) -> None:
        try:
            self._raw.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        except OSError:
            self._direction.unsendable += 1

    def _on_oversized(self, length: int) -> None:
        self._direction.oversized += 1
        self._loop.warn(
            f"{self._interface}: a packet of {length} bytes is longer than the MTU: bursts arrive merged "
            f"and are treated as one packet; run `ethtool -K {self._interface} gro off`"
        )

    def _look(self, _: object = None) -> None:
        # The queue's socket does not say when an interface goes; a look a second does.
        if self._interface not in {name for _, name in socket.if_nameindex()}:
            self._loop.warn(f"interface {self._interface} is gone; the shaper ends")
            self._loop.stop()
            return
        self._look_at = time.monotonic_ns() + _LOOK_NS
        self._loop.hold(self._look_at, 0, self._look, None)


@dataclass(slots=True)
class _Held:
    """A packet that the kernel holds for us."""

    identifier: int
    payload: bytes
    #: Bytes of its frame; the payload may be no more than its headers.
    size: int
    #: Copies of it that have not come out of the model yet.
    waiting: int = 1
    #: Whether its fate has been decided, so that further copies are packets of their own.
    settled: bool = False


def _changed(packet: bytes, delivery: Delivery) -> bytes | None:
    """Return the IP packet as it arrives; None: as it is."""
    if delivery.corrupt_bit is None and not delivery.marked:
        return None
    frame = _STAND_IN_HEADER + packet
    if delivery.marked:
        frame = mark_frame(frame)
    if delivery.corrupt_bit is not None:
        frame = flip_bit(frame, delivery.corrupt_bit)
    return frame[ETHERNET_BYTES:]
