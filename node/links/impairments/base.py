"""What an impairment is, and what a set of them means: the same on netem, shaper and simulator.

A packet that leaves an endpoint passes these stages, in this order. It is the order of
``netem_enqueue()`` followed by a child that serialises, so kernel and model agree by construction::

    DROP ─► DUPLICATE ─► LOSS ─► CORRUPT ─► DELAY ─► JITTER ─► REORDER ─►( delay line )
                          each copy on its own                              no limit
        ─► SLOT ─► QUEUE ─► RATE ─►
                   drop-tail or AQM

0. *Drop* lists packets by number; a number counts from the start of the run, in this direction.
1. *Duplicate* is drawn once. Then each copy goes alone through everything that follows, with draws
   of its own (netem enqueues the copy again), so both may be lost and both may be delayed differently.
2. *Loss* drops a copy (with *ecn*, it marks one that is ECN-capable instead); *corrupt* flips one bit
   anywhere in the frame, Ethernet header included.
3. *Delay* and *jitter* give the copy's time in the delay line: uniform in delay ± jitter, or by one of
   netem's *distribution* tables with jitter as standard deviation, never below zero. The delay line keeps
   order: it lets a copy out at ``max(now + delay, when the copy before it went out)``. It has no limit
   of its own.
4. *Reorder* lets a copy skip the delay line: out at once, overtaking all that are in it. Only this
   reorders; the copy is not "the copy before it" for anybody. With a *gap* of N the N-1 copies after one
   that skipped do not. *Slot* gathers what comes out of the line, and lets it go in bursts.
5. *Queue* and *rate* are the bottleneck, one server behind the delay line. A copy that arrives from
   the delay line is dropped when ``queue`` packets are already there, the one being serialised
   counted in. Else it leaves at ``max(its arrival, when the packet before it left) + 8 · size / rate``.
   Size is the frame with its Ethernet header, without FCS, as ``qdisc_pkt_len`` counts.
   Without *rate* there is no bottleneck, and a copy is delivered when it leaves the delay line. An *aqm*
   takes the place of the drop-tail queue; with *ecn* it marks where it would drop.

Some impairments only say how another draws (a correlation, a distribution, a burst): they are *modifiers*.
The words that netem needs for them are those of the impairment that they modify, at its place.

Delay line before bottleneck, not behind it, because that is what one device's egress can do. For a
constant delay the two orders deliver every packet at the same instant and drop the same packets (a
FIFO server is shift-invariant); with jitter, a saturated bottleneck smooths it, a free one shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from random import Random
from typing import ClassVar, Protocol, Self, TypeAlias, runtime_checkable

from node.protocol.time import Duration
from node.registry import Registry


class Stage(IntEnum):
    """The order in which impairments act on a packet; see the module's docstring."""

    DROP = 5
    SEED = 6
    ECN = 7
    DUPLICATE_CORRELATION = 8
    DUPLICATE = 10
    BURST = 14
    GEMODEL = 16
    LOSS_STATE = 18
    LOSS = 20
    CORRUPT_CORRELATION = 28
    CORRUPT = 30
    DELAY = 40
    DELAY_CORRELATION = 44
    DISTRIBUTION = 46
    JITTER = 50
    REORDER_CORRELATION = 54
    GAP = 56
    REORDER = 60
    SLOT = 65
    QUEUE = 70
    AQM = 72
    CE_THRESHOLD = 74
    RATE = 80
    TRACE = 85


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
    #: Whether the sender says that the packet may be marked instead of dropped (ECT or CE, RFC 3168 §5).
    ecn_capable: bool = False
    #: Set where the packet is to carry Congestion Experienced.
    marked: bool = False


@dataclass(slots=True)
class Modifiers:
    """What the modifiers of a set say to the impairments that they modify."""

    #: Correlation of each draw with the one before it, from 0 to 1, as netem's get_crandom() makes it.
    duplicate_correlation: float = 0.0
    corrupt_correlation: float = 0.0
    delay_correlation: float = 0.0
    reorder_correlation: float = 0.0
    #: Name of jitter's distribution: uniform, or one of netem's tables.
    distribution: str = "uniform"
    #: Jitter, ns: delay and jitter are one word of netem's.
    jitter: Duration = 0
    #: Mean length of a burst of losses, packets; 0: losses do not depend on one another.
    burst: float = 0.0
    #: Whether another loss model stands in the set, so that loss has no words of its own.
    loss_model: bool = False
    #: After a packet that overtakes, so many less one do not.
    gap: int = 1
    #: Whether ECN-capable packets are marked instead of lost.
    ecn: bool = False


#: What is done to one copy: a function of it and of chance, which may remember.
Decide: TypeAlias = Callable[[PacketFate, Random], None]
#: The words of ``tc … netem``.
Words: TypeAlias = tuple[str, ...]


@runtime_checkable
class Impairment(Protocol):
    """One way in which a link is bad. Implementations are frozen dataclasses.

    A class called without arguments is the impairment switched off: it changes nothing, and its
    ``netem_arguments`` say so explicitly (a netem keeps what a later change does not name). Derive from
    `Quiet` and write what is not like it.
    """

    #: The word in a topology file, which is netem's.
    name: ClassVar[str]
    stage: ClassVar[Stage]
    #: One sentence for the JSON Schema, with an example.
    description: ClassVar[str]
    example: ClassVar[str]
    #: Type of the value in the JSON Schema.
    json_type: ClassVar[str]

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

    def modify(self, modifiers: Modifiers) -> None:
        """Tell the others of the set what they need of this one."""
        ...

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return the words for ``tc … netem``; the sets' words follow one another in stage order.

        Empty for modifiers, for the bottleneck, which is a queueing discipline of its own, and for what
        netem does not have.
        """
        ...

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Return what acts on each copy from now on; None: this does not act on copies by itself."""
        ...


class Quiet:
    """What an impairment has that neither modifies others, nor has words of netem's, nor acts on copies."""

    __slots__ = ()
    json_type: ClassVar[str] = "string"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell the others nothing."""

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return nothing."""
        return ()

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Return nothing."""
        return None


IMPAIRMENTS: Registry[type[Impairment]] = Registry("impairment", "node.links.impairments")
