"""Topology file → Topology. Every problem is found at once and raised in one TopologyError."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from node.links.settings import Impairments, ImpairmentsError
from node.protocol.time import SECOND, Duration
from orchestrator.topology.document import Document, read_document
from orchestrator.topology.errors import Problem, TopologyError
from orchestrator.topology.expectations import parse_expectation
from orchestrator.topology.model import (
    Link,
    LinkEndpoint,
    Nat,
    NatPorts,
    Node,
    NodeKind,
    Topology,
    WorkloadSpec,
)
from orchestrator.topology.references import check_references, expressions, split_endpoint
from orchestrator.topology.routing import Paths
from orchestrator.topology.schema import (
    BulkEntry,
    KindEntry,
    LinkEntry,
    NodeEntry,
    TopologyFile,
    WorkloadEntry,
)
from orchestrator.topology.structure import check_structure
from orchestrator.topology.timeline import read_timeline

#: Linux's for UDP that was answered once (nf_conntrack_udp_timeout_stream).
NAT_TIMEOUT: Duration = 120 * SECOND


def load(path: Path | str) -> Topology:
    """Return the topology in a file.

    Files that it names are looked for relative to the file's own directory.

    Raises:
        TopologyError: the file cannot be read or is not valid.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(1, 1, f"cannot be read: {error.strerror}", ("check the path",))
        raise TopologyError(str(path), "", [problem]) from error
    return parse(content, file=str(path), directory=path.parent)


def parse(content: bytes, *, file: str, directory: Path | None = None) -> Topology:
    """Return the topology in ``content``.

    Args:
        content: the bytes of a topology file.
        file: its name, for messages.
        directory: where files that it names are looked for; None: they are not looked for.

    Raises:
        TopologyError: it is not valid; every problem found is in it.
    """
    document = read_document(content, file)
    check_references(document)
    entry = check_structure(document)
    document.raise_problems()
    assert entry is not None, "the structure is wrong, and no problem was reported"
    topology = _Builder(document, entry, directory).build()
    document.raise_problems()
    return topology


class _Builder:
    """Turns the models into the topology, and checks what needs both."""

    def __init__(self, document: Document, entry: TopologyFile, directory: Path | None) -> None:
        self._document = document
        self._entry = entry
        self._directory = directory

    def build(self) -> Topology:
        """Return the topology; problems are reported to the document."""
        network = self._entry.topology
        topology = Topology(
            name=self._entry.name,
            description=self._entry.description.strip(),
            nodes=tuple(self._node(name, node or NodeEntry()) for name, node in network.nodes.items()),
            links=tuple(self._link(index, link) for index, link in enumerate(network.links)),
            workloads=tuple(self._flows()),
            expectations=tuple(
                parse_expectation(text, flow)
                for _, flow, text in expressions(self._document.data.get("expect"))
            ),
            seed=self._entry.seed,
            time_limit=int(str(self._entry.time_limit)),
            qlog=self._entry.qlog,
        )
        self._check_paths(topology)
        self._check_nats(topology)
        timeline = read_timeline(self._document, self._entry.timeline, topology)
        return dataclasses.replace(topology, timeline=tuple(timeline))

    def _node(self, name: str, node: NodeEntry) -> Node:
        network = self._entry.topology
        kind = NodeKind(node.kind or network.defaults.kind)
        common: KindEntry = network.kinds.router if kind.forwards else network.kinds.host
        layers = (network.defaults.transport, common.transport, node.transport)
        transport = {key: value for layer in layers for key, value in layer.given().items()}
        return Node(name, kind, transport, self._nat(name, node) if kind is NodeKind.NAT else None)

    def _nat(self, name: str, node: NodeEntry) -> Nat:
        """Return what a NAT router does; its outside is its last interface if it does not say."""
        ends = (
            LinkEndpoint(*split_endpoint(end))
            for link in self._entry.topology.links
            for end in link.endpoints
        )
        interfaces = [end.interface for end in ends if end.node == name]
        path = ("topology", "nodes", name)
        if len(interfaces) < 2:
            advice = "give it a link to the inside and one to the outside"
            self._document.report(path, f"NAT router {name!r} has {len(interfaces)} links", advice, key=True)
        elif node.outside is not None and node.outside not in interfaces:
            advice = f"use one of {', '.join(interfaces)}"
            self._document.report((*path, "outside"), f"{name!r} has no interface {node.outside!r}", advice)
        timeout = node.timeout if isinstance(node.timeout, int) else NAT_TIMEOUT
        outside = node.outside or (interfaces[-1] if interfaces else "")
        return Nat(timeout, outside, NatPorts(node.ports or "preserve"))

    def _check_nats(self, topology: Topology) -> None:
        """Report flows that would have to enter a NAT router from outside, and NAT keys of other nodes."""
        nodes, paths = {node.name: node for node in topology.nodes}, Paths(topology)
        for node, entry in self._entry.topology.nodes.items():
            for key in ("timeout", "outside", "ports"):
                if nodes[node].nat is None and entry is not None and getattr(entry, key) is not None:
                    kind = nodes[node].kind.value
                    self._document.report(
                        ("topology", "nodes", node, key),
                        f"{key}: is for NAT routers, and {node!r} is a {kind}",
                        "write kind: nat, or take it out",
                        key=True,
                    )
        for flow, word in zip(topology.workloads, self._flow_keys(), strict=True):
            here = flow.source
            for hop in paths.links(flow.source, flow.target):
                link = topology.links[hop]
                end = link.b if link.a.node == here else link.a
                nat = nodes[end.node].nat
                if nat is not None and nat.outside == end.interface and end.node != flow.target:
                    self._document.report(
                        ("workloads", word, "to"),
                        f"{flow.target!r} is behind NAT router {end.node!r}: {flow.source!r} cannot reach it",
                        "let the flow begin at the inner node: turn from: and to: around",
                    )
                here = end.node

    def _link(self, index: int, link: LinkEntry) -> Link:
        a, b = (LinkEndpoint(*split_endpoint(end)) for end in link.endpoints)
        both = {**self._entry.topology.defaults.netem.given(), **link.netem.given()}
        return Link(
            a,
            b,
            forward=self._impairments(index, both, "netem-forward", link.netem_forward.given()),
            reverse=self._impairments(index, both, "netem-reverse", link.netem_reverse.given()),
            mtu=link.mtu or self._entry.topology.defaults.mtu,
        )

    def _impairments(
        self, index: int, both: Mapping[str, object], side: str, one_way: Mapping[str, object]
    ) -> Impairments:
        try:
            return Impairments.parse({**both, **one_way})
        except ImpairmentsError as error:
            path = ("topology", "links", index)
            for key, problem in error.problems.items():
                places = ((*path, side, key), (*path, "netem", key), ("topology", "defaults", "netem", key))
                place = next((place for place in places if place in self._document.values), path)
                message, _, advice = problem.partition(": ")
                self._document.report(place, f"{key} {message}", *([advice] if advice else []))
            return Impairments()

    def _flows(self) -> list[WorkloadSpec]:
        listed = self._entry.workloads
        if isinstance(listed, dict):
            return [self._flow(("workloads", name), name, flow) for name, flow in listed.items()]
        return [self._flow(("workloads", index), str(flow.name), flow) for index, flow in enumerate(listed)]

    def _flow(self, path: tuple[str | int, ...], name: str, flow: WorkloadEntry) -> WorkloadSpec:
        options = flow.options()
        if isinstance(flow, BulkEntry):
            self._check_bulk(path, flow, options)
        return WorkloadSpec(
            name=name,
            kind=str(flow.kind),  # type: ignore[attr-defined]  # each kind has its own Literal
            source=flow.from_,
            target=flow.to,
            options=options,
            transport=flow.transport.given(),
            start=int(str(flow.start)),
            restarts=flow.on_crash == "restart",
        )

    def _check_bulk(self, path: tuple[str | int, ...], flow: BulkEntry, options: dict[str, object]) -> None:
        if (flow.file is None) == (flow.size is None):
            found = "both 'file' and 'size'" if flow.file is not None else "neither 'file' nor 'size'"
            self._document.report(
                path, f"a bulk flow with {found}", "give one of them: what to send", key=True
            )
        if flow.file is None or self._directory is None:
            return
        place = (*path, "file")
        found_file = self._directory / flow.file
        if not found_file.is_file():
            advice = "paths start at the topology's directory; to send generated bytes write size: 20MB"
            self._document.report(place, f"there is no file {flow.file!r}", advice)
            return
        options["file"] = str(found_file.resolve())

    def _check_paths(self, topology: Topology) -> None:
        cut, paths = False, Paths(topology)
        for flow, key in zip(topology.workloads, self._flow_keys(), strict=True):
            if flow.target not in paths.reachable(flow.source):
                cut = True
                self._document.report(
                    ("workloads", key, "to"),
                    f"no path from {flow.source!r} to {flow.target!r}",
                    "connect them by links; only nodes of kind router forward",
                )
        first = topology.nodes[0].name
        together = paths.reachable(first)
        alone = [node.name for node in topology.nodes if node.name not in together]
        if alone and not cut:
            self._document.report(
                ("topology", "nodes", alone[0]),
                f"{alone[0]!r} cannot be reached from {first!r}",
                "connect it by links; only nodes of kind router forward",
                key=True,
            )

    def _flow_keys(self) -> list[str | int]:
        listed = self._entry.workloads
        return list(listed) if isinstance(listed, dict) else list(range(len(listed)))
