"""The life of a connection: its state, the timers that end it, and CLOSE (SPEC 9)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode
from node.protocol.events import ConnectionClosed, Event
from node.protocol.states import ACTIVE, OVER, TRANSITIONS, ConnectionState
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.timers import Timer, TimerTable

if TYPE_CHECKING:
    from node.protocol.observer import Observer

#: How long a responder that never drops idle connections waits for one to be confirmed.
HALF_OPEN_PATIENCE: Duration = 60 * SECOND
#: The state of a closed connection is kept for this many probe time-outs (SPEC 9-1).
CLOSING_PROBE_TIMEOUTS = 3


class Life:
    """Where a connection is between its first packet and its last.

    Args:
        events: where the connection's last event goes.
    """

    def __init__(
        self, *, initiator: bool, configuration: Configuration, events: deque[Event], now: Instant
    ) -> None:
        self.state = ConnectionState.INITIATING if initiator else ConnectionState.RESPONDING
        self.timers = TimerTable()
        #: Code and reason of our CLOSE, and whether one is to be sent now.
        self.close_reply: tuple[int, str] = (0, "")
        self.close_pending = False
        #: Whether the application knows of the connection: of one that a peer began, when it is confirmed or
        #: early data was taken.
        self.announced = initiator
        #: Who is told; None: nobody.
        self.observer: Observer | None = None
        self._initiator = initiator
        self._events = events
        self._after_close = 0
        self._idle_timeout: Duration = configuration.idle_timeout
        self._keep_alive: Duration = configuration.keep_alive
        self._eliciting_since_receipt = False
        # A responder waits as long as an idle connection: the initiator may hold it for established.
        patience = configuration.handshake_timeout
        if not initiator:
            patience = max(patience, configuration.idle_timeout or HALF_OPEN_PATIENCE)
        self.timers.set(Timer.HANDSHAKE, now + patience)

    # -- what the world did

    def agree_on_idle_timeout(self, peers: Duration) -> None:
        """The smaller of both sides' rules; 0: that side has none (SPEC 3.2)."""
        self._idle_timeout = min((t for t in (self._idle_timeout, peers) if t), default=0)

    def establish(self, *, now: Instant) -> None:
        """The handshake is done."""
        self._go("response" if self._initiator else "confirmed")
        self.announced = True
        self.timers.clear(Timer.HANDSHAKE)
        self.timers.clear(Timer.INITIATION)
        self._restart_idle(now)

    def on_authentic(self, now: Instant) -> None:
        """A packet of the peer has passed its integrity check."""
        self._eliciting_since_receipt = False
        if self._idle_timeout:  # _restart_idle, without its call: this is asked for every burst
            self.timers.set(Timer.IDLE, now + self._idle_timeout)
        if self._keep_alive:
            self._restart_idle(now)

    def on_eliciting_sent(self, now: Instant) -> None:
        """An ack-eliciting packet goes out."""
        if not self._eliciting_since_receipt:
            self._eliciting_since_receipt = True  # SPEC 9-2: the first since the last receipt
            if self._idle_timeout:
                self.timers.set(Timer.IDLE, now + self._idle_timeout)
            if self._keep_alive:
                self._restart_idle(now)

    def on_packet_while_closing(self) -> None:
        """The peer has not heard of the end: answer with CLOSE again, ever more rarely (SPEC 9-1).

        So two closed ends do not answer each other for ever.
        """
        self._after_close += 1
        if self._after_close & (self._after_close - 1) == 0:
            self.close_pending = True

    def handle_timeout(self, *, now: Instant) -> bool:
        """Do what is due; True: the connection is gone."""
        due = self.timers.due(now)
        if Timer.IDLE in due:
            self.give_up(ErrorCode.IDLE_TIMEOUT, "nothing heard for the idle time-out")
        elif Timer.HANDSHAKE in due:
            self.give_up(ErrorCode.HANDSHAKE_TIMEOUT, "the peer did not answer the handshake")
        elif Timer.CLOSE in due:
            self._go("gone")
            self.timers.clear_all()
        return self.state is ConnectionState.CLOSED

    def needs_sign(self, *, now: Instant) -> bool:
        """Whether a sign of life is due (SPEC 9-4); the next one is a whole interval later."""
        if not self._keep_alive or Timer.KEEP_ALIVE not in self.timers.due(now):
            return False
        self.timers.set(Timer.KEEP_ALIVE, now + self._keep_alive)
        return True

    # -- the end

    def end(self, code: int, reason: str, *, probe_timeout: Duration, now: Instant) -> None:
        """End the connection from our side.

        Args:
            probe_timeout: without backoff; counts only where there are keys to say CLOSE with.
        """
        had_keys = self.state is ConnectionState.ESTABLISHED
        self._tell(code, reason)
        self._go("close")
        self.timers.clear_all()
        delay = 0
        if had_keys:
            self.close_reply, self.close_pending = (code, reason), True
            delay = CLOSING_PROBE_TIMEOUTS * probe_timeout
        self.timers.set(Timer.CLOSE, now + delay)

    def give_up(self, code: ErrorCode, reason: str) -> None:
        """End the connection without a word on the wire: nobody would hear it."""
        self._tell(code, reason)
        self._go("gone")
        self.timers.clear_all()

    def peer_closed(self, code: int, reason: str, *, probe_timeout: Duration, now: Instant) -> None:
        """The peer sent CLOSE."""
        if self.state in ACTIVE:
            self._tell(code, reason, remote=True)
        self._go("peer closed")
        self.timers.clear_all()
        self.timers.set(Timer.CLOSE, now + CLOSING_PROBE_TIMEOUTS * probe_timeout)

    def abandon(self, reason: str) -> None:
        """End the connection without a word to the peer."""
        self._tell(ErrorCode.INTERNAL, reason)
        if self.state is not ConnectionState.CLOSED:
            self._go("gone")
        self.timers.clear_all()

    # -- helpers

    def _tell(self, code: int, reason: str, *, remote: bool = False) -> None:
        if self.observer is not None and self.state not in OVER:
            self.observer.closed(int(code), reason, remote=remote)
        if self.state not in OVER and self.announced:
            self._events.append(ConnectionClosed(int(code), reason, remote))

    def _restart_idle(self, now: Instant) -> None:
        if self._idle_timeout:
            self.timers.set(Timer.IDLE, now + self._idle_timeout)
        # Early data goes before there is a connection to keep alive: nobody would act on the timer then.
        if self._keep_alive and self.state is ConnectionState.ESTABLISHED:
            self.timers.set(Timer.KEEP_ALIVE, now + self._keep_alive)

    def _go(self, event: str) -> None:
        before, self.state = self.state, TRANSITIONS[self.state, event]
        if self.observer is not None and before is not self.state:
            self.observer.state_changed(before, self.state)
