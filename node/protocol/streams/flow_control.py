"""Credit: how much the peer may send us, and we it (RFC 9000 §4)."""

from __future__ import annotations

from node.protocol.errors import ErrorCode, RemoteProtocolError


class ReceiveWindow:
    """The credit we give, for one stream or the whole connection.

    Args:
        size: bytes that may be on the way beyond what the application has read.
    """

    __slots__ = ("consumed", "maximum", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        #: Bytes the application has read.
        self.consumed = 0
        #: The offset announced to the peer.
        self.maximum = size

    def consume(self, count: int) -> bool:
        """Note that the application read ``count`` bytes; True: it is time to announce anew."""
        self.consumed += count
        # A quarter of a window: few updates, and a sender that the window limits is left with three
        # quarters of it on the way. At half, what came just before the mark waited a round trip more.
        return self.maximum - self.consumed <= self.size * 3 // 4

    def raise_maximum(self) -> int:
        """Move the maximum on, and return it."""
        self.maximum = max(self.maximum, self.consumed + self.size)
        return self.maximum


class ConnectionCredit:
    """The windows of a whole connection, ours and the peer's, and what of them is used (SPEC 6-2).

    Args:
        size: bytes that the peer may send beyond what the application has read.
    """

    __slots__ = ("_peer_maximum", "_received", "_sent", "window")

    def __init__(self, size: int) -> None:
        self.window = ReceiveWindow(size)
        #: Sum of the highest offsets of all streams: received, and sent.
        self._received = 0
        self._sent = 0
        self._peer_maximum = 0

    @property
    def to_send(self) -> int:
        """New stream bytes that the peer still takes."""
        return self._peer_maximum - self._sent

    @property
    def to_receive(self) -> int:
        """Stream bytes that the peer may still send us."""
        return self.window.maximum - self._received

    def take(self, count: int) -> None:
        """Count new stream bytes of the peer.

        Raises:
            RemoteProtocolError: they are more than it was allowed.
        """
        self._received += count
        if self._received > self.window.maximum:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "data beyond the connection's window")

    def on_sent(self, fresh: int) -> None:
        """Count stream bytes sent for the first time."""
        self._sent += fresh

    def raise_peer_maximum(self, maximum: int) -> None:
        """The peer extends its window (MAX_DATA, transport parameters)."""
        self._peer_maximum = max(self._peer_maximum, maximum)
