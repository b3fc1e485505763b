"""Kinds of nodes and links: named settings that inherit from one another, read from the raw data.

A kind of nodes ends in one of those that are built in (``host``, ``router``, …), whose settings may be given
too. A kind of links ends in none. Layers go from the general to the special: the last one wins, key by key.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.topology.document import Document, Value
from orchestrator.topology.errors import suggestion
from orchestrator.topology.model import NodeKind
from orchestrator.topology.quantities import name_problem

BUILT_IN = tuple(kind.value for kind in NodeKind)


class Kinds:
    """The kinds that a file declares, of nodes or of links."""

    def __init__(self, declared: Mapping[str, Value], *, built_in: tuple[str, ...] = (), default: str = ""):
        """Take them as they stand in the file.

        Args:
            declared: name → settings.
            built_in: names that need no declaration.
            default: the kind of what names none, a declared kind too ("": none).
        """
        self._declared = declared
        self._built_in = built_in
        self._default = default
        self._layers: dict[str, tuple[str, ...]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that may be used."""
        return tuple(dict.fromkeys((*self._built_in, *self._declared)))

    def layers(self, name: str | None) -> tuple[str, ...]:
        """Return the kinds that ``name`` is made of, the most general first; a circle is cut."""
        name = name or self._default
        if name not in self._layers:
            chain: list[str] = []
            at: str | None = name
            while at and at in self.names and at not in chain:
                chain.append(at)
                at = None if at in self._built_in else self.parent(at)
            self._layers[name] = tuple(reversed(chain))
        return self._layers[name]

    def root(self, name: str | None) -> str:
        """Return the built-in kind that ``name`` comes down to, the default where it comes down to none."""
        layers = self.layers(name)
        if layers and layers[0] in self._built_in:
            return layers[0]
        return self._built_in[0] if self._built_in else ""

    def parent(self, name: str) -> str | None:
        """Return the kind that a declared one is made from: what it names, or else the default."""
        found = mapping(self._declared.get(name)).get("kind")
        if isinstance(found, str | int):
            return str(found)
        return self._default if self._default != name else None

    def circle(self, name: str) -> tuple[str, ...] | None:
        """Return the circle that a kind is in, from it back to it; None: it is in none."""
        chain, at = [name], self._stated(name)
        while at is not None and at not in chain and at not in self._built_in:
            chain.append(at)
            at = self._stated(at)
        return (*chain, name) if at == name else None

    def _stated(self, name: str) -> str | None:
        found = mapping(self._declared.get(name)).get("kind")
        return str(found) if isinstance(found, str | int) else None


def node_kinds(data: Value) -> Kinds:
    """Return the kinds of nodes in a file's data."""
    network = mapping(mapping(data).get("topology"))
    default = mapping(network.get("defaults")).get("kind", BUILT_IN[0])
    return Kinds(mapping(network.get("kinds")), built_in=BUILT_IN, default=str(default))


def link_kinds(data: Value) -> Kinds:
    """Return the kinds of links in a file's data."""
    return Kinds(mapping(mapping(mapping(data).get("topology")).get("link-kinds")))


def check_kinds(document: Document) -> None:
    """Report every kind that is not known, and every one that is made of itself."""
    network = mapping(document.data.get("topology"))
    nodes, links = node_kinds(document.data), link_kinds(document.data)
    for section, kinds in (("kinds", nodes), ("link-kinds", links)):
        for name, entry in mapping(network.get(section)).items():
            _check_declared(document, section, kinds, name, mapping(entry))
    default = mapping(network.get("defaults")).get("kind")
    _check_used(document, ("topology", "defaults", "kind"), nodes, default)
    for name, entry in mapping(network.get("nodes")).items():
        _check_used(document, ("topology", "nodes", name, "kind"), nodes, mapping(entry).get("kind"))
    listed = network.get("links")
    for index, entry in enumerate(listed if isinstance(listed, list) else []):
        _check_used(document, ("topology", "links", index, "kind"), links, mapping(entry).get("kind"))


def mapping(value: Value) -> dict[str, Value]:
    """Return a mapping as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def _check_declared(
    document: Document, section: str, kinds: Kinds, name: str, entry: Mapping[str, Value]
) -> None:
    path = ("topology", section, name)
    problem = name_problem(name, "kind")
    if problem is not None:
        message, _, advice = problem.partition(": ")
        document.report(path, message, advice, key=True)
    found = entry.get("kind")
    if section == "kinds" and name in BUILT_IN:
        if found is not None:
            document.report((*path, "kind"), f"{name!r} is built in and made of no other", "take kind: out")
        return
    _check_used(document, (*path, "kind"), kinds, found)
    circle = kinds.circle(name)
    if circle is not None:
        shown = " → ".join(circle)
        document.report((*path, "kind"), f"kind {name!r} is made of itself: {shown}", "break the circle")


def _check_used(document: Document, path: tuple[str | int, ...], kinds: Kinds, found: Value) -> None:
    if isinstance(found, str | int) and not isinstance(found, bool) and str(found) not in kinds.names:
        advice = suggestion(str(found), kinds.names) or ("declare it in link-kinds:",)
        document.report(path, f"kind: found {found!r}", *advice)
