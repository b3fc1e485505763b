"""Checks that need the order of events: windows, acknowledgements, and what precedes validation."""

from __future__ import annotations

from collections.abc import Iterator

from node.dissectors.scapy_layer import EARLY
from orchestrator.probes.wire.connections import MAX_AMPLIFICATION, Connection
from orchestrator.probes.wire.flow import Acknowledgement, Announcement, Claim, Flow, SentNumbers
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects


class OrderChecks:
    """Checks connections that were captured whole.

    Two events at one instant are taken in the order that is right: virtual time has such instants.

    Args:
        suspects: takes what is wrong.
        exits_captured: whether captures tell when a datagram left a link. If not, what entered the last
            link counts as received: an announcement that was lost there then allows more than it should.
    """

    def __init__(self, suspects: Suspects, *, exits_captured: bool) -> None:
        self._suspects = suspects
        self._exits_captured = exits_captured

    def check(self, connection: Connection) -> None:
        """Check one connection."""
        for sender, receiver in ((0, 1), (1, 0)):
            flow, other = connection.flows[sender], connection.flows[receiver]
            sent = other.sent_numbers()
            self._only_sent(flow.acknowledgements, sent, "5-2", "an ACK")
            self._only_sent(flow.recovered, sent, "12.4-5", "FEC_RECOVERED")
            self._only_sent(flow.protected, flow.sent_numbers(), "12.1-1", "FEC_REPAIR")
            if connection.secrets.windows is not None:
                self._windows(flow, other, connection.secrets.windows[receiver])
        self._amplification(connection)

    def _only_sent(self, named: list[Acknowledgement], sent: SentNumbers, rule: str, frame: str) -> None:
        for naming in named:
            for smallest, largest in naming.intervals:
                unsent = sent.unsent(smallest, largest, naming.datagram.at)
                if unsent is not None:
                    found = f"{frame} of {unsent}"
                    self._suspects.add(naming.datagram, rule, found, "only what was sent", intact=True)
                    break

    def _windows(self, flow: Flow, other: Flow, initial: tuple[int, int]) -> None:
        connection_maximum, stream_maximum = initial
        stream_maxima: dict[int, int] = {}
        highest: dict[int, int] = {}
        total = 0
        for event in self._in_order(flow, other):
            if isinstance(event, Announcement):
                if event.stream is None:
                    connection_maximum = max(connection_maximum, event.maximum)
                else:
                    known = stream_maxima.get(event.stream, stream_maximum)
                    stream_maxima[event.stream] = max(known, event.maximum)
                continue
            for stream, end in event.ends:
                maximum = stream_maxima.get(stream, stream_maximum)
                if end > maximum:
                    found = f"stream {stream} to offset {end}"
                    self._suspects.add(event.datagram, "6-2", found, f"at most {maximum}", intact=True)
                new = end - highest.get(stream, 0)
                if new > 0:
                    highest[stream] = end
                    total += new
                    if total > connection_maximum:
                        found = f"{total} bytes on all streams"
                        expected = f"at most {connection_maximum}"
                        self._suspects.add(event.datagram, "6-2", found, expected, intact=True)

    def _in_order(self, flow: Flow, other: Flow) -> Iterator[Claim | Announcement]:
        events: list[tuple[int, int, Claim | Announcement]] = [
            (claim.datagram.at, 1, claim) for claim in flow.claims
        ]
        announcing = {id(one.datagram) for one in other.announcements} if flow.recovered else set()
        numbers = {n: one for n, one in other.packets.items() if id(one) in announcing} if announcing else {}
        rebuilt = {id(numbers[n]): at for n, at in flow.rebuilt_at(numbers).items()}
        for announcement in other.announcements:
            times = (self._received(announcement.datagram), rebuilt.get(id(announcement.datagram)))
            at = min((time for time in times if time is not None), default=None)
            if at is not None:
                events.append((at, 0, announcement))
        events.sort(key=lambda event: event[:2])
        return (event for _, _, event in events)

    def _received(self, datagram: Datagram) -> int | None:
        return datagram.delivered if self._exits_captured else datagram.approached

    def _amplification(self, connection: Connection) -> None:
        initiation, response = connection.initiation, connection.response
        if initiation is None or response is None:
            return
        initiator, responder = connection.flows
        # SPEC 15-6: early data proves no address.
        proofs = [datagram for datagram in initiator.packets.values() if datagram.head[0] != EARLY]
        if connection.completion is not None:
            proofs += connection.completion.by_number.values()
        validated = min((datagram.at for datagram in proofs), default=None)
        for datagram in responder.packets.values():
            if validated is None or datagram.at < validated:
                found = "DATA before a valid DATA packet or COMPLETION has come from the initiator"
                self._suspects.add(datagram, "3.1-3", found, "none before", intact=True)
        sent = 0
        for datagram in sorted(response.by_number.values(), key=lambda datagram: datagram.at):
            if validated is not None and datagram.at > validated:
                break
            sent += len(datagram.payload)
            received = sum(
                len(asked.payload) * max(1, asked.approaches)
                for asked in initiation.by_number.values()
                if asked.at <= datagram.at
            )
            if sent > MAX_AMPLIFICATION * received:
                found = f"{sent} bytes sent for {received} received, before validation"
                self._suspects.add(datagram, "3-3", found, f"at most {MAX_AMPLIFICATION} times", intact=True)
