"""One direction through the shaper: the model, what the driver adds to its counters, and its warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from random import Random

from node.links.model import LinkModel
from node.links.settings import Impairments


class Direction:
    """A link model with what can go wrong around it.

    Args:
        name: ``forward``, ``reverse`` or ``inbound``.
        impairments: what it does at first.
        seed: text that seeds its chance, together with its name.
    """

    def __init__(self, name: str, impairments: Impairments, seed: str) -> None:
        self.name = name
        self.model = LinkModel(impairments, Random(f"{seed}/{name}"))
        #: Called when the model was told to do something else.
        self.on_set: Callable[[], None] = lambda: None
        #: Frames longer than the MTU allows: an offload left bursts whole.
        self.oversized = 0
        #: Of the first hundred frames, those with a checksum that an offload left unfinished.
        self.unchecksummed = 0
        #: Frames that the kernel did not take when they were due.
        self.unsendable = 0
        #: Frames dropped since the shaper already held as much as it may.
        self.refused = 0

    def counters(self) -> dict[str, int]:
        """Return all counters by name: the model's, then the driver's."""
        return {
            **asdict(self.model.counters()),
            "oversized": self.oversized,
            "unchecksummed": self.unchecksummed,
            "unsendable": self.unsendable,
            "refused": self.refused,
        }
