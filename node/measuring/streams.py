"""What a probe sends over one direction of a link, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field


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
