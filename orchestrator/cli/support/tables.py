"""Results as tables for people; what `-f json` gives is for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.transports.base import STRAIT
from orchestrator.results import ExpectationResult, FlowResult, RunResult, Verdict, show_measure

if TYPE_CHECKING:
    from orchestrator.wiring.live import LiveDirection

#: Columns where stdout is no terminal and COLUMNS is not set: logs need not be narrow.
DEFAULT_WIDTH = 120
#: Rows of the timeline that are shown; a link that flaps for long has thousands.
TIMELINE_ROWS = 40
_SHAPERS = {
    "kernel": "netem in the kernel",
    "userspace": "the user-space shaper (no netem here)",
    "simulated": "the simulator's link model, in virtual time",
}


def show_tables(*parts: RenderableType) -> None:
    """Write to stdout; in colour only on a terminal, and never if NO_COLOR is set."""
    terminal = sys.stdout.isatty()
    width = None if terminal or "COLUMNS" in os.environ else DEFAULT_WIDTH
    Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False).print(Group(*parts))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Group:
    """Return a plain table below its title; columns whose name starts with ``>`` are aligned to the right."""
    # A run's widest table fits 80 columns so.
    made = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    # Not rich's own title, which is broken into lines as narrow as the table.
    return Group(Text(title, style="bold"), Text(""), made, Text(""))


def impairment_table(directions: Iterable[LiveDirection]) -> Group:
    """Return what each direction of each link does to packets, and what became of them."""
    rows = [
        (
            way.endpoint,
            way.towards,
            ", ".join(f"{name} {value}" for name, value in way.impairments.to_mapping().items()) or "-",
            ", ".join(f"{name} {count:,}" for name, count in way.counters.items() if count),
        )
        for way in directions
    ]
    return table("Links", ("from", "to", "impairments", "packets"), rows)


def run_tables(result: RunResult) -> tuple[RenderableType, ...]:
    """Return all that a user wants to see of a run, the verdict last."""
    parts: list[RenderableType] = [_flows(result)]
    if result.links:
        parts.append(_links(result))
    if result.calibration.rows:
        parts.append(_calibration(result))
    if result.timeline:
        parts.append(_timeline(result))
    if result.expectations:
        parts.append(expectation_table(result.expectations))
    parts.append(_wire(result))
    parts.extend(Text(f"note: {note}") for note in result.notes)
    parts.extend(Text(f"failed: {reason}", style="red") for reason in result.reasons)
    parts.append(_verdict(result))
    return tuple(parts)


def _flows(result: RunResult) -> Group:
    figures = (">bytes", ">s", ">Mbit/s", ">RTT ms", ">lost", ">again")
    others = any(flow.transport != STRAIT for flow in result.flows)
    columns = ("flow", "path", *(("transport",) if others else ()), *figures, "sum")
    rows = [
        (
            flow.name,
            f"{flow.source} → {flow.target}",
            *((f"{flow.transport}, {flow.congestion}",) if others else ()),
            f"{flow.bytes:,}",
            f"{flow.seconds:.2f}",
            f"{flow.bits_per_second / 1e6:.2f}",
            f"{flow.rtt_ms:.1f}",
            f"{flow.packets_lost:,}",
            f"{flow.retransmitted_packets:,}",
            _sum(flow),
        )
        for flow in result.flows
    ]
    return table("Flows", columns, rows)


def _sum(flow: FlowResult) -> Text:
    if flow.stopped:
        return Text("stopped")
    if not flow.completed:
        return Text("not completed", style="red")
    if flow.intact:
        return Text("equal", style="green")
    damage = "" if flow.corrupted_bytes is None else f" in {flow.corrupted_bytes:,} bytes"
    return Text(f"differs{damage}", style="red")


def _links(result: RunResult) -> Group:
    """Frames that entered each direction; how many were lost only where both ends were captured."""
    if all(end.loss is None for end in result.links):
        entered = [(end.sender, end.receiver, f"{end.frames_in:,}") for end in result.links]
        return table("Links", ("from", "to", ">frames"), entered)
    rows = [
        (
            end.sender,
            end.receiver,
            f"{end.frames_in:,}",
            "-" if end.frames_out is None else f"{end.frames_out:,}",
            "-" if end.loss is None else f"{end.loss * 100:.2f} %",
        )
        for end in result.links
    ]
    return table("Links", ("from", "to", ">frames in", ">frames out", ">loss"), rows)


def _calibration(result: RunResult) -> Group:
    """One row a direction: what was measured, in red and with what was asked where that is something else."""
    rows: dict[str, dict[str, Text]] = {}
    quantities = ("delay", "jitter", "loss", "rate", "reordering", "duplicates")
    for row in result.calibration.rows:
        text = show_measure(row.unit, row.measured)
        if row.verdict == "outside":
            text += f" instead of {show_measure(row.unit, row.asked)}"
        style = {"outside": "red", "not judged": "dim"}.get(row.verdict, "")
        rows.setdefault(row.sender, {})[row.quantity] = Text(text, style=style)
    columns = ("from", *(f">{quantity}" for quantity in quantities))
    cells: list[tuple[str | Text, ...]] = [
        (sender, *(found.get(quantity, Text("-")) for quantity in quantities))
        for sender, found in rows.items()
    ]
    return table("Links, measured before the flows started", columns, cells)


def _timeline(result: RunResult) -> Group:
    shown = result.timeline[:TIMELINE_ROWS]
    rows = [
        (
            f"{event.planned / 1e9:.3f}" if event.at is None else f"{event.at / 1e9:.3f}",
            event.action,
            event.subject,
            event.phase,
            Text(event.outcome, style="red" if event.outcome == "failed" else ""),
            event.detail,
        )
        for event in shown
    ]
    more = len(result.timeline) - len(shown)
    title = "Timeline" + (f" (the first {TIMELINE_ROWS}; {more} more in result.json)" if more else "")
    return table(title, (">s", "what", "of", "", "outcome", ""), rows)


def expectation_table(expectations: Iterable[ExpectationResult]) -> Group:
    """Return what was expected, and what was found."""
    rows = [
        (
            Text("ok", style="green") if found.passed else Text("missed", style="red"),
            found.flow or "the run",
            found.text,
            found.shown,
        )
        for found in expectations
    ]
    return table("Expectations", ("", "of", "expected", "found"), rows)


def _wire(result: RunResult) -> Text:
    wire = result.wire
    if not wire.checked:
        return Text("wire: not checked")
    damage = f"; {wire.damaged:,} damaged on links, {wire.slipped:,} slipped through" if wire.damaged else ""
    # The notes say what was missing.
    gaps = "" if wire.complete else "; the captures are not complete"
    other = f"; {wire.other:,} frames of other protocols" if wire.other else ""
    lines = [f"wire: {wire.frames:,} frames dissected, {wire.violations:,} violations{damage}{other}{gaps}"]
    lines.extend(f"  {detail}" for detail in wire.details[:5])
    return Text("\n".join(lines), style="red" if wire.violations else "")


def _verdict(result: RunResult) -> Text:
    manifest = result.manifest
    shaper = _SHAPERS.get(manifest.impairment, manifest.impairment)
    style = "bold green" if result.verdict is Verdict.PASS else "bold red"
    arrived = [flow.received_file for flow in result.flows if flow.received_file]
    files = f"files in {result.directory}" + (f", what arrived in {_together(arrived)}" if arrived else "")
    told = f"  {manifest.lab} on {manifest.backend}; links impaired by {shaper}; seed {manifest.seed}"
    return Text.assemble((result.verdict.value, style), told, f"\n{files}")


def _together(paths: Sequence[str]) -> str:
    """Return one path as it is; of several the directories they share."""
    return paths[0] if len(paths) == 1 else os.path.commonpath(paths) + "/"
