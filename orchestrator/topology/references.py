"""Checks what one place of the file says about another: names, endpoints, flows, expectations.

Works on the raw data, so that these problems show together with those of the structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.topology.document import Document, Path, Value
from orchestrator.topology.errors import suggestion
from orchestrator.topology.expectations import (
    EXPECTATION_KINDS,
    ExpressionError,
    Subject,
    parse_expectation,
)
from orchestrator.topology.groups import flows_meant
from orchestrator.topology.kinds import check_kinds, node_kinds
from orchestrator.topology.model import Expectation
from orchestrator.topology.quantities import interface_problem, name_problem


def check_references(document: Document) -> None:
    """Report every name that is not allowed, not known, or used twice."""
    _check_name(document, ("name",), _at(document.data, "name"), "lab")
    nodes = _mapping(_at(document.data, "topology", "nodes"))
    for name in nodes:
        _check_name(document, ("topology", "nodes", name), name, "node", key=True)
    if not nodes and _at(document.data, "topology", "nodes") in (None, {}) and not document.partial:
        given = isinstance(_at(document.data, "topology"), dict)
        if given and "nodes" not in _mapping(document.data["topology"]):
            document.report(("topology",), "a topology without nodes", "add nodes: or generate:", key=True)
        elif given:
            document.report(("topology", "nodes"), "nodes is empty", "add at least one to nodes:")
    check_kinds(document)
    _check_links(document, nodes)
    flows = _check_flows(document, nodes)
    _check_expectations(document, flows)


def split_endpoint(text: str) -> tuple[str, str]:
    """Return node and interface of ``lisbon:eth1`` (the interface empty if there is none)."""
    node, _, interface = text.partition(":")
    return node, interface


def entries(value: Value) -> Iterator[tuple[str | int, str | None, dict[str, Value]]]:
    """Yield (key or index, name, flow) of the workloads, however they are written."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield name, name, _mapping(entry)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            given = _mapping(entry).get("name")
            yield index, None if given is None else str(given), _mapping(entry)


def expressions(value: Value) -> Iterator[tuple[Path, str | None, str]]:
    """Yield (path, flow, expression) of the expectations."""
    for index, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, str):
            # In quotes, "film: loss <= 1%" is one text.
            before, colon, after = item.partition(": ")
            yield ("expect", index), before.strip() if colon else None, after.strip() if colon else item
        for flow, text in _mapping(item).items():
            if isinstance(text, str):
                yield ("expect", index, flow), flow, text


def _check_links(document: Document, nodes: dict[str, Value]) -> None:
    used: dict[str, int] = {}
    links = _at(document.data, "topology", "links")
    for index, link in enumerate(links if isinstance(links, list) else []):
        ends = _mapping(link).get("endpoints")
        texts = [end if isinstance(end, str) else "" for end in (ends if isinstance(ends, list) else [])]
        for position, text in enumerate(texts):
            path: Path = ("topology", "links", index, "endpoints", position)
            if text:
                _check_endpoint(document, path, text, nodes, used)
        if len(texts) == 2 and texts[0] and split_endpoint(texts[0])[0] == split_endpoint(texts[1])[0]:
            document.report(
                ("topology", "links", index, "endpoints", 1),
                f"a link from node {split_endpoint(texts[0])[0]!r} to itself",
                "connect it to another node",
            )


def _check_endpoint(
    document: Document, path: Path, text: str, nodes: dict[str, Value], used: dict[str, int]
) -> None:
    node, interface = split_endpoint(text)
    if not interface:
        document.report(path, f"endpoint {text!r} names no interface", f'write "{node}:eth1"')
        return
    if node not in nodes and not document.partial:
        document.report(path, f"no node is called {node!r}", *suggestion(node, nodes))
    problem = interface_problem(interface)
    if problem is not None:
        message, _, advice = problem.partition(": ")
        document.report(path, message, advice)
    if text in used:
        advice = f"the other link is in line {used[text]}: use another interface"
        document.report(path, f"interface {text!r} is in two links", advice)
    used.setdefault(text, document.place(path).line)


def _check_flows(document: Document, nodes: dict[str, Value]) -> dict[str, dict[str, Value]]:
    """Check the flows and return the data of each by name."""
    flows: dict[str, dict[str, Value]] = {}
    routers = _routers(document, nodes)
    for key, name, entry in entries(document.data.get("workloads")):
        path: Path = ("workloads", key)
        if isinstance(key, int) and name is None:
            document.report(path, "'name' is missing in this flow", "add name:, as results call it")
        elif name is not None:
            at = (*path, "name") if isinstance(key, int) else path
            _check_name(document, at, name, "flow", key=not isinstance(key, int))
            if name in flows:
                document.report(at, f"two flows are called {name!r}", "give each its own name")
            if isinstance(key, str) and str(entry.get("name", key)) != key:
                document.report((*path, "name"), f"this flow is already called {key!r}", "take name: out")
            flows[name] = entry
        for end in ("from", "to"):
            _check_flow_end(document, (*path, end), entry.get(end), nodes, routers)
        if entry.get("to") is not None and entry.get("from") == entry.get("to"):
            document.report((*path, "to"), "a flow from a node to itself", "give it two nodes")
        _check_fec(document, path, entry, nodes)
    return flows


def _routers(document: Document, nodes: dict[str, Value]) -> dict[str, str]:
    """Return what each node that runs no flows is."""
    kinds = node_kinds(document.data)
    roots = {name: kinds.root(_kind_of(node)) for name, node in nodes.items()}
    return {name: root for name, root in roots.items() if root != "host"}


def _kind_of(node: Value) -> str | None:
    kind = _mapping(node).get("kind")
    return None if kind is None else str(kind)


def _check_flow_end(
    document: Document, path: Path, found: Value, nodes: dict[str, Value], routers: dict[str, str]
) -> None:
    if not isinstance(found, str | int):
        return
    name = str(found)
    if name not in nodes:
        if not document.partial:
            document.report(path, f"no node is called {name!r}", *suggestion(name, nodes))
    elif name in routers:
        what = "NAT router" if routers[name] == "nat" else "router"
        document.report(
            path,
            f"{name!r} is a {what}, routers run no flows",
            "make it a host, or connect a host to it",
        )


def _check_fec(document: Document, path: Path, entry: dict[str, Value], nodes: dict[str, Value]) -> None:
    """Two settings that do not go together may stand at different places of the file."""
    node = _mapping(nodes.get(str(entry.get("from"))))
    kinds = (
        _at(document.data, "topology", "kinds", kind, "transport")
        for kind in node_kinds(document.data).layers(_kind_of(node))
    )
    layers = (
        _at(document.data, "topology", "defaults", "transport"),
        *kinds,
        node.get("transport"),
        entry.get("transport"),
    )
    settings: dict[str, Value] = {}
    for layer in layers:
        settings.update(_mapping(layer))
    if settings.get("fec", "none") != "none" and settings.get("arq") == "stop-and-wait":
        document.report(
            path,
            f"fec {settings['fec']} with arq stop-and-wait, which has no other packets to repair one with",
            "take fec: none, or another arq, for this flow",
        )


def _check_expectations(document: Document, flows: dict[str, dict[str, Value]]) -> None:
    sources = {name: str(entry.get("from")) for name, entry in flows.items()}
    for path, flow, text in expressions(document.data.get("expect")):
        meant = list(flows) if flow is None else flows_meant(flow, sources, document.flow_groups)
        if flow is not None and not meant:
            if not document.partial:
                known = (*flows, *document.flow_groups)
                document.report(path, f"no flow is called {flow!r}", *suggestion(flow, known), key=True)
            continue
        try:
            expectation = parse_expectation(text, flow)
        except ExpressionError as error:
            message, _, advice = str(error).partition("; ")
            document.report(path, message, *([advice] if advice else []), *error.advice)
            continue
        kind = EXPECTATION_KINDS[expectation.kind]
        if kind.subject is Subject.FLOWS:
            _check_named_flows(document, path, expectation, flows, sources)
            continue
        if kind.subject is Subject.LINK:
            _check_named_link(document, path, expectation)
            continue
        concerned = [flows[name].get("kind") for name in meant]
        if kind.per_flow and not concerned:
            document.report(path, f"{kind.name!r} is about flows, and there are none", "add workloads:")
        elif kind.workloads and not any(found in kind.workloads for found in concerned):
            document.report(
                path,
                f"{kind.name!r} is not measured here: it needs a flow of kind {' or '.join(kind.workloads)}",
                "name such a flow, or add one",
            )


def _check_named_flows(
    document: Document,
    path: Path,
    expectation: Expectation,
    flows: Mapping[str, object],
    sources: Mapping[str, str],
) -> None:
    """Report flows in brackets that there are not, and sets of flows that are too small."""
    if document.partial:
        return
    meant: list[str] = list(flows) if not expectation.arguments else []
    for name in expectation.arguments:
        found = flows_meant(name, sources, document.flow_groups)
        if not found:
            known = (*flows, *document.flow_groups)
            document.report(path, f"no flow is called {name!r}", *suggestion(name, known))
            return
        meant += found
    if len(set(meant)) < 2:
        message = f"{expectation.kind!r} is about two flows at least, and here is {len(set(meant))}"
        document.report(path, message, f"name several: {expectation.kind}(a, b)")


def _check_named_link(document: Document, path: Path, expectation: Expectation) -> None:
    """Report the end of a link in brackets that there is not."""
    links = _at(document.data, "topology", "links")
    known = [
        str(end)
        for link in (links if isinstance(links, list) else [])
        if isinstance(ends := _mapping(link).get("endpoints"), list)
        for end in ends
    ]
    for name in expectation.arguments:
        if name not in known and not document.partial:
            advice = suggestion(name, known)
            document.report(path, f"no link has an end {name!r}: the one that sends is meant", *advice)


def _check_name(document: Document, path: Path, name: Value, what: str, *, key: bool = False) -> None:
    if isinstance(name, str | int) and not isinstance(name, bool):
        problem = name_problem(str(name), what)
        if problem is not None:
            message, _, advice = problem.partition(": ")
            document.report(path, message, *([advice] if advice else []), key=key)


def _at(value: Value, *path: str) -> Value:
    for step in path:
        value = _mapping(value).get(step)
    return value


def _mapping(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}
