"""What an impairment is, and what a set of them means: the same on netem, shaper and simulator.

A packet that leaves an endpoint passes these stages, in this order. It is the order of
``netem_enqueue()`` followed by a child that serialises, so kernel and model agree by construction::

    DUPLICATE ─► LOSS ─► CORRUPT ─► DELAY ─► JITTER ─► REORDER ─►( delay line )─► QUEUE ─► RATE ─►
               each copy on its own                              no limit          drop-tail

1. *Duplicate* is drawn once. Then each copy goes alone through everything that follows, with draws
   of its own (netem enqueues the copy again), so both may be lost and both may be delayed differently.
2. *Loss* drops a copy; *corrupt* flips one bit anywhere in the frame, Ethernet header included.
3. *Delay* and *jitter* give the copy's time in the delay line: uniform in delay ± jitter (netem
   without a distribution), never below zero. The delay line keeps order: it lets a copy out at
   ``max(now + delay, when the copy before it went out)``. It has no limit of its own.
4. *Reorder* lets a copy skip the delay line: out at once, overtaking all that are in it. Only this
   reorders; the copy is not "the copy before it" for anybody.
5. *Queue* and *rate* are the bottleneck, one server behind the delay line. A copy that arrives from
   the delay line is dropped when ``queue`` packets are already there, the one being serialised
   counted in. Else it leaves at ``max(its arrival, when the packet before it left) + 8 · size / rate``.
   Size is the frame with its Ethernet header, without FCS, as ``qdisc_pkt_len`` counts.
   Without *rate* there is no bottleneck, and a copy is delivered when it leaves the delay line.

Delay line before bottleneck, not behind it, because that is what one device's egress can do. For a
constant delay the two orders deliver every packet at the same instant and drop the same packets (a
FIFO server is shift-invariant); with jitter, a saturated bottleneck smooths it, a free one shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import ClassVar, Protocol, Self, runtime_checkable

from node.protocol.time import Duration
from node.registry import Registry


class Stage(IntEnum):
    """The order in which impairments act on a packet; see the module's docstring."""

    DUPLICATE = 10
    LOSS = 20
    CORRUPT = 30
    DELAY = 40
    JITTER = 50
    REORDER = 60
    QUEUE = 70
    RATE = 80


@dataclass(slots=True)
class PacketFate:
    """What has been decided about one copy of a packet so far. Mutated stage by stage."""

    #: Frame size in bytes, Ethernet header included.
    size: int
    #: Time in the delay line, ns, zero or more once all stages are through.
    delay_ns: Duration = 0
    #: Set by loss; nothing after it is drawn.
    dropped: bool = False
    #: How many copies go on; only the DUPLICATE stage changes it.
    copies: int = 1
    #: Bits to flip, counted from the first bit of the frame (most significant bit of byte 0 is 0).
    corrupt_bits: tuple[int, ...] = ()
    #: Set by reorder: skips the delay line.
    reordered: bool = False


@runtime_checkable
class Impairment(Protocol):
    """One way in which a link is bad. Implementations are frozen dataclasses.

    A class called without arguments is the impairment switched off: it changes nothing, and its
    ``netem_arguments`` say so explicitly (a netem keeps what a later change does not name).
    """

    #: The word in a topology file, which is netem's.
    name: ClassVar[str]
    stage: ClassVar[Stage]
    #: One sentence for the JSON Schema, with an example.
    description: ClassVar[str]
    example: ClassVar[str]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the impairment written as ``value`` in a topology file.

        Raises:
            UnitError: the value cannot be read; the message says how to write it.
        """
        ...

    def format(self) -> str:
        """Return the value as ``parse`` reads it."""
        ...

    def netem_arguments(self) -> tuple[str, ...]:
        """Return the words for ``tc … netem``; the sets' words follow one another in stage order.

        Empty for the bottleneck (rate, queue), which is a queueing discipline of its own.
        """
        ...

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Let this impairment act on one copy. Does nothing for the bottleneck: it needs a queue."""
        ...


IMPAIRMENTS: Registry[type[Impairment]] = Registry("impairment", "node.links.impairments")
