"""Connection IDs of both ends (RFC 9000 §5.1, SPEC 13.1): several for one connection.

The IDs that we issue are what the peer writes on its packets to us; those that the peer issues are what we
write on ours. A new path takes a new ID, so that who watches two paths cannot tell that they are one
connection. ID number 0 of each end comes with the handshake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.ranges import RangeSet
from node.protocol.wire.frames import NewConnectionId, RetireConnectionId
from node.protocol.wire.parameters import CONNECTION_ID_LIMIT

#: RETIRE_CONNECTION_ID frames that may be on their way. RFC 9000 §5.1.2 asks for room for twice the limit;
#: a peer that makes us retire more and acknowledges none only fills our memory.
MAX_RETIRING = 4 * CONNECTION_ID_LIMIT


@dataclass(frozen=True, slots=True)
class PeerId:
    """An ID that the peer issued."""

    sequence: int
    value: bytes
    #: Proves that the peer knows the connection no more; empty: the handshake gave none (SPEC 4.3-2).
    reset_token: bytes = b""


class IssuedIds:
    """The IDs by which the peer may address us.

    Args:
        first: the handshake's.
        make: returns a new ID that finds this connection from now on, and its stateless reset token.
    """

    def __init__(self, first: bytes, make: Callable[[], tuple[bytes, bytes]]) -> None:
        self._make = make
        self._active: dict[int, NewConnectionId] = {0: NewConnectionId(0, 0, first, bytes(16))}
        self._next = 1

    def issue(self, limit: int) -> list[NewConnectionId]:
        """Return what to tell a peer that keeps at most ``limit`` IDs, so that it has that many."""
        made = []
        while len(self._active) < min(limit, CONNECTION_ID_LIMIT):
            value, token = self._make()
            made.append(NewConnectionId(self._next, 0, value, token))
            self._active[self._next] = made[-1]
            self._next += 1
        return made

    def retire(self, sequence: int) -> bytes | None:
        """Return the ID that the peer will use no more; None: it said so before.

        Raises:
            RemoteProtocolError: it was never issued (SPEC 13.1-4).
        """
        if sequence >= self._next:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, "retires a connection ID that was not issued"
            )
        found = self._active.pop(sequence, None)
        return None if found is None else found.connection_id

    def is_active(self, sequence: int) -> bool:
        """Whether the peer may still use an ID; if not, telling it again is vain."""
        return sequence in self._active

    @property
    def values(self) -> list[bytes]:
        """All IDs that find this connection."""
        return [frame.connection_id for frame in self._active.values()]


class PeerIds:
    """The IDs by which we may address the peer.

    Args:
        first, reset_token: the handshake's; in use from the start.
    """

    def __init__(self, first: bytes, reset_token: bytes = b"") -> None:
        #: What was issued and not retired, in use or not, by sequence number.
        self.active: dict[int, PeerId] = {0: PeerId(0, first, reset_token)}
        #: Sequence numbers taken so far; all below the last retire_prior_to count as taken.
        self._seen = RangeSet([(0, 1)])
        self._floor = 0
        self._unused: dict[int, PeerId] = {}
        self._retiring: set[int] = set()

    def take(self, frame: NewConnectionId) -> list[RetireConnectionId]:
        """Take an ID that the peer issues; return what it makes us retire.

        Raises:
            RemoteProtocolError: it contradicts itself or gives too many (SPEC 13.1-2, 13.1-3).
        """
        if frame.retire_prior_to > frame.sequence:
            raise RemoteProtocolError(
                ErrorCode.FRAME_ENCODING, "NEW_CONNECTION_ID retires the ID that it issues"
            )
        if frame.sequence < self._floor:  # it was overtaken by one that retires it
            return [self.retire(frame.sequence)]
        issued = PeerId(frame.sequence, frame.connection_id, frame.reset_token)
        known = self.active.get(frame.sequence)
        if known is not None and known != issued:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, "two connection IDs of one sequence number"
            )
        if any(other.value == frame.connection_id for other in self.active.values() if other != known):
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "one connection ID issued twice")
        if frame.sequence not in self._seen:
            self._seen.add(frame.sequence, frame.sequence + 1)
            self.active[frame.sequence] = self._unused[frame.sequence] = issued
        retired: list[RetireConnectionId] = []
        if frame.retire_prior_to > self._floor:
            self._floor = frame.retire_prior_to
            self._seen.add(0, self._floor)
            retired = [self.retire(old) for old in sorted(self.active) if old < self._floor]
        if len(self.active) > CONNECTION_ID_LIMIT:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, "more connection IDs than active_connection_id_limit"
            )
        return retired

    def take_unused(self) -> PeerId | None:
        """Return an ID that no path has used, for a new path; None: the peer has given none."""
        if not self._unused:
            return None
        return self._unused.pop(min(self._unused))

    def retire(self, sequence: int) -> RetireConnectionId:
        """Use an ID no more, and return what tells the peer.

        Raises:
            RemoteProtocolError: the peer makes us retire IDs and takes no note of it (SPEC 13.1-5).
        """
        self.active.pop(sequence, None)
        self._unused.pop(sequence, None)
        self._retiring.add(sequence)
        if len(self._retiring) > MAX_RETIRING:
            raise RemoteProtocolError(
                ErrorCode.PROTOCOL_VIOLATION, "makes us retire connection IDs faster than it acknowledges it"
            )
        return RetireConnectionId(sequence)

    def on_retire_acked(self, sequence: int) -> None:
        """The peer knows that an ID was retired."""
        self._retiring.discard(sequence)
