"""The one buffer in which an endpoint builds the packets it sends, or a driver receives them.

Bursts are built and opened in place: a slot is the room of one packet with all the views of it that sealing
needs, made once for each packet size and used again for every burst.
"""

from __future__ import annotations

from node.protocol.datagrams import MAX_BURST_BYTES, MAX_SEGMENTS

#: Header bytes of a DATA packet (SPEC 4).
HEADER_BYTES = 13
#: What a bulk packet's payload starts with: a STREAM frame's type, id (4 bytes) and offset (8).
BULK_FRAME_BYTES = 13
#: Slots are kept for this many packet sizes; more sizes than that, and they are made anew.
MAX_CACHED_SIZES = 16
#: ... and so many of lone packets, which are of all sizes.
MAX_CACHED_LONE = 256


class Slot:
    """The room of one packet in the arena, and the views that building and sealing need."""

    __slots__ = ("clear", "data", "header", "packet", "payload", "position", "sealed")

    def __init__(self, arena: memoryview, position: int, size: int, tag_size: int) -> None:
        end = position + size
        #: Offset in the arena.
        self.position = position
        self.packet = arena[position:end]
        self.header = arena[position : position + HEADER_BYTES]
        #: The frames.
        self.payload = arena[position + HEADER_BYTES : end - tag_size]
        #: Header and frames: what a checksum covers.
        self.clear = arena[position : end - tag_size]
        #: Where the protected payload and the tag go.
        self.sealed = arena[position + HEADER_BYTES : end]
        #: In a bulk packet: the stream data.
        self.data = arena[position + HEADER_BYTES + BULK_FRAME_BYTES : end - tag_size]


class Arena:
    """One burst's worth of memory."""

    def __init__(self) -> None:
        self.buffer = bytearray(MAX_BURST_BYTES + 29)
        self.view = memoryview(self.buffer)
        self._slots: dict[tuple[int, int], list[Slot]] = {}
        self._lone: dict[tuple[int, int], Slot] = {}

    def slots(self, size: int, tag_size: int) -> list[Slot]:
        """Return the slots of as many packets of ``size`` bytes as one burst takes."""
        found = self._slots.get((size, tag_size))
        if found is None:
            if len(self._slots) >= MAX_CACHED_SIZES:
                self._slots.clear()
            count = min(MAX_SEGMENTS, MAX_BURST_BYTES // size)
            found = [Slot(self.view, index * size, size, tag_size) for index in range(count)]
            self._slots[size, tag_size] = found
        return found

    def lone(self, size: int, tag_size: int) -> Slot:
        """Return the slot of one packet at the beginning."""
        found = self._lone.get((size, tag_size))
        if found is None:
            if len(self._lone) >= MAX_CACHED_LONE:
                self._lone.clear()
            found = self._lone[size, tag_size] = Slot(self.view, 0, size, tag_size)
        return found

    def slot(self, position: int, size: int, tag_size: int) -> Slot:
        """Return a slot of any size at any place, not kept."""
        return Slot(self.view, position, size, tag_size)
