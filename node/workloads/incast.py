"""Incast: many sources send a block each to one target at the same moment, round after round.

The target's sides of all members meet at its node. When all are there it tells each source to send; when
every block of the round has come, the next round begins. A round lasts until the slowest block is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from node.protocol.time import SECOND, Duration, Instant
from node.workloads.base import (
    CHUNK_BYTES,
    MAX_REPORT_BYTES,
    WORKLOADS,
    ByteSource,
    Data,
    Digest,
    FlowStream,
    Outcome,
    Resources,
    Side,
    WorkloadError,
    check_names,
    quantiles_ms,
    whole,
)

OPTIONS = ("size", "rounds", "group", "members", "seed")
MAX_BLOCK_BYTES = 1 << 30
MAX_ROUNDS = 100_000
MAX_MEMBERS = 4096
#: What the target sends to ask for a block.
GO = b"\x01"


@WORKLOADS.register("incast")
class Incast:
    """``rounds`` blocks of ``size`` bytes from each of the ``members`` of ``group``."""

    name: ClassVar[str] = "incast"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return a member's sending side."""
        size, rounds, _ = _read(options)
        return IncastSource(resources.source_of({**options, "size": size * rounds}), size, rounds)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the side that receives from one member."""
        size, rounds, members = _read(options)
        group = str(options.get("group", options.get("flow", "")))
        return IncastTarget(group, resources.meetings, size=size, rounds=rounds, members=members)


def _read(options: Mapping[str, object]) -> tuple[int, int, int]:
    check_names(options, OPTIONS)
    return (
        whole(options, "size", default=32_000, low=1, high=MAX_BLOCK_BYTES),
        whole(options, "rounds", default=10, low=1, high=MAX_ROUNDS),
        whole(options, "members", default=1, low=1, high=MAX_MEMBERS),
    )


class IncastSource(Side):
    """Sends a block each time it is told to."""

    def __init__(self, payload: ByteSource, size: int, rounds: int) -> None:
        self._payload = payload
        self._size = size
        self._rounds = rounds
        #: Blocks asked for so far.
        self._asked = 0
        self._digest = Digest()
        self._report = bytearray()
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Wait to be told."""
        self._stream = stream

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Send a block for each byte that asks for one; behind the last of these comes the report."""
        asked = min(len(data), self._rounds - self._asked)
        if asked:
            self._asked += asked
            self.writing = True
            self.on_writable(now=now)
        if len(self._report) + len(data) > MAX_REPORT_BYTES:
            raise WorkloadError(f"the target's report is longer than {MAX_REPORT_BYTES} bytes")
        self._report += memoryview(data)[asked:]
        if ended and self.outcome is None:
            self._conclude()

    def on_writable(self, *, now: Instant) -> None:
        """Write the next chunks of what was asked for."""
        assert self._stream is not None
        due, total = self._asked * self._size, self._rounds * self._size
        while self._digest.size < due and self._stream.wants_more():
            chunk = self._payload.read(self._digest.size, min(CHUNK_BYTES, due - self._digest.size))
            self._digest.update(chunk)
            self._stream.write(chunk, end=self._digest.size == total)
        self.writing = self._digest.size < due

    def progress(self) -> tuple[int, int | None]:
        """Return bytes written less those still waiting, and all there will be."""
        waiting = self._stream.backlog() if self._stream is not None else 0
        return max(0, self._digest.size - waiting), self._size * self._rounds

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _conclude(self) -> None:
        try:
            report: Any = json.loads(self._report)  # whatever the peer sends: looked at below
            found = (report["bytes"], report["sha256"])
            results = {key: report[key] for key in ("latency_ms", "round_ms", "round_bits_per_second")}
        except (ValueError, RecursionError, KeyError, TypeError):
            raise WorkloadError("the target's report is not what was agreed") from None
        self._payload.close()
        sha256 = self._digest.hexdigest()
        error = "" if found == (self._digest.size, sha256) else f"the target has {found!r:.200}"
        results = {"rounds": self._rounds, **results}
        self.outcome = Outcome(
            ok=not error, error=error, bytes=self._digest.size, sha256=sha256, results=results
        )


class _Meeting:
    """All members of a group at their target, and the round that is under way."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.sides: list[IncastTarget] = []
        self.began: Instant = 0
        self._begun = False
        self.over = False
        #: How long each round took: until its slowest block was whole.
        self.rounds: list[Duration] = []
        self._whole = 0

    def join(self, side: IncastTarget, now: Instant) -> None:
        """Take a member; with the last of them the first round begins."""
        self.sides.append(side)
        if self._begun and len(self.sides) <= self.members:
            side.ask()  # in the place of one that withdrew
        elif len(self.sides) == self.members:
            self._begin(now)

    def withdraw(self, side: IncastTarget) -> None:
        """Let a member go that comes again: it was never heard of after the flow header."""
        self.sides.remove(side)

    def on_block(self, now: Instant) -> None:
        """Note that a member's block of this round is whole."""
        self._whole += 1
        if self._whole < self.members:
            return
        self.rounds.append(now - self.began)
        self._whole = 0
        if len(self.rounds) < self.sides[0].rounds:
            self._begin(now)
            return
        self.over = True
        for side in self.sides:
            side.writing = True

    def leave(self) -> None:
        """Note that a member failed: the others cannot go on."""
        if not self.over:
            self.over = True
            for side in self.sides:
                side.writing = True

    @property
    def complete(self) -> bool:
        """Whether all rounds came to their end."""
        return bool(self.sides) and len(self.rounds) == self.sides[0].rounds

    def _begin(self, now: Instant) -> None:
        self.began, self._begun = now, True
        for side in self.sides:
            side.ask()


class IncastTarget(Side):
    """Receives one member's blocks."""

    def __init__(
        self, group: str, meetings: dict[str, Any], *, size: int, rounds: int, members: int
    ) -> None:  # Any: other workloads may meet there too
        self.rounds = rounds
        self._group = group
        self._meetings = meetings
        self._size = size
        self._members = members
        self._digest = Digest()
        self._blocks: list[Duration] = []
        self._meeting: _Meeting | None = None
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Meet the other members."""
        self._stream = stream
        meeting = self._meetings.get(self._group)
        if meeting is None or meeting.over:
            meeting = self._meetings[self._group] = _Meeting(self._members)
        self._meeting = meeting
        meeting.join(self, now)

    def ask(self) -> None:
        """Ask the member for its next block."""
        assert self._stream is not None
        self._stream.write(GO)

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes of a block."""
        meeting = self._meeting
        assert meeting is not None
        self._digest.update(data)
        whole_blocks = self._digest.size // self._size
        if self._digest.size > self._size * (len(meeting.rounds) + 1) and not meeting.over:
            raise WorkloadError("more bytes than were asked for")
        if whole_blocks > len(self._blocks):
            self._blocks.append(now - meeting.began)
            meeting.on_block(now)
        if ended and self._digest.size < self._size * self.rounds:
            raise WorkloadError(f"the member ended after {whole_blocks} of {self.rounds} blocks")

    def on_writable(self, *, now: Instant) -> None:
        """Report, now that the last round is over (WorkloadError: another member failed)."""
        assert self._stream is not None
        assert self._meeting is not None
        self.writing = False
        if not self._meeting.complete:
            raise WorkloadError(f"another member of {self._group} failed")
        times = self._meeting.rounds
        results = {
            "latency_ms": quantiles_ms(self._blocks),
            "round_ms": quantiles_ms(times),
            "round_bits_per_second": self._members
            * self._size
            * 8
            * len(times)
            * SECOND
            / max(1, sum(times)),
        }
        size, sha256 = self._digest.size, self._digest.hexdigest()
        report = {"bytes": size, "sha256": sha256, **results}
        self._stream.write(json.dumps(report).encode(), end=True)
        self.outcome = Outcome(ok=True, bytes=size, sha256=sha256, results=results)
        self._forget()

    def progress(self) -> tuple[int, int | None]:
        """Return bytes received, and all there will be."""
        return self._digest.size, self._size * self.rounds

    def withdraw(self) -> None:
        """Leave the meeting, and keep a place in it."""
        if self._meeting is not None:
            self._meeting.withdraw(self)
            if not self._meeting.sides:
                self._forget()

    def abort(self) -> None:
        """Tell the other members."""
        if self._meeting is not None:
            self._meeting.leave()
            self._forget()

    def _forget(self) -> None:
        if self._meetings.get(self._group) is self._meeting:
            del self._meetings[self._group]
