"""The first flight: no more than the initial window before anything is acknowledged (SPEC 8.1-1)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule
from orchestrator.probes.wire.windows import initial_window

#: SPEC 8-2: probes go beyond the window.
_PROBES = 2


@RULES.register("first-flight")
class FirstFlight(Rule):
    """S at first. A path that was used before may begin with more (SPEC 8-7)."""

    requirements: ClassVar[tuple[str, ...]] = ("8.1-1", "6.1-1")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._flight = 0
        self._largest = 1200
        self._bursts: dict[int, None] = {}
        self._over = end.connection.is_resumable

    def received(self, packet: Packet, at: int) -> None:
        """The first acknowledgement ends it."""
        self._over = self._over or packet.ack is not None

    def sent(self, packet: Packet) -> None:
        """Add it up."""
        if (
            self._over
            or not packet.eliciting
            or packet.is_early
            or packet.names() <= {"PING", "PATH_CHALLENGE"}
        ):
            return
        self._flight += packet.size
        self._largest = max(self._largest, packet.size)
        self._bursts[packet.at] = None
        window = initial_window(self._largest)
        # A burst on each probe time-out: what goes at more instants than one may be that.
        window += _PROBES * self._largest * len(self._bursts)
        if self._flight > window:
            found = f"{self._flight} bytes before anything was acknowledged"
            self.violation(packet, "8.1-1", found, f"at most {window}: the initial window, and probes")
            self._over = True
