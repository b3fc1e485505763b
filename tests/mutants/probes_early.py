"""Sends probes a millisecond after the last packet."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("probes-early")
class ProbesEarly(Mutant):
    """Sends probes a millisecond after the last packet."""

    breaks: ClassVar[tuple[str, ...]] = ("8-8",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Time out at once."""
        recovery = connection.recovery
        on_timeout, next_timeout = recovery.on_timeout, recovery.next_timeout

        def hasty() -> int | None:
            due = next_timeout()
            return None if due is None else min(due, recovery.last_sent + 1_000_000)

        def probe(*, now: int) -> None:
            due = next_timeout()
            if due is None or due <= now:
                on_timeout(now=now)
            elif recovery.oldest_outstanding() is not None:
                recovery.probes_due = 2

        recovery.next_timeout = hasty  # type: ignore[method-assign]
        recovery.on_timeout = probe  # type: ignore[method-assign]
