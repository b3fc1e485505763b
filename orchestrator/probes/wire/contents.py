"""The bytes of one direction: repair symbols computed anew, and nothing in clear where nothing may be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from node.dissectors import repair
from node.dissectors.protection import HEADER_BYTES
from node.dissectors.scapy_layer import FecRepair, MalformedError
from orchestrator.probes.wire.ends import Packet
from orchestrator.probes.wire.frames import AnyFrame, StreamFrame
from orchestrator.probes.wire.key_log import Secrets
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects

#: Bytes of stream data that are looked for in what was sent: by chance they are found once in 2^96 places.
_NEEDLE = 12
#: So many different byte values make a needle one: runs of one value are everywhere.
_DISTINCT = 6
#: Needles that are looked for in all datagrams, beside each packet's own in itself.
MAX_NEEDLES = 24
#: A needle is kept of each stream's beginning, and of packets whose numbers are multiples of this.
_NEEDLE_EVERY = 7
#: Ciphertext is judged by its bytes' frequencies from so much on.
_ENOUGH = 16_384
#: χ² of 255 degrees of freedom: mean 255, standard deviation 22.6; beyond 12 of these chance is no reason.
_MOST_CHI_SQUARED = 255 + 12 * 22.6
#: Datagrams that are searched together.
_SEARCHED = 128
#: Clear payloads that are kept for repair: blocks of one direction do not overlap, so the newest do.
_KEPT = 2048


#: What a right repair symbol proves, beside its scheme: how source symbols are made.
PROVEN = ("12.1-4", "12.1-5")


class Contents:
    """Looks at what packets of one direction hold.

    Args:
        secrets: what the key logs tell of the connection.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._is_sealed = secrets.profile.startswith("aead")
        both = secrets.parameters
        # Without parameters in the log: whatever names repair.
        self._keeps = both is None or all(one.get("fec") for one in both)
        self._kept: dict[int, bytes] = {}
        self._counts = np.zeros(256, dtype=np.int64)
        self._last: Datagram | None = None
        self.needles: list[bytes] = []
        #: Found at once, with its datagram: reported when all is there.
        self._found: list[tuple[Datagram, str, str, str]] = []

    def take(self, packet: Packet, clear: bytes, frames: list[AnyFrame]) -> None:
        """Take a packet, its payload in clear, and its frames."""
        datagram = packet.datagram
        if self._is_sealed:
            if packet.segments:
                self._look_for(packet, frames)
            sealed = np.frombuffer(datagram.payload, np.uint8, offset=HEADER_BYTES)
            self._counts += np.bincount(sealed, minlength=256)
            self._last = datagram
        if not self._keeps:
            return
        for frame in packet.control:
            if isinstance(frame, FecRepair):
                self._check_symbol(datagram, frame)
        self._kept[packet.number] = bytes(clear)
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

    def judge(self, suspects: Suspects) -> None:
        """Report what was found."""
        for datagram, rule, found, expected in self._found:
            suspects.misconduct(datagram, rule, found, expected)
        total = int(self._counts.sum())
        if total < _ENOUGH or self._last is None:
            return
        expected_count = total / 256
        chi_squared = float(((self._counts - expected_count) ** 2 / expected_count).sum())
        if chi_squared > _MOST_CHI_SQUARED:
            found = f"sealed bytes with χ² of {chi_squared:.0f} over {total} bytes"
            suspects.misconduct(self._last, "4.1-1", found, f"at most {_MOST_CHI_SQUARED:.0f}, as of chance")

    def _look_for(self, packet: Packet, frames: list[AnyFrame]) -> None:
        datagram, payload = packet.datagram, bytes(packet.datagram.payload)
        keep = len(self.needles) < MAX_NEEDLES and (
            packet.number % _NEEDLE_EVERY == 0 or any(segment.start == 0 for segment in packet.segments)
        )
        for needle in _needles(frames):
            if needle in payload:
                self._found.append((datagram, "4.1-1", "stream data in clear in its own packet", "sealed"))
            elif keep and len(self.needles) < MAX_NEEDLES:
                self.needles.append(needle)

    def _check_symbol(self, datagram: Datagram, frame: FecRepair) -> None:
        try:
            numbers = [n for low, high in frame.intervals() for n in range(low, high + 1)]
        except MalformedError:  # the flow has reported it
            return
        sources = [self._kept.get(number) for number in numbers]
        if any(source is None for source in sources):
            return  # not captured, or too long ago: what was never sent, 12.1-1 tells
        whole = [source for source in sources if source is not None]
        fields = frame.fields
        made = repair.symbol(
            fields["scheme"],
            [
                repair.source_symbol(source, number, checked=not self._is_sealed)
                for source, number in zip(whole, numbers, strict=True)
            ],
            total=fields["total"],
            index=fields["index"],
        )
        if made is None:
            self._found.append((datagram, "12.2", f"FEC scheme {fields['scheme']}", "1 or 2"))
        elif made != fields["symbol"]:
            rule = "12.2-2" if fields["scheme"] == repair.XOR else "12.2-3"
            found = f"repair symbol {fields['index']} of packets {numbers[0]} to {numbers[-1]}"
            self._found.append((datagram, rule, f"a wrong {found}", "what follows from these packets"))


def _needles(frames: list[AnyFrame]) -> Iterator[bytes]:
    for frame in frames:
        if isinstance(frame, StreamFrame):
            needle = frame.data[:_NEEDLE]
            if len(needle) == _NEEDLE and len(set(needle)) >= _DISTINCT:
                yield needle


def search(needles: list[bytes], datagrams: list[Datagram], suspects: Suspects) -> None:
    """Report datagrams that hold stream data of an ``aead`` connection in clear (SPEC 4.1-1).

    Only where two bytes are those that a needle begins with the needles are looked for: one by one, they took
    three times as long.
    """
    begins = np.zeros(1 << 16, dtype=bool)
    begins[[needle[0] << 8 | needle[1] for needle in needles]] = True
    for first in range(0, len(datagrams), _SEARCHED):
        some = datagrams[first : first + _SEARCHED]
        joined = np.frombuffer(b"".join(one.payload for one in some), dtype=np.uint8)
        pairs = joined[:-1].astype(np.uint16)
        pairs <<= 8
        pairs |= joined[1:]
        places = np.flatnonzero(begins[pairs])
        ends = np.cumsum([len(one.payload) for one in some])
        for index in np.unique(np.searchsorted(ends, places, side="right")):
            payload = bytes(some[index].payload)
            if any(needle in payload for needle in needles):
                suspects.misconduct(some[index], "4.1-1", "data of a sealed stream in clear", "sealed")
