"""Several connections of one flow, one after the other: what became of each, and of all together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from node.protocol.time import Duration
from node.workloads.base import Outcome, quantiles_ms

#: Connections that one flow may make: each is a handshake, so this takes minutes on any path.
MAX_CONNECTIONS_IN_SERIES = 10_000
#: Counters that are added up over the connections; of everything else the last connection's value counts.
_COUNTERS = frozenset(
    {
        *("packets_sent", "packets_received", "bytes_sent", "bytes_received", "packets_lost"),
        *("spurious_losses", "retransmitted_packets", "retransmitted_bytes", "integrity_failures"),
        *("duplicate_packets", "malformed_packets", "late_packets", "acks_sent", "acks_received"),
        *("probe_timeouts", "messages_sent", "messages_received", "messages_expired", "key_updates"),
        *("stream_bytes_acked", "stream_bytes_delivered", "busy_time", "ecn_ce"),
    }
)


class Series:
    """The connections of a flow.

    Args:
        count: how many there are to be.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        #: How many are over.
        self.done = 0
        #: Payload bytes that they moved.
        self.bytes = 0
        self._sums: list[str] = []
        self._handshakes: list[Duration] = []
        self._durations: list[Duration] = []
        self._early = 0
        self._counted: dict[str, int] = {}

    @property
    def more(self) -> bool:
        """Whether another one follows the one that is under way."""
        return self.done + 1 < self.count

    def take(
        self,
        outcome: Outcome,
        statistics: Mapping[str, object],
        *,
        handshake: Duration | None,
        lasted: Duration,
        early: bool,
    ) -> None:
        """Note what became of one connection; ``early``: whether its early data was taken."""
        self.done += 1
        self.bytes += outcome.bytes
        self._sums.append(outcome.sha256)
        self._durations.append(lasted)
        if handshake is not None:
            self._handshakes.append(handshake)
        self._early += early
        for name, value in statistics.items():
            if name in _COUNTERS and isinstance(value, int):
                self._counted[name] = self._counted.get(name, 0) + value

    def outcome(self, last: Outcome) -> Outcome:
        """Return the outcome of all together, once all are over."""
        results = {
            **last.results,
            "connections": {
                "count": self.done,
                "early_data_taken": self._early,
                "handshake_ms": quantiles_ms(self._handshakes),
                "duration_ms": quantiles_ms(self._durations),
            },
        }
        return Outcome(last.ok, last.error, self.bytes, self._sum(), results)

    def statistics(self, last: Mapping[str, object]) -> dict[str, object]:
        """Return the last connection's statistics with what all of them counted."""
        return {**last, **self._counted}

    def _sum(self) -> str:
        """Return the SHA-256 that all connections have in common, else one over theirs in order.

        If one of them did not come to its end there is none: the flow has failed, as one connection would.
        """
        if not all(self._sums):
            return ""
        if len(set(self._sums)) == 1:
            return self._sums[0]
        return hashlib.sha256("".join(self._sums).encode()).hexdigest()
