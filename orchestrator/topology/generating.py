"""``generate:`` → nodes and links, as if somebody had written them.

Works on the raw data, before names are checked: what is generated and what is written by hand can be joined,
and every problem with it is reported at the generator's own lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from random import Random

from orchestrator.topology.document import Document, Path, Value
from orchestrator.topology.errors import suggestion
from orchestrator.topology.generators.base import GENERATORS, Draft, Generator
from orchestrator.topology.kinds import mapping

#: Of all generators of a file together.
MAX_NODES, MAX_LINKS = 20_000, 60_000
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"n(?::0([1-9]))?")


def generate(document: Document) -> None:
    """Add what the generators make to the nodes and links of ``document``."""
    network = mapping(document.data.get("topology"))
    declared = mapping(network.get("generate"))
    if not declared:
        return
    seed = document.data.get("seed", 1)
    maker = _Maker(document, network, seed if isinstance(seed, int) else 1)
    for group, entry in declared.items():
        maker.add(group, mapping(entry))


class _Maker:
    """Makes nodes and links of one file."""

    def __init__(self, document: Document, network: dict[str, Value], seed: int) -> None:
        self._document = document
        self._seed = seed
        nodes, links = network.get("nodes"), network.get("links")
        self._nodes: dict[str, Value] = mapping(nodes)
        self._links: list[Value] = links if isinstance(links, list) else []
        # What is wrongly written stays as it is, to be complained about.
        if nodes is None or isinstance(nodes, dict):
            network["nodes"] = self._nodes
        if links is None or isinstance(links, list):
            network["links"] = self._links
        self._used = _written_interfaces(self._links)
        self._made = Counter[str]()

    def add(self, group: str, entry: dict[str, Value]) -> None:
        """Add what one generator makes; if it cannot be made, others say why or it is reported here."""
        path: Path = ("topology", "generate", group)
        shape = entry.get("shape")
        if not isinstance(shape, str) or shape not in GENERATORS:
            self._document.partial = True
            return
        generator = GENERATORS[shape]()
        sizes = _sizes(generator, entry)
        patterns = {
            role: str(mapping(entry.get("names")).get(role, found.pattern))
            for role, found in generator.roles.items()
        }
        if sizes is None or not self._fits(path, generator, sizes):
            self._document.partial = True
            return
        draft = Draft()
        generator.draw(draft, sizes, Random(f"{entry.get('seed', self._seed)}/generate/{group}"))
        if not self._patterns_fit(path, group, patterns, draft.counts()):
            self._document.partial = True
            return
        names = self._add_nodes(path, group, patterns, generator, entry, draft)
        self._add_links(path, entry, draft, names)

    def _fits(self, path: Path, generator: Generator, sizes: Mapping[str, int]) -> bool:
        problem = generator.problem(sizes)
        if problem is not None:
            message, _, advice = problem.partition("; ")
            self._document.report(path, message, advice, key=True)
            return False
        nodes, links = generator.count(sizes)
        self._made.update(nodes=nodes, links=links)
        if self._made["nodes"] > MAX_NODES or self._made["links"] > MAX_LINKS:
            asked = f"{self._made['nodes']:,} nodes and {self._made['links']:,} links"
            self._document.report(
                path,
                f"generators up to here make {asked}",
                f"make at most {MAX_NODES:,} and {MAX_LINKS:,}",
                key=True,
            )
            # Others are not to be refused for it.
            self._made["nodes"] -= nodes
            self._made["links"] -= links
            return False
        return True

    def _patterns_fit(
        self, path: Path, group: str, patterns: Mapping[str, str], counts: Counter[str]
    ) -> bool:
        good = True
        for role, pattern in patterns.items():
            words = [found[1] for found in _PLACEHOLDER.finditer(pattern)]
            wrong = [word for word in words if word != "group" and not _NUMBER.fullmatch(word)]
            if wrong:
                advice = suggestion(wrong[0], ("group", "n"))
                self._document.report((*path, "names", role), f"no placeholder {{{wrong[0]}}}", *advice)
                good = False
            elif counts[role] > 1 and not any(_NUMBER.fullmatch(word) for word in words):
                message = f"{pattern!r} would name {counts[role]} nodes of {group}"
                self._document.report((*path, "names", role), message, f"put {{n}} into it: {pattern}{{n}}")
                good = False
        return good

    def _add_nodes(
        self,
        path: Path,
        group: str,
        patterns: Mapping[str, str],
        generator: Generator,
        entry: dict[str, Value],
        draft: Draft,
    ) -> list[str]:
        document, names, numbers = self._document, [], Counter[str]()
        settings = {role: _settings(mapping(entry.get("nodes")).get(role)) for role in generator.roles}
        for role in draft.nodes:
            numbers[role] += 1
            name = _filled(patterns[role], group, numbers[role])
            names.append(name)
            if name in self._nodes:
                first = document.place(("topology", "nodes", name), key=True)
                advice = (
                    f"the other is in {document.shown(first)}: give names: {{{role}: …}} to tell them apart"
                )
                document.report(
                    (*path, "names", role), f"{group} makes a second node {name!r}", advice, key=True
                )
                continue
            self._nodes[name] = {"kind": generator.roles[role].kind, **settings[role]}
            document.origins["topology", "nodes", name] = (*path, "nodes", role)
        return names

    def _add_links(self, path: Path, entry: dict[str, Value], draft: Draft, names: list[str]) -> None:
        settings = mapping(entry.get("links"))
        next_number = Counter[str]()
        for role, a, b in draft.links:
            ends: list[Value] = [self._free_interface(names[end], next_number) for end in (a, b)]
            self._document.origins["topology", "links", len(self._links)] = (*path, "links", role)
            self._links.append({**_settings(settings.get(role)), "endpoints": ends})

    def _free_interface(self, node: str, next_number: Counter[str]) -> str:
        while True:
            next_number[node] += 1
            end = f"{node}:eth{next_number[node]}"
            if end not in self._used:
                self._used.add(end)
                return end


def _sizes(generator: Generator, entry: Mapping[str, Value]) -> dict[str, int] | None:
    """Return the sizes, or None if one is missing or wrong: the schema says which."""
    sizes: dict[str, int] = {}
    for name, size in generator.sizes.items():
        value = entry.get(name, size.default)
        if not isinstance(value, int) or isinstance(value, bool) or value < size.least:
            return None
        sizes[name] = value
    return sizes


def _settings(value: Value) -> dict[str, Value]:
    """Return settings that may be written as the name of a kind alone."""
    return {"kind": value} if isinstance(value, str) else mapping(value)


def _filled(pattern: str, group: str, number: int) -> str:
    def fill(found: re.Match[str]) -> str:
        if found[1] == "group":
            return group
        width = _NUMBER.fullmatch(found[1])
        return str(number).zfill(int(width[1]) if width is not None and width[1] else 0)

    return _PLACEHOLDER.sub(fill, pattern)


def _written_interfaces(links: list[Value]) -> set[str]:
    """Return the endpoints that links written by hand have taken."""
    found: set[str] = set()
    for link in links:
        ends = mapping(link).get("endpoints")
        found.update(end for end in (ends if isinstance(ends, list) else []) if isinstance(end, str))
    return found
