"""Datagrams that break a rule: the node's fault, or damage done by a link that was asked to do it?

Decided when all good datagrams are known: damage is a few flipped bits in a copy of one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.probes.wire.copies import Copies
from orchestrator.probes.wire.report import Violation, WireReport
from orchestrator.probes.wire.sightings import Datagram


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
        copies: Copies[None] = Copies()
        if self._suspects and self._corrupting:
            for one in sorted(good, key=lambda one: one.at):
                copies.add(one.payload, one.at, None)
        for suspect in sorted(self._suspects, key=lambda suspect: suspect.datagram.at):
            datagram = suspect.datagram
            blame = self._corrupting and not suspect.conduct
            is_blind = datagram.link in self._blind
            if blame and (is_blind or copies.nearest(datagram.payload, datagram.at) is not None):
                self._report.damaged += 1
                self._report.slipped += suspect.intact
                continue
            self._report.add(
                Violation(
                    datagram.link, datagram.frame, datagram.at, suspect.rule, suspect.found, suspect.expected
                )
            )
