"""Netlink messages of nfnetlink_queue: a queue of packets that wait for our verdict in the kernel."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from node.shaper.configuration import ShaperError

# linux/netfilter/nfnetlink_queue.h
_NETLINK_NETFILTER = 12
_SUBSYSTEM = 3 << 8
_MSG_PACKET, _MSG_VERDICT, _MSG_CONFIG = 0, 1, 2
_CONFIG_COMMAND, _CONFIG_PARAMETERS, _CONFIG_LENGTH = 1, 2, 3
_COMMAND_BIND = 1
_COPY_PACKET = 2
_ATTRIBUTE_HEADER, _ATTRIBUTE_VERDICT = 1, 2
_ATTRIBUTE_PAYLOAD, _ATTRIBUTE_LENGTH = 10, 13
_VERDICT_DROP, _VERDICT_ACCEPT = 0, 1

_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 16 * 1024 * 1024
#: Packets that the kernel holds for us: two seconds of 500,000 a second.
_QUEUE_LENGTH = 1_000_000
#: Only the IP header comes up, the rest of a packet stays in the kernel.
HEADER_RANGE = 20
WHOLE_RANGE = 0xFFFF

_MESSAGE = struct.Struct("=IHHII")
_GENERAL = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_VERDICT = struct.Struct(">II")


@dataclass(slots=True)
class QueuedPacket:
    """A packet that waits for a verdict."""

    identifier: int
    #: Bytes of the IP packet.
    length: int
    #: As many of its first bytes as the copy range says.
    payload: bytes


class NetfilterQueue:
    """One queue of this network namespace.

    Args:
        number: which; nobody else may have bound it.

    Raises:
        ShaperError: the kernel lacks it, or it is taken.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        except OSError as error:
            raise ShaperError(f"the kernel has no netfilter netlink: {error.strerror}") from error
        self._socket.bind((0, 0))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
            self._configure(_CONFIG_COMMAND, struct.pack(">BBH", _COMMAND_BIND, 0, socket.AF_INET))
            self._configure(_CONFIG_LENGTH, struct.pack(">I", _QUEUE_LENGTH))
            self.copy(HEADER_RANGE)
        except OSError as error:
            self._socket.close()
            raise ShaperError(
                f"netfilter queue {number}: {error.strerror}; it needs CAP_NET_ADMIN, the kernel's "
                "nfnetlink_queue, and a number that no other program uses"
            ) from error
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the file descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the queue back; what waits in it is dropped."""
        self._socket.close()

    def copy(self, packet_range: int) -> None:
        """Let the first ``packet_range`` bytes of each packet come up from now on."""
        self._configure(_CONFIG_PARAMETERS, struct.pack(">IB", packet_range, _COPY_PACKET))

    def packets(self) -> Iterator[QueuedPacket]:
        """Yield what one read brings; nothing if nothing is there."""
        try:
            data = self._socket.recv(1 << 17)
        except BlockingIOError:
            return
        offset = 0
        while offset + _MESSAGE.size <= len(data):
            length, kind, *_ = _MESSAGE.unpack_from(data, offset)
            if kind == _SUBSYSTEM | _MSG_PACKET:
                packet = _packet(data, offset + _MESSAGE.size + _GENERAL.size, offset + length)
                if packet is not None:
                    yield packet
            if length < _MESSAGE.size:
                return
            offset += length + 3 & ~3

    def accept(self, identifier: int, payload: bytes | None = None) -> None:
        """Let a packet go on, with other bytes if ``payload`` is given."""
        self._verdict(identifier, _VERDICT_ACCEPT, payload)

    def drop(self, identifier: int) -> None:
        """Drop a packet."""
        self._verdict(identifier, _VERDICT_DROP, None)

    def _verdict(self, identifier: int, verdict: int, payload: bytes | None) -> None:
        body = _ATTRIBUTE.pack(4 + _VERDICT.size, _ATTRIBUTE_VERDICT) + _VERDICT.pack(verdict, identifier)
        if payload is not None:
            body += _ATTRIBUTE.pack(4 + len(payload), _ATTRIBUTE_PAYLOAD) + payload
            body += bytes(-len(payload) % 4)
        self._send(_MSG_VERDICT, body, _NLM_F_REQUEST)

    def _configure(self, attribute: int, value: bytes) -> None:
        body = _ATTRIBUTE.pack(4 + len(value), attribute) + value + bytes(-len(value) % 4)
        self._socket.setblocking(True)
        try:
            self._send(_MSG_CONFIG, body, _NLM_F_REQUEST | _NLM_F_ACK)
            self._await_acknowledgement()
        finally:
            self._socket.setblocking(False)

    def _await_acknowledgement(self) -> None:
        # Packets may come before the answer when the copy range changes under way; these few pass unshaped.
        while True:
            data = self._socket.recv(1 << 17)
            _, kind, *_ = _MESSAGE.unpack_from(data)
            if kind == 2:  # NLMSG_ERROR; 0 is the acknowledgement
                (error,) = struct.unpack_from("=i", data, _MESSAGE.size)
                if error:
                    raise OSError(-error, os.strerror(-error))
                return
            packet = _packet(data, _MESSAGE.size + _GENERAL.size, len(data))
            if packet is not None:
                self.accept(packet.identifier)

    def _send(self, message: int, body: bytes, flags: int) -> None:
        general = _GENERAL.pack(0, 0, self._number)
        length = _MESSAGE.size + len(general) + len(body)
        self._socket.send(_MESSAGE.pack(length, _SUBSYSTEM | message, flags, 0, 0) + general + body)


def _packet(data: bytes, start: int, end: int) -> QueuedPacket | None:
    identifier: int | None = None
    length: int | None = None
    payload = b""
    while start + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, start)
        if size < 4:
            break
        if kind == _ATTRIBUTE_HEADER:
            (identifier,) = struct.unpack_from(">I", data, start + 4)
        elif kind == _ATTRIBUTE_PAYLOAD:
            payload = data[start + 4 : start + size]
        elif kind == _ATTRIBUTE_LENGTH:
            (length,) = struct.unpack_from(">I", data, start + 4)
        start += size + 3 & ~3
    if identifier is None:
        return None
    # The length is told only where the copy is shorter than the packet.
    return QueuedPacket(identifier, len(payload) if length is None else length, payload)
