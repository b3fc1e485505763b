"""Topology file → Topology. Every problem is found at once and raised in one TopologyError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node.links.settings import Impairments, ImpairmentsError
from orchestrator.topology.document import Document, read_document
from orchestrator.topology.errors import Problem, TopologyError
from orchestrator.topology.expectations import parse_expectation
from orchestrator.topology.model import (
    Link,
    LinkEndpoint,
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
        return topology

    def _node(self, name: str, node: NodeEntry) -> Node:
        network = self._entry.topology
        kind = NodeKind(node.kind or network.defaults.kind)
        common: KindEntry = network.kinds.host if kind is NodeKind.HOST else network.kinds.router
        layers = (network.defaults.transport, common.transport, node.transport)
        return Node(name, kind, {key: value for layer in layers for key, value in layer.given().items()})

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
