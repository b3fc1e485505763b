"""Datagrams that break a rule: the node's fault, or damage done by a link that was asked to do it?

Decided when all good datagrams are known: damage is a few flipped bits in a copy of one of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.probes.wire.report import Violation, WireReport
from orchestrator.probes.wire.sightings import Datagram

#: A datagram is compared by parts, of which a flipped bit spoils only one.
_PARTS = 4
#: So many bits may differ from the good copy: netem flips one on each corrupting link.
_MAX_FLIPPED = 8
#: Parts of different datagrams may be equal (zeros, say); so many are looked at, the latest sent before.
_MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Suspect:
    """A datagram that broke a rule."""

    datagram: Datagram
    rule: str
    found: str
    expected: str
    #: Whether its integrity check was right.
    intact: bool = False
    #: Whether it is not the bytes that are wrong but when, or that, they were sent: no damage does that.
    conduct: bool = False


class Suspects:
    """Collects suspects, then judges them.

    Args:
        report: takes the verdicts.
        blind: links that corrupt and are captured behind the corruption only (by name).
        corrupting: whether any link was asked to corrupt.
    """

    def __init__(self, report: WireReport, *, corrupting: bool, blind: frozenset[str]) -> None:
        self._report = report
        self._corrupting = corrupting
        self._blind = blind
        self._suspects: list[Suspect] = []

    def add(self, datagram: Datagram, rule: str, found: str, expected: str, *, intact: bool = False) -> None:
        """Report that ``datagram`` broke ``rule``."""
        self._suspects.append(Suspect(datagram, rule, found, expected, intact))

    def misconduct(self, datagram: Datagram, rule: str, found: str, expected: str) -> None:
        """Report that an end should not have sent ``datagram`` then, or at all: no link is to blame."""
        self._suspects.append(Suspect(datagram, rule, found, expected, intact=True, conduct=True))

    def judge(self, good: Iterable[Datagram]) -> None:
        """Count each suspect as damaged or as a violation."""
        index = _index(good) if self._suspects and self._corrupting else {}
        for suspect in sorted(self._suspects, key=lambda suspect: suspect.datagram.at):
            datagram = suspect.datagram
            blame = self._corrupting and not suspect.conduct
            if blame and (datagram.link in self._blind or _is_copy(datagram, index)):
                self._report.damaged += 1
                self._report.slipped += suspect.intact
                continue
            self._report.add(
                Violation(
                    datagram.link, datagram.frame, datagram.at, suspect.rule, suspect.found, suspect.expected
                )
            )


_Key = tuple[int, int, int]
#: When a good datagram was sent, in order, and its bytes.
_Sent = tuple[list[int], list[memoryview]]


def _index(good: Iterable[Datagram]) -> Mapping[_Key, _Sent]:
    index: dict[_Key, _Sent] = {}
    for datagram in sorted(good, key=lambda datagram: datagram.at):
        for key in _keys(datagram.payload):
            times, payloads = index.setdefault(key, ([], []))
            times.append(datagram.at)
            payloads.append(datagram.payload)
    return index


def _keys(payload: memoryview) -> list[_Key]:
    size = len(payload)
    cuts = [size * part // _PARTS for part in range(_PARTS + 1)]
    return [(size, part, hash(payload[cuts[part] : cuts[part + 1]])) for part in range(_PARTS)]


def _is_copy(datagram: Datagram, index: Mapping[_Key, _Sent]) -> bool:
    number = int.from_bytes(datagram.payload, "big")
    for key in _keys(datagram.payload):
        times, payloads = index.get(key, ((), ()))
        last = bisect_right(times, datagram.at)
        for candidate in payloads[max(0, last - _MAX_CANDIDATES) : last]:
            if (number ^ int.from_bytes(candidate, "big")).bit_count() <= _MAX_FLIPPED:
                return True
    return False
