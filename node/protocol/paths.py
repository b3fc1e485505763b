"""The paths of a connection: who moved where, and what has to be proven (RFC 9000 §9, SPEC 13).

    active ──newest packet came from another address──► the other becomes active, unproven: 3x and challenges
      ▲                                                     │ PATH_RESPONSE          │ none in time
      │                                                     ▼                        ▼
      └───── newest packet came from here again ──── active, proven            back to the last that was

The packet with the highest number says where the peer is. Who copies packets and sends them on from
elsewhere (RFC 9000 §9.3.2) moves us for as long as it takes the peer's next packet to come: the path that was
left stays as it was, with its window and round-trip time, until the new one is proven.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from node.protocol.configuration import MIN_DATAGRAM_SIZE
from node.protocol.connection_ids import IssuedIds, PeerId, PeerIds
from node.protocol.connection_table import ConnectionTable
from node.protocol.datagrams import SocketAddress, Transmit
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import PathChanged, PathFailed
from node.protocol.path import Path
from node.protocol.pmtu import PathMtu
from node.protocol.recovery.estimates import fresh_estimates
from node.protocol.recovery.rtt import INITIAL_RTT
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.timers import earliest
from node.protocol.wire.frames import (
    CHALLENGE_BYTES,
    NewConnectionId,
    PathChallenge,
    PathResponse,
    Ping,
)

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: SPEC 13.2-5, RFC 9000 §8.2.4: three times the PTO, that of a path of which nothing is known at the least.
VALIDATION_PTOS = 3
MIN_PATIENCE: Duration = 3 * 3 * INITIAL_RTT
#: SPEC 13.3-2: we know that we moved, so nothing is to be feared but an outage.
OWN_MOVE_PATIENCE: Duration = 30 * SECOND
#: Addresses kept beside the active one: the peer's last, and what it may be looking at.
MAX_OTHERS = 4
#: Probes of the MTU count as lost after so many probe time-outs, if nothing tells before.
PROBE_PTOS = 2
#: Challenges of the peer's to answer; of more the oldest are dropped. Each answer is a packet of 1200 bytes.
MAX_ANSWERS = 8


class Paths:
    """Knows where the peer is, and finds out when that changes.

    Args:
        remote: where the handshake takes place.
        table: finds this connection by the IDs that it issues.
    """

    peer_ids: PeerIds

    def __init__(self, connection: Connection, remote: SocketAddress, table: ConnectionTable) -> None:
        self._connection = connection
        self._table = table
        first = connection.connection_id
        self.issued = IssuedIds(first, lambda: table.issue(connection))
        #: Where packets go.
        self._ceiling = MIN_DATAGRAM_SIZE
        self.active = Path(remote, PeerId(0, b""), first, self._new_mtu(), validated=True)
        #: Where the burst at hand came from.
        self.source = remote
        #: Whether ``next_packet`` may have one.
        self.waiting = False
        #: Whether the peer is to be given its first IDs, with the next packet that goes anyway: one of their
        #: own would acknowledge the peer's first packet ahead of its flight, and cost BBR a round trip.
        self.ids_due = False
        #: When to look at challenges again.
        self.deadline: Instant | None = None
        #: When the newest lost packet went out that was larger than the base; None: none was lost.
        self.large_lost: Instant | None = None
        #: Paths that the connection has changed to and that proved to work.
        self.changes = 0
        self._previous: Path | None = None
        self._others: dict[SocketAddress, Path] = {}
        self._answers: deque[tuple[SocketAddress, bytes]] = deque(maxlen=MAX_ANSWERS)
        self._numbers = 0

    def start(self, peer_connection_id: bytes, reset_token: bytes, *, ceiling: int) -> None:
        """Take the connection ID of the peer's handshake, and its token if it came with one.

        Args:
            ceiling: the largest datagram that both ends accept.
        """
        self._ceiling = ceiling
        self.active.mtu = self._new_mtu()
        self.waiting = True
        self.peer_ids = PeerIds(peer_connection_id, reset_token)
        self.active.peer_id = self.peer_ids.active[0]
        if reset_token:
            self._table.resets.remember(self._connection, peer_connection_id, reset_token)

    def issue_ids(self) -> None:
        """Give the peer as many IDs as it keeps (SPEC 13.1-1)."""
        c = self._connection
        assert c.parameters is not None
        self.ids_due = False
        c.builder.control += self.issued.issue(c.parameters.active_connection_id_limit)

    # -- what the world did

    def on_burst(
        self, source: SocketAddress, our_id: bytes, *, size: int, newest: bool, now: Instant
    ) -> None:
        """Valid packets came from an address that is not active, or not validated.

        Args:
            our_id: what they carry.
            size: their bytes.
            newest: whether one of them, not only probing, has the highest number so far.
        """
        path = self._at(source)
        if path is None:
            if not newest and all(asker != source for asker, _ in self._answers):
                return  # a late packet from where the peer was
            path = self._new(source, our_id)
        path.received += size
        if newest and path is not self.active:
            self._follow(path, our_id, now)

    def on_challenge(self, data: bytes) -> None:
        """The peer asks whether packets over the path of this burst arrive (SPEC 13.2-2)."""
        self._answers.append((self.source, data))
        self.waiting = True

    def on_response(self, data: bytes, *, now: Instant) -> None:
        """The peer answers a challenge, over whatever path."""
        for path in self._validating():
            if path.is_answered_by(data):
                self._on_validated(path, now)
                return

    def on_new_id(self, frame: NewConnectionId) -> None:
        """The peer issues a connection ID (RemoteProtocolError: not as it may)."""
        known = dict(self.peer_ids.active)
        self._connection.builder.control += self.peer_ids.take(frame)
        # SPEC 4.3-5: a token counts as long as its ID does.
        resets, active = self._table.resets, self.peer_ids.active
        if frame.sequence in active and frame.sequence not in known:
            resets.remember(self._connection, frame.connection_id, frame.reset_token)
        for sequence, peer_id in known.items():
            if sequence not in active:
                resets.forget_id(self._connection, peer_id.value)
        for path in (self.active, *self._others.values()):
            if path.peer_id.sequence not in self.peer_ids.active:
                path.peer_id = self.peer_ids.take_unused() or path.peer_id
        self._connection.builder.set_destination(self.active.peer_id.value)

    def on_retired_id(self, sequence: int) -> None:
        """The peer will use one of our IDs no more (RemoteProtocolError: we never issued it)."""
        value = self.issued.retire(sequence)
        if value is not None:
            self._table.drop(value)
            self.issue_ids()

    def on_ack(self, ranges: tuple[tuple[int, int], ...], *, now: Instant) -> None:
        """Look for a probe of the path's MTU among what was acknowledged; only while one is out."""
        mtu = self.active.mtu
        if mtu.on_ack(ranges, now=now):
            self._connection.builder.resize(mtu.current)
        if mtu.probe_number is None:
            self.waiting = True
            self._set_deadline()

    def on_acked(self, size: int) -> None:
        """Packets of ``size`` bytes arrived over the path in use, which was in doubt."""
        mtu = self.active.mtu
        mtu.on_acked(size)
        if mtu.probe_size is not None:
            self.waiting = True

    def after_losses(self, *, now: Instant) -> None:
        """Large packets were lost on the path in use; the newest of them went out at ``large_lost``."""
        mtu, sent, self.large_lost = self.active.mtu, self.large_lost, None
        assert sent is not None
        if mtu.on_large_lost(time_sent=sent, now=now):
            self._connection.builder.resize(mtu.current)

    def on_probe_timeout(self, count: int) -> None:
        """Nothing was acknowledged for ``count`` probe time-outs in a row."""
        mtu = self.active.mtu
        if mtu.on_probe_timeouts(count):
            self._connection.builder.resize(mtu.current)
            self._set_deadline()

    def handle_timeout(self, *, now: Instant) -> None:
        """Send the challenges that are due, give up what was not answered in time."""
        if self.deadline is None or now < self.deadline:
            return
        self.waiting = True
        mtu = self.active.mtu
        if mtu.deadline is not None and mtu.deadline <= now:
            mtu.handle_timeout(now=now)
        for path in list(self._validating()):
            if path.gives_up is not None and path.gives_up <= now:
                self._on_failed(path, now)
        self._set_deadline()

    # -- what the caller wants

    def migrate(self, *, now: Instant) -> None:
        """Go on from another local address, to which the driver has changed (SPEC 13.3-1).

        Raises:
            LocalProtocolError: the peer has given no connection ID for another path.
        """
        peer_id = self.peer_ids.take_unused()
        if peer_id is None:
            raise LocalProtocolError(
                "the peer has given no connection ID for another path yet; try again later"
            )
        old = self.active
        path = Path(old.remote, peer_id, old.our_id, self._new_mtu(), validated=old.validated)
        path.received, path.sent = old.received, old.sent
        path.is_own_move = True
        self._leave_for(path, fresh=True, now=now)
        old.end_validation()
        path.replaces = old.peer_id
        path.begin_validation(interval=self._interval(), patience=OWN_MOVE_PATIENCE, now=now)
        self._look_now(now)

    # -- what to do now

    def next_packet(self, *, now: Instant) -> Transmit | None:
        """Return the next packet that probes or answers, or None."""
        while self._answers:
            remote, data = self._answers.popleft()
            path = self._at(remote)
            found = None if path is None else self._send(path, PathResponse(data), now)
            if found is not None:
                return found
        for path in self._validating():
            if path.next_challenge is not None and path.next_challenge <= now:
                data = self._table.rng.randbytes(CHALLENGE_BYTES)
                path.on_challenge_sent(data, now=now)
                found = self._send(path, PathChallenge(data), now)
                if found is not None:
                    return found
        found = self._mtu_probe(now)
        if found is None:
            self.waiting = False
        self._set_deadline()
        return found

    def _mtu_probe(self, now: Instant) -> Transmit | None:
        """SPEC 13.4-1: one at a time, and none before the address is proven."""
        c, path = self._connection, self.active
        size = path.mtu.probe_size
        if size is None or not path.validated:
            return None
        path.mtu.on_probe_sent(
            c.recovery.next_packet_number, now=now, patience=PROBE_PTOS * c.recovery.probe_timeout
        )
        return c.builder.apart(Ping(), path, size=size, now=now)

    @property
    def blocked(self) -> bool:
        """Whether no full packet may go until the peer has proven its address (SPEC 13.2-3)."""
        return not self.active.validated and self.active.room < self._connection.builder.size

    @property
    def known(self) -> int:
        """How many addresses of the peer's are kept."""
        return 1 + len(self._others)

    # -- the steps

    def _follow(self, path: Path, our_id: bytes, now: Instant) -> None:
        """The peer is there now (SPEC 13.2-1)."""
        old = self.active
        if our_id != old.our_id and path.peer_id is old.peer_id:
            # SPEC 13.1-6: it moved on purpose and took another ID of ours: so do we with one of its.
            path.peer_id = self.peer_ids.take_unused() or path.peer_id
        path.our_id = our_id
        interval = self._interval()
        self._leave_for(path, fresh=path.remote[0] != old.remote[0], now=now)
        patience = max(MIN_PATIENCE, VALIDATION_PTOS * interval)
        if not path.validated:
            path.begin_validation(interval=interval, patience=patience, now=now)
        if old.validated:
            # SPEC 13.2-4, RFC 9000 §9.3.3: who is still there answers: somebody else only forwards.
            old.begin_validation(interval=patience, patience=patience, now=now)
        self._look_now(now)

    def _leave_for(self, path: Path, *, fresh: bool, now: Instant) -> None:
        """Make a path the active one.

        Args:
            fresh: whether nothing of what is known of the old one holds for it (SPEC 13.2-6).
        """
        c, recovery, old = self._connection, self._connection.recovery, self.active
        self._others.pop(path.remote, None)
        if path is self._previous:
            self._previous = None
        if not path.is_own_move:
            self._others[old.remote] = old
            if old.validated:
                self._previous = old
        if path.estimates is not None:
            estimates, path.estimates = path.estimates, None
            old.estimates = recovery.change_path(path.number, estimates)
        elif fresh:
            self._numbers += 1
            path.number = self._numbers
            estimates = fresh_estimates(c.configuration.congestion, path.mtu.current, c.connection_id)
            old.estimates = recovery.change_path(path.number, estimates)
        else:
            path.number = old.number
        self.active = path
        c.builder.set_destination(path.peer_id.value)
        c.builder.resize(path.mtu.current)
        if c.observer is not None:
            c.observer.took_to(path, old, now)

    def _on_validated(self, path: Path, now: Instant) -> None:
        """The peer has proven its address (SPEC 13.2-5)."""
        path.end_validation()
        path.validated = True
        if self._connection.observer is not None:
            self._connection.observer.path(path, "validated", now)
        if path is not self.active:
            return
        self.changes += 1
        self.waiting = True  # larger datagrams may be tried now
        self._connection.events.append(PathChanged(path.remote))
        if path.replaces is not None:
            self._retire(path.replaces)
        for other in list(self._others.values()):
            self._forget(other)
        self._previous = None
        self._set_deadline()

    def _on_failed(self, path: Path, now: Instant) -> None:
        """No answer came in time."""
        heard = self._connection.acks.newest_at
        if path.is_own_move and path is self.active and heard + OWN_MOVE_PATIENCE > now:
            # SPEC 13.3-2: it works; only challenges or their answers have been lost.
            path.begin_validation(
                interval=self._interval(), patience=heard + OWN_MOVE_PATIENCE - now, now=now
            )
            return
        path.end_validation()
        if self._connection.observer is not None:
            self._connection.observer.path(path, "failed", now)
        if path.is_own_move and path is self.active:
            self._connection.life.give_up(
                ErrorCode.NO_VIABLE_PATH, "the peer does not answer on the new path"
            )
        elif path is not self.active:
            if path is not self._previous:
                self._forget(path)
        elif not path.validated:
            assert self._previous is not None
            self._connection.events.append(PathFailed(path.remote))
            self._leave_for(self._previous, fresh=False, now=now)
            self._forget(path)

    # -- helpers

    def _at(self, remote: SocketAddress) -> Path | None:
        return self.active if remote == self.active.remote else self._others.get(remote)

    def _new(self, remote: SocketAddress, our_id: bytes) -> Path:
        """Note an address that the peer was seen at; of too many the oldest is forgotten."""
        if len(self._others) >= MAX_OTHERS:
            self._forget(next(path for path in self._others.values() if path is not self._previous))
        peer_id = self.active.peer_id
        if our_id != self.active.our_id:
            peer_id = self.peer_ids.take_unused() or peer_id
        mtu = self.active.mtu if remote[0] == self.active.remote[0] else self._new_mtu()
        path = self._others[remote] = Path(remote, peer_id, our_id, mtu, validated=False)
        return path

    def _new_mtu(self) -> PathMtu:
        initial = self._connection.configuration.initial_datagram_size
        return PathMtu(initial=initial, ceiling=self._ceiling)

    def _forget(self, path: Path) -> None:
        self._others.pop(path.remote, None)
        self._retire(path.peer_id)

    def _retire(self, peer_id: PeerId) -> None:
        """Give an ID of the peer's back, if no path uses it any more (SPEC 13.1-6)."""
        in_use = any(path.peer_id == peer_id for path in (self.active, *self._others.values()))
        if not in_use and peer_id.sequence in self.peer_ids.active:
            self._connection.builder.control.append(self.peer_ids.retire(peer_id.sequence))
            self._table.resets.forget_id(self._connection, peer_id.value)

    def _validating(self) -> Iterator[Path]:
        return (path for path in (self.active, *self._others.values()) if path.gives_up is not None)

    def _interval(self) -> Duration:
        return self._connection.recovery.probe_timeout

    def _look_now(self, now: Instant) -> None:
        self.waiting = True
        self.deadline = now

    def _set_deadline(self) -> None:
        validating = (at for path in self._validating() for at in path.deadlines)
        self.deadline = earliest(self.active.mtu.deadline, *validating)

    def _send(self, path: Path, frame: PathChallenge | PathResponse, now: Instant) -> Transmit | None:
        """Return a packet with a frame alone, padded as far as is allowed (SPEC 13.2-2)."""
        size = MIN_DATAGRAM_SIZE if path.validated else min(MIN_DATAGRAM_SIZE, path.room)
        found = self._connection.builder.apart(frame, path, size=size, now=now)
        if found is not None and not path.validated:
            path.sent += len(found.buffer)
        return found
