"""Sends a train of frames faster than a process can call send(): from a ring that it shares with the kernel.

From Python a frame takes some 8 µs by send(), and 12 µs of a link of 1 Gbit/s: too close for a train that has
to be half as fast again, on a host that does other things too. From the ring it takes 2 µs: one call sends as
many as are marked.
"""

from __future__ import annotations

import errno
import mmap
import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from node.measuring.buffers import enlarge_send_buffer

# linux/if_packet.h
_SOL_PACKET, _PACKET_VERSION, _PACKET_TX_RING, _TPACKET_V2 = 263, 10, 13, 1
_REQUEST = struct.Struct("=IIII")
#: tp_status and tp_len, with which struct tpacket2_hdr begins; of a frame that is to be sent the first is 1.
_HEADER = struct.Struct("=II")
_SEND_REQUEST = 1
#: TPACKET2_HDRLEN less the address that no sender has: where a frame's bytes begin in its slot.
_DATA_AT = 32
#: Of memory that the kernel has to find in one piece.
_BLOCK_BYTES = 1 << 16
#: All of a train, as the kernel counts it.
_SEND_BUFFER = 32 << 20


class Train:
    """The frames of a train, ready to go; each slot of the ring is used once, as its bytes are not copied.

    Enter it to send; ``release`` the socket when no frame is under way any more.

    Args:
        opened: an AF_PACKET socket of the sender's namespace that nothing else is done with.
        plain: sends a single frame, for kernels without rings.
        interface: where the frames leave.
        frames: all of one length.

    Raises:
        OSError: the interface is not there.
    """

    def __init__(
        self,
        opened: socket.socket,
        plain: Callable[[bytes], None],
        interface: str,
        frames: Sequence[bytes],
    ) -> None:
        self._socket, self._plain = opened, plain
        self._frames = frames
        self._slot = 1 << (_DATA_AT + len(frames[0]) - 1).bit_length()
        opened.bind((interface, 0))
        opened.setblocking(False)
        # Frames count as the sender's as long as they wait on the link, and each as a whole page.
        enlarge_send_buffer(opened, _SEND_BUFFER)
        # A slot longer than a block would need more memory in one piece than there may be.
        self._ring = self._map() if self._slot <= _BLOCK_BYTES else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ring is not None:
            self._ring.close()

    def send(self, first: int, count: int) -> None:
        """Send ``count`` frames, from ``first`` on.

        Raises:
            OSError: they cannot be sent.
        """
        if self._ring is None:
            for frame in self._frames[first : first + count]:
                self._plain(frame)
            return
        for number in range(first, first + count):
            _HEADER.pack_into(self._ring, number * self._slot, _SEND_REQUEST, len(self._frames[number]))
        _send_marked(self._socket)

    def _map(self) -> mmap.mmap | None:
        """Return the ring with the frames in it, none marked yet; None: this kernel has none."""
        blocks = -(-len(self._frames) * self._slot // _BLOCK_BYTES)
        slots = blocks * _BLOCK_BYTES // self._slot
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            request = _REQUEST.pack(_BLOCK_BYTES, blocks, self._slot, slots)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_TX_RING, request)
            ring = mmap.mmap(self._socket.fileno(), blocks * _BLOCK_BYTES)
        except OSError:
            return None
        for number, frame in enumerate(self._frames):
            begin = number * self._slot + _DATA_AT
            ring[begin : begin + len(frame)] = frame
        return ring


def release(opened: socket.socket) -> None:
    """Give the memory of a train's ring back; where frames are still under way, closing the socket does."""
    try:
        opened.setsockopt(_SOL_PACKET, _PACKET_TX_RING, _REQUEST.pack(0, 0, 0, 0))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def _send_marked(opened: socket.socket) -> None:
    while True:
        try:
            opened.send(b"")
        except OSError as error:
            # The sender's own queue is full: wait for it, as any sender would, and go on with the rest.
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                raise
            with selectors.DefaultSelector() as selector:
                selector.register(opened, selectors.EVENT_WRITE)
                selector.select()
        else:
            return
