"""One path to the peer, and whether it is proven (RFC 9000 §8.2, SPEC 13.2)."""

from __future__ import annotations

from collections import deque

from node.protocol.connection_ids import PeerId
from node.protocol.datagrams import SocketAddress
from node.protocol.pmtu import PathMtu
from node.protocol.recovery.estimates import Estimates
from node.protocol.time import Duration, Instant

#: RFC 9000 §8.1: what may go to an address for each byte that came from it, before it is proven.
AMPLIFICATION = 3
#: Challenges whose answer counts: a slow path may answer an earlier one.
MAX_CHALLENGES = 4


class Path:
    """The way to one address of the peer's.

    Args:
        peer_id: what packets on it carry.
        our_id: what the peer's packets on it carry.
        mtu: what is known of the datagrams that it carries; shared by paths to one address.
        validated: whether the peer has proven that it receives there.
    """

    __slots__ = (
        "_challenges", "_interval", "estimates", "gives_up", "is_own_move", "mtu", "next_challenge", "number",
        "our_id", "peer_id", "received", "remote", "replaces", "sent", "validated",
    )  # fmt: skip

    def __init__(
        self, remote: SocketAddress, peer_id: PeerId, our_id: bytes, mtu: PathMtu, *, validated: bool
    ) -> None:
        self.remote = remote
        self.mtu = mtu
        self.peer_id = peer_id
        self.our_id = our_id
        self.validated = validated
        #: We moved, not the peer: its address is known, what is to be proven is that ours works.
        self.is_own_move = False
        #: The peer's ID to give back when this path is validated.
        self.replaces: PeerId | None = None
        #: Bytes of datagrams since it was first seen; counted until it is validated.
        self.received = 0
        self.sent = 0
        #: What tells the packets of this path from others', and what is known of it while it is not in use.
        self.number = 0
        self.estimates: Estimates | None = None
        #: When to send a challenge; None: none is to be sent any more.
        self.next_challenge: Instant | None = None
        #: When the path counts as failed; None: it is not being validated.
        self.gives_up: Instant | None = None
        self._challenges: deque[bytes] = deque(maxlen=MAX_CHALLENGES)
        self._interval: Duration = 0

    @property
    def room(self) -> int:
        """Bytes that may go there before it is validated (SPEC 13.2-3)."""
        return AMPLIFICATION * self.received - self.sent

    def begin_validation(self, *, interval: Duration, patience: Duration, now: Instant) -> None:
        """Send challenges from now on, again after ``interval``, then ever more rarely, for ``patience``."""
        self._interval = interval
        self.next_challenge = now
        self.gives_up = now + patience

    def on_challenge_sent(self, data: bytes, *, now: Instant) -> None:
        """Note a challenge."""
        self._challenges.append(data)
        self.next_challenge = now + self._interval
        self._interval *= 2

    @property
    def deadlines(self) -> tuple[Instant | None, Instant | None]:
        """When to send the next challenge, and when to give up."""
        return self.next_challenge, self.gives_up

    def is_answered_by(self, data: bytes) -> bool:
        """Whether this is what one of our challenges asked for."""
        return data in self._challenges

    def end_validation(self) -> None:
        """Ask no more, however it ended."""
        self.next_challenge = self.gives_up = None
        self._challenges.clear()
