"""Credit: how much the peer may send us, and we it (RFC 9000 §4)."""

from __future__ import annotations


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
