"""What shells offer for a parameter, by the parameter's name: a new verb has it by naming its own alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

from orchestrator.cli.support.options import BACKENDS

#: (context, what was typed) → what there is; only what fits is offered.
Offer: TypeAlias = Callable[[click.Context, str], Iterable[str]]
_SUFFIXES = (".lab.yml", ".lab.yaml")


def attach(command: click.Command) -> None:
    """Give the parameters of a command, and of all below it, what completes them."""
    for parameter in command.params:
        offer = OFFERS.get(str(parameter.name))
        if offer is not None and not isinstance(parameter.type, click.Choice):
            parameter.shell_complete = _completing(offer)  # type: ignore[method-assign,assignment]  # click's own hook
    if isinstance(command, click.Group):
        for part in command.commands.values():
            attach(part)


def topology_files(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Return topology files, and the directories in which there may be some."""
    before, slash, _ = incomplete.rpartition("/")
    directory = Path(before + slash or ".")
    try:
        found = sorted(directory.iterdir())
    except OSError:
        return []
    hidden = incomplete.rpartition("/")[2].startswith(".")
    names = [path for path in found if hidden or not path.name.startswith(".")]
    return [
        before + slash + path.name + ("/" if path.is_dir() else "")
        for path in names
        if path.is_dir() or path.name.endswith(_SUFFIXES)
    ]


def labs(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Return the names of labs that are there, and their run ids."""
    from orchestrator.wiring import cleanup

    found = cleanup.list_labs()
    return [*dict.fromkeys(lab.name for lab in found), *(lab.run_id for lab in found)]


def nodes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Return the nodes of the lab that is meant."""
    from orchestrator.wiring import live

    return [node.name for node in live.find(ctx.params.get("lab")).nodes]


def endpoints(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Return the ends of the links of the lab that is meant."""
    from orchestrator.wiring import live

    return [end for link in live.find(ctx.params.get("lab")).links for end in link.name.split("--")]


def links(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Return the links of the lab that is meant, and their ends."""
    from orchestrator.wiring import live

    names = [link.name for link in live.find(ctx.params.get("lab")).links]
    return [*names, *endpoints(ctx, incomplete)]


#: Name of a parameter → what completes it.
OFFERS: dict[str, Offer] = {
    "file": topology_files,
    "topo": topology_files,
    "lab": labs,
    "node": nodes,
    "endpoint": endpoints,
    "link": links,
    "backend": lambda ctx, incomplete: ["auto", *BACKENDS],
}


def _completing(offer: Offer) -> Callable[[click.Context, str], list[CompletionItem]]:
    def complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from orchestrator.errors import TestbedError

        try:
            found = list(offer(ctx, incomplete))
        except (TestbedError, OSError):
            # No lab is up, or it is somebody else's: there is nothing to offer, and nobody to tell.
            return []
        return [CompletionItem(word) for word in found if word.startswith(incomplete)]

    return complete
