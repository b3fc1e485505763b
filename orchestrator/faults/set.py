"""Changed impairments of links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from node.links.settings import Impairments
from orchestrator.faults.base import FAULTS, FaultError, LinkFault, View
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.netem_changes import NetemChanges
from orchestrator.topology.quantities import NameText

_SIDES = ("netem", "netem-forward", "netem-reverse")


@FAULTS.register("set")
class Set(LinkFault):
    """Changes the named impairments of a link, and only these; ``none`` takes one out."""

    name: ClassVar[str] = "set"
    summary: ClassVar[str] = "Change the named impairments of a link; none takes one out."
    example: ClassVar[str] = '{link: "a:eth1", netem: {loss: 5%}}'
    shape: ClassVar[Any] = {"link": NameText, **dict.fromkeys(_SIDES, NetemChanges | None)}

    def __init__(self, value: Any, view: View) -> None:
        links = view.links_at(value["link"], path=("link",))
        if len(links) > 1:
            names = ", ".join(f"{a}--{b}" for a, b in links)
            raise FaultError(
                f"{value['link']!r} has {len(links)} links", f"name one of them: {names}", path=("link",)
            )
        a, b = links[0]
        both = _changes(value, "netem")
        changes = {
            a: {**both, **_changes(value, "netem-forward")},
            b: {**both, **_changes(value, "netem-reverse")},
        }
        self._changes: Mapping[LinkEndpoint, Mapping[str, object | None]] = {
            end: found for end, found in changes.items() if found
        }
        if not self._changes:
            raise FaultError("nothing is changed", "add netem:, netem-forward: or netem-reverse:")
        self.endpoints = tuple(self._changes)

    @classmethod
    def value_of(cls, words: list[str]) -> object:
        """Return the link and its changes, written ``a:eth1 loss=5% forward.delay=20ms``."""
        value: dict[str, object] = {"link": words[0]}
        for word in words[1:]:
            key, _, text = word.partition("=")
            side, dot, name = key.rpartition(".")
            place = value.setdefault(f"netem-{side}" if dot else "netem", {})
            assert isinstance(place, dict)
            place[name] = text
        return value

    def claims(self) -> tuple[str, ...]:
        """Return each impairment of each direction."""
        return tuple(f"set {end} {name}" for end, changes in self._changes.items() for name in changes)

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Change what is named."""
        return impairments.replace(self._changes[endpoint])

    def __str__(self) -> str:
        """Return each end with what is changed there."""
        return "; ".join(
            f"{end}: " + ", ".join(f"{name} {text or 'none'}" for name, text in changes.items())
            for end, changes in self._changes.items()
        )


def _changes(value: Mapping[str, Any], side: str) -> dict[str, object | None]:
    return {name: None if text == "none" else text for name, text in (value.get(side) or {}).items()}
