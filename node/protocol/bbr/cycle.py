"""When to probe for bandwidth, and what the last probe found (draft-ietf-ccwg-bbr §5.3.3.4 to §5.3.3.8)."""

from __future__ import annotations

from random import Random

from node.protocol.bbr.constants import PROBE_WAIT_MIN, PROBE_WAIT_SPREAD, RENO_ROUNDS
from node.protocol.bbr.states import AckPhase
from node.protocol.time import Duration, Instant


class ProbeCycle:
    """BBR.ack_phase, BBR.bw_probe_wait and the memory of the last probe (SPEC 8.1.3-2).

    Args:
        rng: spreads the probes of flows that share a bottleneck.
    """

    def __init__(self, rng: Random) -> None:
        self.ack_phase = AckPhase.INIT
        #: Whether what is acknowledged was sent to probe: only then does loss lower the long-term model.
        self.is_probe_sample = False
        #: Whether the last probe lost too much, and whether it was therefore ended early.
        self.too_high = False
        self.precautionary = False
        #: How long this cycle waits before it probes.
        self.wait: Duration = 0
        self._began: Instant = 0
        self._rng = rng

    def begin(self, now: Instant) -> int:
        """Begin a cycle: draw how long it waits, and return the round trips it has a start of."""
        self.ack_phase = AckPhase.PROBE_STOPPING
        self._began = now
        rounds = self._rng.randrange(2)
        self.wait = PROBE_WAIT_MIN + self._rng.randrange(PROBE_WAIT_SPREAD)
        return rounds

    def is_time_to_probe(self, *, now: Instant, rounds: int, target_packets: int) -> bool:
        """Whether the wait is over: by the clock, or as soon as Reno would have grown by its window.

        Args:
            rounds: round trips since the last probe.
            target_packets: what the sender means to have in flight.
        """
        return now > self._began + self.wait or rounds >= min(target_packets, RENO_ROUNDS)
