"""What a run leaves behind: its result, as data, as JSON, and as a directory of files.

``results/<lab>-<run id>/`` holds ``result.json``, the captures, key logs and logs of the nodes, and the
files that arrived. ``result.json`` is written last and at once: if it is there, it is whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from node.protocol.time import SECOND, Duration
from orchestrator.errors import TestbedError

#: Version of the JSON below; it changes when a key changes its meaning or goes.
RESULT_VERSION = 1
RESULT_FILE = "result.json"
#: Violations that ``result.json`` shows in words; all are counted.
MAX_DETAILS = 100


class ResultsError(TestbedError):
    """The results cannot be written; the message says where and why."""


class Verdict(Enum):
    """How a run ended."""

    PASS = "PASS"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class RunManifest:
    """All that is needed to do a run again."""

    #: Eight lower-case hex digits.
    run_id: str
    #: Name of the topology.
    lab: str
    #: Name of the back end.
    backend: str
    #: Who impaired the packets: kernel, userspace or simulated.
    impairment: str
    seed: int
    #: SHA-256 of the deployment plan's JSON, in hex: equal plans, equal digests.
    plan_digest: str
    #: ISO 8601, UTC.
    started_at: str
    #: Name and release of the kernel, and the machine's architecture.
    kernel: str
    #: Program or package → version.
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlowResult:
    """What became of one flow."""

    name: str
    #: Name of the workload.
    workload: str
    source: str
    target: str
    #: Whether both ends came to their end, and nothing failed on the way.
    completed: bool
    #: Why it did not complete.
    error: str
    #: Payload bytes that the target has.
    bytes: int
    #: SHA-256 of what the target has, in hex; empty if it did not come to its end.
    sha256: str
    #: SHA-256 of what the source sent.
    source_sha256: str
    #: From the flow's start to its end at the source.
    seconds: float
    #: Goodput: payload bits a second over ``seconds``.
    bits_per_second: float
    packets_sent: int
    packets_lost: int
    retransmitted_packets: int
    #: Received packets that both ends dropped because their tag was wrong.
    integrity_failures: int
    #: Smoothed RTT of the source's connection at the flow's end.
    rtt_ms: float
    min_rtt_ms: float
    #: ``aead``, ``crc32c``, ``xor`` or ``tcp-checksum``, and the ARQ mode and congestion controller used.
    integrity: str
    arq: str
    congestion: str
    #: Bytes that differ from what was sent though the packets passed their check; None: not looked at.
    corrupted_bytes: int | None = None
    #: The files that were sent and that arrived, from the run's directory on; None: there is none.
    sent_file: str | None = None
    received_file: str | None = None
    #: What the transport counted at both ends (node.protocol.statistics), by ``source`` and ``target``.
    statistics: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    #: Whether the timeline ended it before its end, which is no failure.
    stopped: bool = False
    #: How often it started anew, since a node had crashed.
    restarts: int = 0
    #: ``strait``, ``tcp`` or ``quic``.
    transport: str = "strait"
    #: What the workload itself measured.
    measured: Mapping[str, object] = field(default_factory=dict)

    @property
    def intact(self) -> bool:
        """Whether the target has every byte that the source sent."""
        return self.sha256 != "" and self.sha256 == self.source_sha256

    def to_json(self) -> dict[str, object]:
        """Return the flow as JSON-able data."""
        return {**asdict(self), "intact": self.intact}


@dataclass(frozen=True, slots=True)
class LinkResult:
    """What the captures say of one direction of a link."""

    name: str
    #: The sending and the receiving end.
    sender: str
    receiver: str
    #: Frames that entered the link there, whatever they carry.
    frames_in: int
    #: And that left it at the other end; None: only entries were captured.
    frames_out: int | None
    #: Bytes that it carried, of those that its rate allows in the run's time; None: it has no rate.
    utilisation: float | None = None
    #: Frames that were still on the link when the run ended, where that is known: in simulation.
    under_way: int = 0

    @property
    def loss(self) -> float | None:
        """Frames lost of those whose fate is known; None: unknown. Duplicates make up for losses."""
        if self.frames_out is None:
            return None
        decided = self.frames_in - self.under_way
        return max(0.0, 1 - self.frames_out / decided) if decided > 0 else 0.0

    def to_json(self) -> dict[str, object]:
        """Return the direction as JSON-able data."""
        return {**asdict(self), "loss": self.loss}


@dataclass(frozen=True, slots=True)
class WireResult:
    """What the wire probe saw."""

    #: Whether there were captures to check.
    checked: bool
    #: Frames of ours that were dissected.
    frames: int
    #: How many of them break the protocol.
    violations: int
    #: The first of them in words.
    details: tuple[str, ...] = ()
    #: Frames of anything else than Strait: other transports, ARP …
    other: int = 0
    #: Datagrams that a link damaged, as the topology asks.
    damaged: int = 0
    #: Of these, datagrams whose integrity check is right nevertheless.
    slipped: int = 0
    #: Whether every frame of every link was captured; if not, notes say what was not checked.
    complete: bool = False
    #: What the probe counted beside: handshakes, retries, marks …
    facts: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {**asdict(self), "details": list(self.details[:MAX_DETAILS])}


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """Whether one expectation held, for one flow or for the run."""

    #: As the user wrote it.
    text: str
    #: Or the end of the link that sends, or several flows; None: it is about the run.
    flow: str | None
    passed: bool
    #: In base units (ns, bit/s, ratio, count); None: it could not be measured.
    measured: float | None
    #: The same as users read it: ``4.21s``; or why there is nothing.
    shown: str

    @property
    def name(self) -> str:
        """The expectation as a topology writes it about this flow alone."""
        return self.text if self.flow is None else f"{self.flow}: {self.text}"

    @property
    def reason(self) -> str:
        """Why it did not hold, as a sentence."""
        return f"{f'{self.flow}: ' if self.flow else ''}expected {self.text}, found {self.shown}"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "expectation": self.text,
            "flow": self.flow,
            "passed": self.passed,
            "measured": self.measured,
            "shown": self.shown,
        }


@dataclass(frozen=True, slots=True)
class TimelineResult:
    """What became of the beginning or the end of one action of the timeline."""

    #: When it was to happen, from the start of the run, ns.
    planned: Duration
    #: When it happened, on the lab's clock; None: never.
    at: Duration | None
    action: str
    #: What it was done to.
    subject: str
    #: ``begins`` or ``ends``.
    phase: str
    #: ``done``, ``failed`` or ``not reached``.
    outcome: str
    #: What is worth telling; why it failed.
    detail: str

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "planned_seconds": self.planned / SECOND,
            "seconds": None if self.at is None else self.at / SECOND,
            "action": self.action,
            "subject": self.subject,
            "phase": self.phase,
            "outcome": self.outcome,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """What was asked of one direction of a link, and what was measured before the flows started."""

    #: The end that sends.
    sender: str
    #: ``delay``, ``jitter`` (standard deviation), ``loss``, ``rate``, ``reordering`` …
    quantity: str
    #: ns, ratio, bit/s or count.
    unit: str
    #: None: nothing that could be compared.
    asked: float | None
    measured: float | None
    #: The 99 % interval of the measured value; None: there is none.
    low: float | None
    high: float | None
    #: ``ok``, ``outside`` or ``not judged``.
    verdict: str
    #: Why it is not judged; what is worth telling.
    detail: str

    def describe(self) -> str:
        """Return the row as a sentence."""
        asked, measured = (show_measure(self.unit, value) for value in (self.asked, self.measured))
        interval = ""
        if self.low is not None and self.high is not None:
            low, high = show_measure(self.unit, self.low), show_measure(self.unit, self.high)
            interval = f" (99 %: {low} to {high})"
        more = f"; {self.detail}" if self.detail else ""
        return f"{self.sender}: {self.quantity} asked {asked}, measured {measured}{interval}{more}"


def show_measure(unit: str, value: float | None) -> str:
    """Return a measured value as people read it; ``-`` for none."""
    if value is None:
        return "-"
    match unit:
        case "ns":
            return f"{value / 1e6:.3f} ms"
        case "bit/s":
            return f"{value / 1e6:.3f} Mbit/s"
        case "ratio":
            return f"{value * 100:.2f} %"
        case _:
            return f"{value:g}"


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What the links did before the flows started, measured by probes of their own."""

    #: ``warn``, ``strict`` or ``off``.
    mode: str
    rows: tuple[CalibrationRow, ...] = ()
    #: What was not measured, and why.
    notes: tuple[str, ...] = ()

    @property
    def outside(self) -> tuple[CalibrationRow, ...]:
        """Return what is not as asked."""
        return tuple(row for row in self.rows if row.verdict == "outside")

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "mode": self.mode,
            "measured": bool(self.rows),
            "outside": len(self.outside),
            "links": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """A whole run."""

    manifest: RunManifest
    flows: tuple[FlowResult, ...]
    links: tuple[LinkResult, ...]
    wire: WireResult
    expectations: tuple[ExpectationResult, ...]
    #: Why the run failed, apart from expectations: a node crashed, a flow did not end.
    failures: tuple[str, ...]
    #: Worth knowing, and no failure.
    notes: tuple[str, ...]
    #: How long the flows took, on the lab's clock.
    duration: Duration
    #: Where the files are.
    directory: Path
    #: What happened to the lab meanwhile, in order.
    timeline: tuple[TimelineResult, ...] = ()
    #: What its links did before.
    calibration: CalibrationResult = CalibrationResult("off")
    #: What links counted while the flows ran, by the end that sends; empty: no expectation asks.
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """PASS: nothing failed and every expectation held."""
        held = all(expectation.passed for expectation in self.expectations)
        return Verdict.PASS if held and not self.failures else Verdict.FAIL

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return why the verdict is FAIL, one sentence each; empty for PASS."""
        missed = (found.reason for found in self.expectations if not found.passed)
        return (*self.failures, *missed)

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON-able data; docs/command-line.md says what each key is."""
        return {
            "version": RESULT_VERSION,
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            **asdict(self.manifest),
            "seconds": self.duration / SECOND,
            "flows": {flow.name: flow.to_json() for flow in self.flows},
            "links": [link.to_json() for link in self.links],
            "wire": self.wire.to_json(),
            "calibration": {**self.calibration.to_json(), "shaper": self.manifest.impairment},
            "link_counters": {end: dict(found) for end, found in self.counters.items()},
            "timeline": [event.to_json() for event in self.timeline],
            "expectations": [expectation.to_json() for expectation in self.expectations],
            "directory": str(self.directory),
        }

    def write(self) -> Path:
        """Write ``result.json`` and return its path.

        Raises:
            ResultsError: it cannot be written, as on a full disk.
        """
        path = self.directory / RESULT_FILE
        write_atomically(path, json.dumps(self.to_json(), indent=2) + "\n")
        return path


def make_run_directory(results: Path, lab: str, run_id: str) -> Path:
    """Make and return the directory of a run.

    Raises:
        ResultsError: it cannot be made.
    """
    directory = results / f"{lab}-{run_id}"
    try:
        directory.mkdir(parents=True)
    except OSError as error:
        raise ResultsError(
            f"cannot make {directory}: {error.strerror}; choose another place with --results DIR"
        ) from error
    return directory


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there wholly or not at all.

    Raises:
        ResultsError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        advice = "make room, or choose another place with --results DIR"
        what = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror)
        raise ResultsError(f"cannot write {path}: {what}; {advice}") from error
