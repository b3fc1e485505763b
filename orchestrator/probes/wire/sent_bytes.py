"""Which packets carried which bytes of a stream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Piece:
    """Bytes [start, end), and the packets that carried them and did not yet justify another."""

    start: int
    end: int
    carriers: list[int]


class SentBytes:
    """The bytes of one stream that an end has sent, in pieces that went together."""

    __slots__ = ("_pieces", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Piece] = []

    def send(self, start: int, end: int, number: int) -> Iterator[Piece]:
        """Note that packet ``number`` carries [start, end); yield the pieces of it that went before.

        Each is yielded before ``number`` is among its carriers; they are complete when all were taken.
        """
        pieces, starts = self._pieces, self._starts
        if not pieces or start >= pieces[-1].end:
            if start < end:
                pieces.append(Piece(start, end, [number]))
                starts.append(start)
            return
        self._cut(start)
        self._cut(end)
        at, index = start, max(0, bisect_right(starts, start) - 1)
        while at < end:
            piece = pieces[index] if index < len(pieces) else None
            if piece is not None and piece.end <= at:
                index += 1
            elif piece is None or piece.start > at:
                upto = end if piece is None else min(end, piece.start)
                pieces.insert(index, Piece(at, upto, [number]))
                starts.insert(index, at)
                at, index = upto, index + 1
            else:
                yield piece
                piece.carriers.append(number)
                at, index = piece.end, index + 1

    def _cut(self, at: int) -> None:
        """Make sure that a piece begins at ``at``, if one spans it."""
        index = bisect_right(self._starts, at) - 1
        if index < 0:
            return
        piece = self._pieces[index]
        if piece.start < at < piece.end:
            self._pieces.insert(index + 1, Piece(at, piece.end, list(piece.carriers)))
            self._starts.insert(index + 1, at)
            piece.end = at
