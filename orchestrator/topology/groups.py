"""Groups: ``clients*`` for all nodes (or flows) of such names, and one entry for the flows of many pairs.

Works on the raw data, after the generators and before names are checked: a flow of many becomes flows of one
pair each, called by its name and a number, and every problem with them is reported where they came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate

from orchestrator.topology.document import Document, Path, Value
from orchestrator.topology.errors import suggestion
from orchestrator.topology.kinds import BUILT_IN, Kinds, mapping, node_kinds

#: Flows of all entries together.
MAX_FLOWS = 10_000
#: How pairs are made of sources and targets: each with each, or the first with the first and so on.
PAIRINGS = ("all", "matched")
_OF_MANY = ("pairs", "per-pair")


def is_pattern(name: str) -> bool:
    """Return whether ``name`` stands for several."""
    return "*" in name or "?" in name or "[" in name


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern (``*``, ``?``, ``[…]``) stands for, in their order."""
    match = re.compile(translate(pattern)).match
    return [name for name in names if match(name)]


def expand_flows(document: Document) -> None:
    """Make flows of one pair each out of those of many pairs."""
    listed = document.data.get("workloads")
    if isinstance(listed, dict):
        entries: list[tuple[str | int, Value]] = list(listed.items())
    elif isinstance(listed, list):
        entries = list(enumerate(listed))
    else:
        return
    if not any(_is_of_many(mapping(entry)) for _, entry in entries):
        return
    expander = _Expander(document)
    built: list[tuple[str, Value, Path]] = []
    for key, entry in entries:
        built.extend(expander.flows(key, mapping(entry), entry))
    origins: dict[Path, Path] = {}
    if isinstance(listed, dict):
        document.data["workloads"] = {name: entry for name, entry, _ in built}
        origins = {("workloads", name): path for name, _, path in built if ("workloads", name) != path}
    else:
        document.data["workloads"] = [entry for _, entry, _ in built]
        origins = {("workloads", n): path for n, (_, _, path) in enumerate(built)}
    document.origins.update(origins)


def _is_of_many(entry: dict[str, Value]) -> bool:
    ends = [entry.get("from"), entry.get("to")]
    return any(key in entry for key in _OF_MANY) or any(
        isinstance(end, list) or (isinstance(end, str) and is_pattern(end)) for end in ends
    )


class _Expander:
    """Makes the flows of one file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        network = mapping(document.data.get("topology"))
        self._nodes = mapping(network.get("nodes"))
        self._kinds: Kinds = node_kinds(document.data)
        self._count = 0

    def flows(self, key: str | int, entry: dict[str, Value], raw: Value) -> Iterator[tuple[str, Value, Path]]:
        """Yield name, data and origin of the flows that an entry stands for."""
        path: Path = ("workloads", key)
        name = str(key if isinstance(key, str) else entry.get("name", ""))
        if not _is_of_many(entry):
            yield name, raw, path
            return
        sources, targets = self._ends(path, "from", entry), self._ends(path, "to", entry)
        pairs = None
        per_pair = entry.get("per-pair", 1)
        good = isinstance(per_pair, int) and not isinstance(per_pair, bool) and per_pair >= 1
        if sources is not None and targets is not None and good:
            pairs = self._pairs(path, sources, targets, entry.get("pairs", "all"), int(str(per_pair)))
        if pairs is None:
            self._document.partial = True
            # One flow that stands for all: the rest of the entry is still looked at.
            stand_in = {**entry, "from": (sources or [""])[0], "to": (targets or [""])[-1]}
            self._document.doubtful |= {(*path, "from"), (*path, "to")}
            yield name, stand_in, path
            return
        rest = {word: value for word, value in entry.items() if word not in _OF_MANY}
        made = [pair for pair in pairs for _ in range(int(str(per_pair)))]
        names = [f"{name}-{number}" if len(made) > 1 else name for number in range(1, len(made) + 1)]
        self._document.flow_groups[name] = tuple(names)
        for called, (source, target) in zip(names, made, strict=True):
            flow: dict[str, Value] = {**rest, "from": source, "to": target}
            if isinstance(key, int):
                flow["name"] = called
            yield called, flow, path

    def _ends(self, path: Path, end: str, entry: dict[str, Value]) -> list[str] | None:
        """Return the nodes at one end; None: something is wrong with it."""
        given = entry.get(end)
        names = given if isinstance(given, list) else [given]
        found: list[str] = []
        for index, name in enumerate(names):
            place: Path = (*path, end, index) if isinstance(given, list) else (*path, end)
            if not isinstance(name, str | int) or isinstance(name, bool):
                if given is not None:
                    self._document.report(place, f"{end}: found {name!r}", "write names of hosts")
                return None
            word = str(name)
            if not is_pattern(word):
                if word not in self._nodes:
                    self._document.report(
                        place, f"no node is called {word!r}", *suggestion(word, self._nodes)
                    )
                    return None
                found.append(word)
                continue
            hosts = [node for node in matching(word, self._nodes) if self._runs_flows(node)]
            if not hosts:
                if not self._document.partial:
                    self._document.report(
                        place, f"no host is called {word!r}", *suggestion(word.strip("*"), self._nodes)
                    )
                return None
            found += hosts
        return list(dict.fromkeys(found))

    def _runs_flows(self, node: str) -> bool:
        kind = mapping(self._nodes[node]).get("kind")
        return self._kinds.root(None if kind is None else str(kind)) == BUILT_IN[0]

    def _pairs(
        self, path: Path, sources: Sequence[str], targets: Sequence[str], pairing: Value, per_pair: int
    ) -> list[tuple[str, str]] | None:
        report = self._document.report
        if pairing not in PAIRINGS:
            report((*path, "pairs"), f"pairs: found {pairing!r}", *suggestion(str(pairing), PAIRINGS))
            return None
        matched = pairing == "matched"
        if matched and len(sources) != len(targets):
            message = f"{len(sources)} sources and {len(targets)} targets cannot be matched one to one"
            report((*path, "pairs"), message, "name as many of each, or write pairs: all")
            return None
        both = len(set(sources) & set(targets))
        made = (len(sources) if matched else len(sources) * len(targets) - both) * per_pair
        if self._count + made > MAX_FLOWS:
            message = f"{made:,} flows, with those before it {self._count + made:,}"
            report(path, message, f"make at most {MAX_FLOWS:,} in one file", key=True)
            return None
        self._count += made
        if matched:
            return list(zip(sources, targets, strict=True))
        pairs = [(source, target) for source in sources for target in targets if source != target]
        if not pairs:
            report(path, "a flow from a node to itself", "give it two nodes", key=True)
        return pairs or None


def flows_meant(name: str, sources: Mapping[str, str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the flows that an expectation's ``name`` stands for, in their order.

    Args:
        name: of a flow, of an entry of many flows, or a pattern of flows' names or else of their sources'.
        sources: flow → the node that it comes from.
        groups: entry of many flows → its flows.
    """
    if name in sources:
        return [name]
    if name in groups:
        return list(groups[name])
    if not is_pattern(name):
        return []
    return matching(name, sources) or [flow for flow, node in sources.items() if matching(name, (node,))]
