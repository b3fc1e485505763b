"""What a probe sends over one direction of a link, what came of it, and who can send it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stream:
    """Frames to be sent by one end of a link."""

    count: int
    #: Bytes of each with its Ethernet header.
    size: int
    #: ns from one to the next.
    interval: int
    #: Frames that leave at once, of streams that nobody could send one by one.
    together: int = 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """One frame that came out of the link."""

    number: int
    #: ns, on the clock of the departures.
    at: int
    damaged: bool = False


@dataclass(slots=True)
class Observed:
    """What became of a stream."""

    stream: Stream
    #: When each frame was sent, by number.
    departures: list[int] = field(default_factory=list)
    #: In order of arrival.
    arrivals: list[Arrival] = field(default_factory=list)
    #: Frames larger than the link's MTU that came out: bursts that nobody has split.
    oversize: int = 0


@dataclass(frozen=True, slots=True)
class Burst:
    """Datagrams that a node handed to its kernel in one call, and as how many packets they were seen."""

    datagrams: int
    at_sender: int
    #: None: nobody can look there.
    on_link: int | None
    #: Frames larger than the link's MTU that came out of it meanwhile.
    oversize: int = 0


class Prober(Protocol):
    """Sends streams over the links of a lab that is up."""

    #: Whether time is virtual: then nothing but the link moves a frame.
    exact: bool

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Args:
            streams: by the end that sends, as ``lisbon:eth1``.
            linger: how long to wait after the last frame for those on their way, ns.

        Raises:
            TestbedError: it cannot send or receive.
        """
        ...

    def close(self) -> None:
        """Let go of what it needs."""
        ...

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Have the node of each end send one large burst for the kernel to split, and return by end what was
        seen of it; an end that cannot send one is not there.

        Raises:
            TestbedError: it cannot send or receive.
        """
        ...
