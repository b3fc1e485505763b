"""Topology file → Topology. Every problem is found at once and raised in one TopologyError."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from stat import S_ISREG

from node.links.settings import Impairments, ImpairmentsError
from node.protocol.configuration import Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.errors import LocalProtocolError
from node.protocol.time import SECOND, Duration
from node.registry import UnknownNameError
from node.transports.base import STRAIT, TRANSPORTS, check_settings
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.document import Document, read_document
from orchestrator.topology.document import Path as Steps
from orchestrator.topology.errors import Problem, TopologyError
from orchestrator.topology.expectations import EXPECTATION_KINDS, Subject, parse_expectation
from orchestrator.topology.extending import extend
from orchestrator.topology.flow_options import check_flows
from orchestrator.topology.generating import generate
from orchestrator.topology.groups import expand_flows, flows_meant
from orchestrator.topology.kinds import link_kinds, node_kinds
from orchestrator.topology.model import (
    Case,
    CaseBreak,
    Expectation,
    IpVersion,
    Link,
    LinkEndpoint,
    Nat,
    NatPorts,
    Node,
    NodeKind,
    Topology,
    WorkloadSpec,
)
from orchestrator.topology.overriding import override_transport
from orchestrator.topology.parameters import parameter_texts, substitute
from orchestrator.topology.planning import effective_transport, family_of
from orchestrator.topology.references import check_references, expressions, split_endpoint
from orchestrator.topology.routing import MAX_LINKS, Paths
from orchestrator.topology.schema import BulkEntry, FilesEntry, IncastEntry, WorkloadEntry
from orchestrator.topology.schema_file import TopologyFile
from orchestrator.topology.schema_network import KindEntry, LinkEntry, LinkSettings, NodeEntry
from orchestrator.topology.structure import check_structure
from orchestrator.topology.timeline import read_timeline
from orchestrator.topology.trace_files import with_trace

#: Linux's for UDP that was answered once (nf_conntrack_udp_timeout_stream).
NAT_TIMEOUT: Duration = 120 * SECOND


def load(
    path: Path | str,
    parameters: Mapping[str, str] | None = None,
    *,
    transport: Mapping[str, str] | None = None,
) -> Topology:
    """Return the topology in a file.

    Files that it names are looked for relative to the file's own directory.

    Args:
        path: the file.
        parameters: values that take the place of those of the file's ``parameters:``, as text.
        transport: settings of the transport for every flow, over the file's, as text.

    Raises:
        TopologyError: the file cannot be read or is not valid.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(1, 1, f"cannot be read: {error.strerror}", ("check the path",))
        raise TopologyError(str(path), "", [problem]) from error
    return parse(content, file=str(path), directory=path.parent, parameters=parameters, transport=transport)


def parse(
    content: bytes,
    *,
    file: str,
    directory: Path | None = None,
    parameters: Mapping[str, str] | None = None,
    transport: Mapping[str, str] | None = None,
) -> Topology:
    """Return the topology in ``content``.

    Args:
        content: the bytes of a topology file.
        file: its name, for messages.
        directory: where files that it names are looked for; None: they are not looked for.
        parameters: values that take the place of the file's own, as text.
        transport: settings of the transport for every flow, over the file's, as text.

    Raises:
        TopologyError: it is not valid; every problem found is in it.
    """
    document = extend(read_document(content, file), directory)
    declared = document.data.get("parameters")
    substitute(document, parameters or {})
    override_transport(document, transport or {})
    generate(document)
    expand_flows(document)
    check_references(document)
    entry = check_structure(document)
    document.raise_problems()
    assert entry is not None, "the structure is wrong, and no problem was reported"
    topology = _Builder(document, entry, directory).build()
    document.raise_problems()
    return dataclasses.replace(topology, parameters=tuple(declared) if isinstance(declared, dict) else ())


class _Builder:
    """Turns the models into the topology, and checks what needs both."""

    def __init__(self, document: Document, entry: TopologyFile, directory: Path | None) -> None:
        self._document = document
        self._entry = entry
        self._directory = directory
        self._node_kinds = node_kinds(document.data)
        self._link_kinds = link_kinds(document.data)
        #: Sets that many links share are parsed once: what was given → impairments.
        self._parsed: dict[tuple[tuple[str, object], ...], Impairments] = {}

    def build(self) -> Topology:
        """Return the topology; problems are reported to the document."""
        network = self._entry.topology
        flows = tuple(self._flows())
        topology = Topology(
            name=self._entry.name,
            description=self._entry.description.strip(),
            nodes=tuple(self._node(name, node or NodeEntry()) for name, node in network.nodes.items()),
            links=tuple(self._link(index, link) for index, link in enumerate(network.links)),
            workloads=flows,
            expectations=tuple(self._expectations({flow.name: flow.source for flow in flows})),
            seed=self._entry.seed,
            time_limit=int(str(self._entry.time_limit)),
            qlog=self._entry.qlog,
            labels=self._entry.labels,
            calibrate=None if self._entry.calibrate is None else Calibrate(self._entry.calibrate),
            repeats=self._entry.repeats,
            case=self._case(),
        )
        self._check_paths(topology)
        self._check_nats(topology)
        self._check_transports(topology)
        check_flows(self._document, self._flow_keys(), topology)
        timeline = read_timeline(self._document, self._entry.timeline, topology)
        return dataclasses.replace(topology, timeline=tuple(timeline))

    def _case(self) -> Case | None:
        entry = self._entry.case
        if entry is None:
            return None
        expected = expressions(self._document.data.get("expect"))
        written = {text if flow is None else f"{flow}: {text}" for _, flow, text in expected}
        for index, each in enumerate(entry.breaks):
            if each.misses not in written:
                advice = "write it as it stands in expect:"
                path = ("case", "breaks", index, "misses")
                self._document.report(path, f"nothing expects {each.misses!r}", advice)
        return Case(
            entry.letter,
            entry.group,
            tuple(CaseBreak(parameter_texts(each.set_), each.misses) for each in entry.breaks),
            {backend: parameter_texts(given) for backend, given in entry.on.items()},
        )

    def _expectations(self, sources: Mapping[str, str]) -> Iterator[Expectation]:
        for _, flow, text in expressions(self._document.data.get("expect")):
            if flow is None:
                yield self._with_flows(parse_expectation(text, None), sources)
                continue
            for meant in flows_meant(flow, sources, self._document.flow_groups):
                yield parse_expectation(text, meant)

    def _with_flows(self, expectation: Expectation, sources: Mapping[str, str]) -> Expectation:
        """Let an expectation of several flows name each of them, where it names groups or patterns."""
        if EXPECTATION_KINDS[expectation.kind].subject is not Subject.FLOWS:
            return expectation
        groups = self._document.flow_groups
        meant = [flow for name in expectation.arguments for flow in flows_meant(name, sources, groups)]
        return dataclasses.replace(expectation, arguments=tuple(dict.fromkeys(meant)))

    def _node(self, name: str, node: NodeEntry) -> Node:
        network = self._entry.topology
        kinds = [network.kinds.get(kind) or KindEntry() for kind in self._node_kinds.layers(node.kind)]
        layers = (network.defaults.transport, *(kind.transport for kind in kinds), node.transport)
        transport = {key: value for layer in layers for key, value in layer.given().items()}
        kind = NodeKind(self._node_kinds.root(node.kind))
        return Node(name, kind, transport, self._nat(name, node, kinds) if kind is NodeKind.NAT else None)

    def _nat(self, name: str, node: NodeEntry, kinds: Sequence[NodeEntry]) -> Nat:
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
        layers = (*kinds, node)
        timeouts = [layer.timeout for layer in layers if isinstance(layer.timeout, int)]
        outsides = [layer.outside for layer in layers if layer.outside is not None]
        ports = [layer.ports for layer in layers if layer.ports is not None]
        return Nat(
            timeouts[-1] if timeouts else NAT_TIMEOUT,
            outsides[-1] if outsides else interfaces[-1] if interfaces else "",
            NatPorts(ports[-1] if ports else "preserve"),
        )

    def _check_transports(self, topology: Topology) -> None:
        """Report settings that a flow's transport does not have; they may stand at its node."""
        for flow, key in zip(topology.workloads, self._flow_keys(), strict=True):
            settings = effective_transport(topology.node(flow.source), flow)
            protocol = str(settings.get("protocol", STRAIT))
            try:
                if protocol == STRAIT:
                    CONTROLLERS[str(settings.get("congestion", Configuration().congestion))]
                else:
                    check_settings(TRANSPORTS[protocol], flow.kind, settings)
            except (LocalProtocolError, UnknownNameError) as error:
                message, _, advice = str(error).replace(": use", "; use").partition("; ")
                self._document.report(
                    ("workloads", key, "transport"), message, *([advice] if advice else []), key=True
                )

    def _check_nats(self, topology: Topology) -> None:
        """Report flows that would have to enter a NAT router from outside, and NAT keys of other nodes."""
        nodes, paths = {node.name: node for node in topology.nodes}, Paths(topology)
        for index, link in enumerate(topology.links):
            if 6 in link.ip.families and any(nodes[end.node].nat for end in (link.a, link.b)):
                place = ("topology", "links", index, "ip")
                self._document.report(
                    place,
                    "NAT routers translate IPv4 only: IPv6 has addresses enough, its NAT is not customary",
                    "write ip: 4 for their links",
                    "or make the node kind: router, which carries IPv6 as it is",
                )
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
        defaults, declared = self._entry.topology.defaults, self._entry.topology.link_kinds
        # The last one wins: kinds from the general to the special, then the link itself.
        names = self._link_kinds.layers(link.kind)
        layers: list[LinkSettings] = [*(declared[name] for name in names), link]
        mtus = [layer.mtu for layer in layers if layer.mtu is not None]
        ips = [layer.ip for layer in layers if layer.ip is not None]
        return Link(
            a,
            b,
            forward=self._impairments(index, layers, names, "netem-forward"),
            reverse=self._impairments(index, layers, names, "netem-reverse"),
            mtu=mtus[-1] if mtus else defaults.mtu,
            ip=IpVersion(str(ips[-1] if ips else defaults.ip)),
        )

    def _impairments(
        self, index: int, layers: list[LinkSettings], kinds: tuple[str, ...], side: str
    ) -> Impairments:
        given = dict(self._entry.topology.defaults.netem.given())
        for layer in layers:
            one_way = layer.netem_forward if side == "netem-forward" else layer.netem_reverse
            given |= {**layer.netem.given(), **one_way.given()}
        key = tuple(sorted(given.items()))
        if key not in self._parsed:
            try:
                self._parsed[key] = Impairments.parse(with_trace(given, self._directory))
            except ImpairmentsError as error:
                self._blame(error, ("topology", "links", index), kinds, side)
                return Impairments()
        return self._parsed[key]

    def _blame(self, error: ImpairmentsError, path: Steps, kinds: tuple[str, ...], side: str) -> None:
        """Report what is wrong with a set of impairments where each of them was given."""
        owners: list[Steps] = [path, *(("topology", "link-kinds", kind) for kind in reversed(kinds))]
        for key, problem in error.problems.items():
            places: list[Steps] = [(*owner, section, key) for owner in owners for section in (side, "netem")]
            places.append(("topology", "defaults", "netem", key))
            place = next((place for place in places if self._document.has(place)), path)
            message, _, advice = problem.partition(": ")
            self._document.report(place, f"{key} {message}", *([advice] if advice else []))

    def _flows(self) -> list[WorkloadSpec]:
        listed = self._entry.workloads
        if isinstance(listed, dict):
            return [self._flow(("workloads", name), name, flow) for name, flow in listed.items()]
        return [self._flow(("workloads", index), str(flow.name), flow) for index, flow in enumerate(listed)]

    def _flow(self, path: tuple[str | int, ...], name: str, flow: WorkloadEntry) -> WorkloadSpec:
        options = flow.options()
        if isinstance(flow, BulkEntry):
            self._check_bulk(path, flow, options)
        if isinstance(flow, FilesEntry):
            self._check_files(path, flow, options)
        if isinstance(flow, IncastEntry):
            options |= self._meeting(name, flow)
        return WorkloadSpec(
            name=name,
            kind=str(flow.kind),  # type: ignore[attr-defined]  # each kind has its own Literal
            source=flow.from_,
            target=flow.to,
            options=options,
            transport=flow.transport.given(),
            start=int(str(flow.start)),
            restarts=flow.on_crash == "restart",
            connections=flow.connections,
        )

    def _meeting(self, name: str, flow: IncastEntry) -> dict[str, object]:
        """Return what an incast's target is told of the flows that it waits for: those of one entry."""
        groups = self._document.flow_groups
        group = next((group for group, members in groups.items() if name in members), name)
        names, listed = groups.get(group, (name,)), self._entry.workloads
        named = listed.items() if isinstance(listed, dict) else ((str(each.name), each) for each in listed)
        return {
            "group": group,
            "members": sum(other in names and each.to == flow.to for other, each in named),
        }

    def _check_bulk(self, path: tuple[str | int, ...], flow: BulkEntry, options: dict[str, object]) -> None:
        if (flow.file is None) == (flow.size is None):
            found = "both 'file' and 'size'" if flow.file is not None else "neither 'file' nor 'size'"
            self._document.report(
                path, f"a bulk flow with {found}", "give one of them: what to send", key=True
            )
        if flow.file is not None and self._directory is not None:
            options["file"] = self._found((*path, "file"), self._directory, flow.file, "size: 20MB")

    def _check_files(self, path: tuple[str | int, ...], flow: FilesEntry, options: dict[str, object]) -> None:
        if (flow.files is None) == (flow.sizes is None):
            found = "both 'files' and 'sizes'" if flow.files is not None else "neither 'files' nor 'sizes'"
            self._document.report(
                path, f"a files flow with {found}", "give one of them: what to send", key=True
            )
        if flow.files is not None and self._directory is not None:
            options["files"] = [
                self._found((*path, "files", index), self._directory, name, "sizes: [20MB]")
                for index, name in enumerate(flow.files)
            ]

    def _found(self, place: tuple[str | int, ...], directory: Path, name: str, generated: str) -> str:
        """Return the path of a file to send; report it if it is not there."""
        found = self._document.directory_of(place, directory) / name
        try:
            if not S_ISREG(found.stat().st_mode):
                self._document.report(place, f"{name!r} is no regular file", "name a file")
            else:
                found.open("rb").close()
        except FileNotFoundError:
            advice = f"paths start at the topology's directory; to send generated bytes write {generated}"
            self._document.report(place, f"there is no file {name!r}", advice)
        except OSError as error:
            message = f"{name!r} cannot be read: {error.strerror}"
            self._document.report(place, message, f"let it be read, or write {generated}")
        return str(found.resolve())

    def _check_paths(self, topology: Topology) -> None:
        family = family_of(topology)
        cut, paths, by_family = False, Paths(topology), Paths(topology, family)
        for flow, key in zip(topology.workloads, self._flow_keys(), strict=True):
            place, between = ("workloads", key, "to"), f"from {flow.source!r} to {flow.target!r}"
            if not paths.joined(flow.source, flow.target):
                cut = True
                advice = "connect them by links; only nodes of kind router forward"
                self._document.report(place, f"no path {between}", advice)
            elif not by_family.joined(flow.source, flow.target):
                self._document.report(place, f"no path {between} by IPv{family}", _one_family(topology, flow))
            elif (length := len(by_family.links(flow.source, flow.target))) > MAX_LINKS:
                advice = f"packets live for {MAX_LINKS} links: bring the two nearer to each other"
                self._document.report(place, f"the path {between} has {length} links", advice)
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


def _one_family(topology: Topology, flow: WorkloadSpec) -> str:
    """Advise what to do for a flow that has a path, but not one of IPv4 all along."""
    by_ipv6 = Paths(topology, 6)
    others = [other.name for other in topology.workloads if not by_ipv6.joined(other.source, other.target)]
    if flow.name in others:
        return "give all links of a path the same ip:, or ip: dual"
    return (
        f"there is one by IPv6, which flow {others[0]!r} lacks, and all flows of a lab use the same IP: "
        "give the links of either path ip: dual, or make it two topologies"
    )
