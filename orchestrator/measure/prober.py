"""Who can send measuring streams over the links of a lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from node.measuring.streams import Burst, Observed, Stream


@dataclass(frozen=True, slots=True)
class Limits:
    """What a prober cannot do."""

    #: Trains that cross at the same time, bits a second together: what can be sent and read at once.
    together: int = 400_000_000
    #: How long a train takes to pass the bottleneck, ns: longer where whoever reads it stamps it.
    train_time: int = 100_000_000
    #: Sending end → quantity → why it cannot be judged there.
    unseen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: What readers of the results are to know of how they were had.
    notes: tuple[str, ...] = ()


class Prober(Protocol):
    """Sends streams over the links of a lab that is up."""

    #: Whether time is virtual: then nothing but the link moves a frame.
    exact: bool
    limits: Limits

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Args:
            streams: by the end that sends, as ``lisbon:eth1``.
            linger: how long to wait after the last frame for those on their way, ns.

        Raises:
            TestbedError: it cannot send or receive.
        """
        ...

    async def close(self) -> None:
        """Let go of what it needs."""
        ...

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Have the node of each end send one large burst for the kernel to split, and return by end what was
        seen of it; an end that cannot send one is not there.

        Raises:
            TestbedError: it cannot send or receive.
        """
        ...
