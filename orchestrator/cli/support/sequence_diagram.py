"""Message sequence diagrams of packets: as text for terminals, as SVG for pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from node.protocol.time import MILLISECOND

if TYPE_CHECKING:
    from orchestrator.probes.wire.sequence import Arrow

# Text: columns between two lifelines, and of the times on the left.
_BETWEEN, _TIMES = 46, 14
# SVG, in pixels: between lifelines, margins, the least and the most that lies between two events.
_COLUMN, _LEFT, _TOP, _RIGHT = 340, 110, 50, 40
_LEAST, _MOST, _PER_MS = 3.0, 40.0, 4.0
#: Labels are this far apart at least, so that they can be read.
_LABEL = 15.0
_STYLE = (
    "text{font:11px ui-monospace,monospace;fill:#1f2937}"
    ".name{font-weight:bold;text-anchor:middle}.time{text-anchor:end;fill:#6b7280}"
    ".life{stroke:#9ca3af;stroke-dasharray:4 3}"
    ".label{paint-order:stroke;stroke:white;stroke-width:3px}"
    ".sent{stroke:#2563eb;stroke-width:1.2;marker-end:url(#head)}"
    ".lost{stroke:#dc2626;stroke-width:1.2;stroke-dasharray:5 3}.lost-label{fill:#dc2626}"
)


def draw_text(arrows: Sequence[Arrow], start: int, order: Sequence[str]) -> str:
    """Return the diagram as lines of text.

    Args:
        arrows: in order of time.
        start: where times count from, ns.
        order: names of nodes, from left to right; those without a packet are left out.
    """
    names = _columns(arrows, order)
    lines = [_headings(names)]
    for arrow in arrows:
        time = f"{(arrow.sent - start) / MILLISECOND:{_TIMES - 5}.3f} ms  "
        fate = "lost" if arrow.arrived is None else f"+{(arrow.arrived - arrow.sent) / MILLISECOND:.3f} ms"
        lines.append(f"{time}{_row(arrow, names)}  {fate}".rstrip())
    return "\n".join(lines) + "\n"


def _columns(arrows: Sequence[Arrow], order: Sequence[str]) -> list[str]:
    used = {name for arrow in arrows for name in (arrow.source, arrow.target)}
    strangers = sorted(used.difference(order))
    return [name for name in order if name in used] + strangers


def _headings(names: Sequence[str]) -> str:
    line = " " * _TIMES
    for index, name in enumerate(names):
        line = line.ljust(_TIMES + index * _BETWEEN) + name
    return line


def _row(arrow: Arrow, names: Sequence[str]) -> str:
    cells = [" "] * ((len(names) - 1) * _BETWEEN + 1)
    for index in range(len(names)):
        cells[index * _BETWEEN] = "│"
    a, b = names.index(arrow.source) * _BETWEEN, names.index(arrow.target) * _BETWEEN
    if a == b:
        return "".join(cells)
    low, high = min(a, b), max(a, b)
    room = high - low - 5
    label = arrow.label if len(arrow.label) <= room else arrow.label[: room - 1] + "…"
    body = list(f" {label} ".center(high - low - 1, "─"))
    if arrow.arrived is None:
        # It breaks off three quarters of the way.
        cut = len(body) // 8
        mark = len(body) - cut if a < b else cut - 1
        body[mark] = "╳"
        gone = range(mark + 1, len(body)) if a < b else range(mark)
        for index in gone:
            body[index] = " "
    else:
        body[-1 if a < b else 0] = "►" if a < b else "◄"
    cells[low + 1 : high] = body
    return "".join(cells)


def draw_svg(arrows: Sequence[Arrow], start: int, order: Sequence[str]) -> str:
    """Return the diagram as an SVG document; arguments as of ``draw_text``."""
    names = _columns(arrows, order)
    rows = _rows(arrows)
    xs = {name: _LEFT + index * _COLUMN for index, name in enumerate(names)}
    width = _LEFT + max(0, len(names) - 1) * _COLUMN + _RIGHT
    bottom = max((max(pair) for pair in rows), default=_TOP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + 20:.0f}" '
        f'viewBox="0 0 {width} {bottom + 20:.0f}">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0L8,4L0,8z" fill="#2563eb"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for name, x in xs.items():
        parts.append(f'<text class="name" x="{x}" y="20">{escape(name)}</text>')
        parts.append(f'<line class="life" x1="{x}" y1="30" x2="{x}" y2="{bottom:.1f}"/>')
    for arrow, (y1, y2) in zip(arrows, rows, strict=True):
        parts += _svg_arrow(arrow, start, xs, y1, y2)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _svg_arrow(arrow: Arrow, start: int, xs: dict[str, int], y1: float, y2: float) -> list[str]:
    x1, x2 = xs[arrow.source], xs[arrow.target]
    rightwards, lost = x1 < x2, arrow.arrived is None
    if lost:
        x2 = x1 + (x2 - x1) * 3 // 4
    time = f"{(arrow.sent - start) / MILLISECOND:.3f} ms"
    cross = f'<text class="lost-label" x="{x2 - 4}" y="{y2 + 4:.1f}">✕</text>' if lost else ""
    kind = "lost" if lost else "sent"
    # What is said of a packet stands where it begins, on a ground of its own: other arrows cross it.
    place = f'x="{x1 + 8}"' if rightwards else f'x="{x1 - 8}" text-anchor="end"'
    return [
        f"<g><title>{escape(arrow.label)}, {arrow.size} bytes, sent {time}</title>",
        f'<line class="{kind}" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"/>{cross}',
        f'<text class="time" x="{_LEFT - 14}" y="{y1 + 4:.1f}">{time}</text>' if x1 == _LEFT else "",
        f'<text class="label" {place} y="{y1 - 2:.1f}">{escape(_short(arrow.label))}</text></g>',
    ]


def _short(label: str) -> str:
    return label if len(label) <= 44 else label[:43] + "…"


def _rows(arrows: Sequence[Arrow]) -> list[tuple[float, float]]:
    """Return where each arrow begins and ends, in pixels from the top.

    Down is later: long silences are cut short, and what one node sends at one instant stands below one
    another, so that it can be read. What is lost ends a little below where it begins.
    """
    events = sorted(
        (at, number, end)
        for number, arrow in enumerate(arrows)
        for end, at in enumerate((arrow.sent, arrow.arrived))
        if at is not None
    )
    found = [[0.0, 0.0] for _ in arrows]
    y, before = float(_TOP), events[0][0] if events else 0
    labelled: dict[str, float] = {}
    for at, number, end in events:
        y += min(_MOST, (at - before) / MILLISECOND * _PER_MS)
        before = at
        if end == 0:
            source = arrows[number].source
            y = max(y + _LEAST, labelled.get(source, 0.0) + _LABEL)
            labelled[source] = y
        found[number][end] = y
    return [
        (y1, y1 + _LABEL if arrow.arrived is None else y2)
        for arrow, (y1, y2) in zip(arrows, found, strict=True)
    ]


RENDERERS: dict[str, Callable[[Sequence[Arrow], int, Sequence[str]], str]] = {
    "text": draw_text,
    "svg": draw_svg,
}
