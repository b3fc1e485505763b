"""A topology as a drawing: Mermaid, Graphviz DOT, or plain text. Pure text out."""

from __future__ import annotations

import re
from collections.abc import Callable

from node.links.settings import Impairments
from node.links.units import format_duration, format_size
from orchestrator.topology.model import Link, Node, Topology, WorkloadSpec

#: What `flow_label` shows of a workload's options, and how.
_SHOWN_OPTIONS: dict[str, Callable[[object], str]] = {
    "file": lambda value: str(value).rsplit("/", 1)[-1],
    "size": lambda value: format_size(int(str(value))),
    "count": lambda value: f"{value} times",
    "interval": lambda value: f"every {format_duration(int(str(value)))}",
    "rate": lambda value: f"{value}/s",
}


def render_mermaid(topology: Topology) -> str:
    """Return a Mermaid flowchart: GitHub and many editors draw it."""
    lines = ["flowchart LR"]
    for node in topology.nodes:
        shape = f'(["{node.name}"])' if _is_router(node) else f'["{node.name}"]'
        lines.append(f"  {_id(node.name)}{shape}")
    for link in topology.links:
        label = "<br>".join(link_label(link)) or "&nbsp;"
        lines.append(f'  {_id(link.a.node)} ---|"{label}"| {_id(link.b.node)}')
    lines += [
        f'  {_id(flow.source)} -.->|"{flow_label(flow)}"| {_id(flow.target)}' for flow in topology.workloads
    ]
    return "\n".join(lines) + "\n"


def render_dot(topology: Topology) -> str:
    """Return a Graphviz graph: ``narrows graph -f dot lab.yml | dot -Tsvg``."""
    head = ("  rankdir=LR;", "  node [fontname=sans];", "  edge [fontname=sans];")
    lines = [f'digraph "{topology.name}" {{', *head]
    lines += [
        f'  "{node.name}" [shape={"ellipse" if _is_router(node) else "box"}];' for node in topology.nodes
    ]
    for link in topology.links:
        label = "\\n".join(link_label(link))
        ends = f'taillabel="{link.a.interface}", headlabel="{link.b.interface}"'
        lines.append(f'  "{link.a.node}" -> "{link.b.node}" [dir=none, {ends}, label="{label}"];')
    for flow in topology.workloads:
        style = f'style=dashed, constraint=false, label="{flow_label(flow)}"'
        lines.append(f'  "{flow.source}" -> "{flow.target}" [{style}];')
    return "\n".join([*lines, "}"]) + "\n"


def render_text(topology: Topology) -> str:
    """Return the topology for a terminal: nodes, links, flows, expectations."""
    title = f"{topology.name}: {topology.description}" if topology.description else topology.name
    hosts = [node.name for node in topology.nodes if not _is_router(node)]
    routers = [node.name for node in topology.nodes if _is_router(node)]
    lines = [title, "", f"hosts    {', '.join(hosts) or '-'}", f"routers  {', '.join(routers) or '-'}"]
    sections = (
        ("links", [(f"{link.a} -- {link.b}", "; ".join(link_label(link))) for link in topology.links]),
        ("flows", [(f"{flow.source} -> {flow.target}", flow_label(flow)) for flow in topology.workloads]),
        (
            "expect",
            [(found.flow or "every flow", found.text) for found in topology.expectations],
        ),
    )
    for heading, rows in sections:
        if rows:
            width = max(len(left) for left, _ in rows)
            lines += ["", heading, *(f"  {left:{width}}  {right}".rstrip() for left, right in rows)]
    return "\n".join(lines) + "\n"


#: Format → renderer, as ``narrows graph -f`` names them.
RENDERERS: dict[str, Callable[[Topology], str]] = {
    "mermaid": render_mermaid,
    "dot": render_dot,
    "text": render_text,
}


def link_label(link: Link) -> list[str]:
    """Return what a link does, in one line where both ways are alike, else in one for each way."""
    lines: list[str] = []
    if link.forward == link.reverse:
        lines += [_words(link.forward)] if link.forward.items else []
    else:
        lines += [f"→ {_words(link.forward)}", f"← {_words(link.reverse)}"]
    if link.mtu != 1500:
        lines.append(f"mtu {link.mtu}")
    return lines


def flow_label(flow: WorkloadSpec) -> str:
    """Return what a flow does in a few words: ``film: bulk 20MB``."""
    options = [show(flow.options[name]) for name, show in _SHOWN_OPTIONS.items() if name in flow.options]
    start = [f"from {format_duration(flow.start)}"] if flow.start else []
    return f"{flow.name}: {' '.join([flow.kind, *options, *start])}"


def _words(impairments: Impairments) -> str:
    mapping = impairments.to_mapping()
    if not mapping:
        return "clean"
    order = ("delay", "jitter", "rate", "queue")
    first = [name for name in order if name in mapping]
    rest = sorted(name for name in mapping if name not in order)
    return ", ".join(f"{name} {mapping[name]}" for name in (*first, *rest))


def _id(name: str) -> str:
    """Return a Mermaid id: its own words (``end``, ``graph`` …) would break the drawing."""
    return "n_" + re.sub(r"[^A-Za-z0-9]", "_", name)


def _is_router(node: Node) -> bool:
    return node.kind.forwards
