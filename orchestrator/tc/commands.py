"""Impairments → tc's argument lists. The kernel then does what `node.links.impairments.base` says.

One device's egress, in the order in which a packet passes it::

    1:  netem    duplicate, loss, corrupt, delay ± jitter, reorder; a limit that never bites
    └── 40: netem    slot, if there is one: what stands below has 1000 (hexadecimal) added to its handle
        └── the bottleneck, if there is a rate:
            10: netem    rate, limit = the user's queue: serialises each packet exactly
         or 20: tbf      rate, where packets are duplicated (see below), or another queue is wanted
            └── 21: pfifo, 22: bfifo   limit = the user's queue
             or 23: codel    limit = the user's queue, and marks by ce_threshold
             or 24: codel, 25: fq_codel, 26: red, 27: pie   with the user's queue as limit
         or 28: htb      rate, where a trace changes it (see `traces`); below its class as below tbf
         or 30: pfifo    no rate: lets everything through

Traps that this avoids, each seen in a kernel:

* *Delay and rate in one netem* make one queue of both: its ``limit`` counts the packets in flight too,
  and jitter vanishes (each packet's time starts from the time of the one before). Hence two stages.
* *Jitter reorders*: netem sorts packets by their time. With any ``rate`` a netem instead takes the time of
  the last packet as the earliest for the next, so the first stage has a rate that nothing reaches. Only
  packets chosen by ``reorder`` then overtake.
* *A change does not clear* what it does not name: every command names every option, also those off. Two
  cannot be named as off, a distribution and ecn: a netem with one of them has a handle of its own (1XY:),
  so a set without it makes a new netem, and what was in the old one's delay line is lost.
* *netem never shows its distribution*: the handle says which it was given.
* *Two netems where one duplicates* are refused by kernels from 6.16 on, and stable ones of that time ("cannot
  mix duplicating netems with other netems in tree"): tbf is the bottleneck there. Its bucket lets a frame
  or two go without being serialised, so an idle link is faster by that; a busy one has the same rate.
* *Packets that netem reorders* leave it past its child: they skip the bottleneck too. The model serialises
  them; on a saturated link with ``reorder`` the kernel lets that share of packets through on top of the rate.
* *Replacing a qdisc by another kind under the same handle* is refused: each kind has its own handle.
* *The default limit* of 1000 packets drops on long fast links.
"""

from __future__ import annotations

from node.links.impairments.base import IMPAIRMENTS, Impairment
from node.links.impairments.chance import DISTRIBUTIONS
from node.links.impairments.delay import Delay
from node.links.impairments.duplicate import Duplicate
from node.links.impairments.netem_time import netem_time
from node.links.queues import codel, pie
from node.links.queues.base import FULL_FRAME
from node.links.queues.choice import red_limit
from node.links.queues.fq_codel import QUANTUM
from node.links.queues.red import MAX_PROBABILITY, RedThresholds
from node.links.settings import Impairments
from node.links.units import format_rate
from node.protocol.time import MICROSECOND, SECOND, Duration
from orchestrator.tc import traces

ROOT_HANDLE = "1:"
NETEM_BOTTLENECK_HANDLE = "10:"
TBF_HANDLE = "20:"
HTB_HANDLE = "28:"
OPEN_HANDLE = "30:"
SLOT_HANDLE = "40:"
#: Handles of the queues below tbf, by kind; ``marking`` is a codel that only marks.
QUEUE_HANDLES = {
    "pfifo": "21:",
    "bfifo": "22:",
    "marking": "23:",
    "codel": "24:",
    "fq_codel": "25:",
    "red": "26:",
    "pie": "27:",
}
#: Added to handles of what stands below a slot.
BELOW_SLOT = 0x1000
#: Root handles of netems with a distribution (sixteens) or ecn (ones).
_SPECIAL_ROOTS = 0x100
#: What a codel that only marks never reaches, and the kernel's clock of 32 bits of 1.024 µs still holds.
_NEVER = "1000s"

#: Keeps order and costs 1500 bytes 0.4 µs. Above 34 Gbit/s old tc and kernels lose the upper bits.
ORDER_RATE_BPS = 32_000_000_000
#: What a sender may put into the delay line at most, for its limit: packets of 1500 bytes at 10 Gbit/s.
_LINE_RATE_BPS = 10_000_000_000
_PACKET_BITS = 12_000
_SLACK_PACKETS = 1_000
#: Bounds the memory of a delay line: at 2 KiB a packet, 1 GiB.
MAX_LIMIT = 500_000
#: Without a rate nothing queues behind the delay line; a burst of packets due at once must fit.
OPEN_QUEUE_PACKETS = 10_000
#: tbf's bucket: as small as holds a jumbo frame, or what the rate brings in 100 µs, whichever is more.
_FRAME_BYTES = 1_514
_BUCKETS_PER_SECOND = 10_000
#: A delay that no other word of a netem equals: longer than any jitter, and unlike a limit or a rate.
_MARK: Duration = 239_999_999 * MICROSECOND


def set_impairments(
    device: str,
    impairments: Impairments,
    *,
    mtu: int = 1500,
    reached: tuple[int, Duration] | None = None,
    former: Impairments | None = None,
) -> list[list[str]]:
    """Return the commands that make ``impairments`` the whole set on a device's egress.

    Whatever an earlier call of this function set is replaced. Packets in the delay line stay in it,
    unless the new set is empty.

    Args:
        device: the interface.
        impairments: what the packets that leave it are to meet.
        mtu: of the interface, in bytes.
        reached: rate in bit/s and delay in ns that its trace has got to; None: it is at its beginning.
        former: what is set now, if it is known: an htb cannot be replaced, and without it, its queue is lost.
    """
    rate, delay = reached or (impairments.rate, impairments.delay)
    if not impairments.items:
        return [["tc", "qdisc", "replace", "dev", device, "root", "noqueue"]]
    quiet = [item for item in impairments.items if not isinstance(item, Duplicate)]
    commands = [_root(device, quiet, impairments, delay)]
    above = root_handle(impairments)
    if impairments.slot.longest:
        commands.append(_slot(device, above, impairments))
        above = SLOT_HANDLE
    if not impairments.trace.sets_rate:
        commands += _bottleneck(device, above, impairments, mtu)
    else:
        commands += _moving_bottleneck(device, above, impairments, rate, stands=_stays(former, impairments))
    if impairments.duplicate:
        # Only now, when the bottleneck of an earlier set is gone: it may have been a netem.
        commands.append(_root(device, list(impairments.items), impairments, delay))
    return commands


def rate_line(device: str, impairments: Impairments) -> str:
    """Return what tells tc another rate, with ``{}`` for the bits per second."""
    return " ".join(_class(device, _at(HTB_HANDLE, impairments), "{}bit")[1:])


def delay_line(device: str, impairments: Impairments) -> str:
    """Return what tells tc another delay, with ``{}`` for the µs."""
    marked = " ".join(_root(device, list(impairments.items), impairments, _MARK)[1:])
    return marked.replace(netem_time(_MARK), "{}us")


def clear(device: str) -> list[list[str]]:
    """Return the commands that take all impairments off a device."""
    return set_impairments(device, Impairments())


def show(device: str) -> list[str]:
    """Return the command whose output `readback.parse` reads."""
    return ["tc", "-j", "-s", "qdisc", "show", "dev", device]


def show_classes(device: str) -> list[str]:
    """Return the command whose output says the rate of a bottleneck that follows a trace."""
    return ["tc", "class", "show", "dev", device]


def delay_line_limit(impairments: Impairments) -> int:
    """Return a limit in packets that the delay line never reaches on any path we know."""
    longest = traces.longest_delay(impairments) + 4 * impairments.jitter
    rate = max(_LINE_RATE_BPS, impairments.rate)
    return min(MAX_LIMIT, rate * longest // SECOND // _PACKET_BITS + _SLACK_PACKETS)


def tbf_burst(rate_bps: int, mtu: int) -> int:
    """Return tbf's bucket in bytes: two frames at least, else it could not send at the full rate."""
    frame = max(_FRAME_BYTES, mtu + 14)
    return max(2 * frame, rate_bps // 8 // _BUCKETS_PER_SECOND)


def root_handle(impairments: Impairments) -> str:
    """Return the handle of the root netem, which says what a netem does not show."""
    return _root_handle(impairments.modifiers().distribution, ecn=impairments.ecn)


def root_handles() -> dict[str, tuple[str, bool]]:
    """Return what the handles of root netems say: the distribution, and whether it marks."""
    pairs = [(name, ecn) for name in DISTRIBUTIONS for ecn in (False, True)]
    return {_root_handle(name, ecn=ecn): (name, ecn) for name, ecn in pairs}


def below_slot(handle: str) -> str:
    """Return the handle that a qdisc has below a slot instead of ``handle``."""
    return f"{int(handle[:-1], 16) + BELOW_SLOT:x}:"


def kernel_lack(impairments: Impairments) -> str:
    """Return what in a set no kernel can do, whatever its qdiscs; empty: nothing."""
    if unfollowed := traces.lack(impairments.trace):
        return unfollowed
    if impairments.drop.ranges:
        return "netem cannot drop packets by their number"
    if impairments.slot.longest and impairments.duplicate:
        return "slots need a second netem, which kernels refuse beside one that duplicates"
    return ""


def _root_handle(distribution: str, *, ecn: bool) -> str:
    special = 16 * DISTRIBUTIONS.index(distribution) + ecn
    return f"{_SPECIAL_ROOTS + special:x}:" if special else ROOT_HANDLE


def _root(device: str, items: list[Impairment], impairments: Impairments, delay: Duration) -> list[str]:
    present = {item.name: item for item in items} | {Delay.name: Delay(delay)}
    modifiers = impairments.modifiers()
    words: list[str] = []
    for name in sorted(IMPAIRMENTS.names(), key=lambda name: IMPAIRMENTS[name].stage):
        words += present.get(name, IMPAIRMENTS[name]()).netem_arguments(modifiers)
    moves = traces.longest_delay(impairments) > 0 and impairments.trace.steps
    order = ORDER_RATE_BPS if impairments.jitter or moves else 0
    return [
        *("tc", "qdisc", "replace", "dev", device, "root", "handle", root_handle(impairments), "netem"),
        *("limit", str(delay_line_limit(impairments))),
        *words,
        *("rate", format_rate(order)),
    ]


def _slot(device: str, above: str, impairments: Impairments) -> list[str]:
    slot = impairments.slot
    return [
        *("tc", "qdisc", "replace", "dev", device, "parent", f"{above}1", "handle", SLOT_HANDLE, "netem"),
        *("limit", str(MAX_LIMIT), "slot", netem_time(slot.shortest), netem_time(slot.longest)),
        *("packets", str(slot.packets), "bytes", str(slot.size)),
    ]


def _bottleneck(device: str, above: str, impairments: Impairments, mtu: int) -> list[list[str]]:
    def at(handle: str) -> str:
        return _at(handle, impairments)

    child = ["tc", "qdisc", "replace", "dev", device, "parent", f"{above}1", "handle"]
    if not impairments.rate:
        return [[*child, at(OPEN_HANDLE), "pfifo", "limit", str(OPEN_QUEUE_PACKETS)]]
    rate = format_rate(impairments.rate)
    kind, words = _queue(impairments)
    if kind == "pfifo" and not impairments.duplicate:
        return [[*child, at(NETEM_BOTTLENECK_HANDLE), "netem", *words, "rate", rate]]
    burst = tbf_burst(impairments.rate, mtu)
    below = ["tc", "qdisc", "replace", "dev", device, "parent", f"{at(TBF_HANDLE)}1", "handle"]
    return [
        # tbf's own limit, in bytes, only sizes the queue that the next command replaces.
        [*child, at(TBF_HANDLE), "tbf", "rate", rate, "burst", f"{burst}b", "limit", f"{10 * burst}b"],
        [*below, at(QUEUE_HANDLES[kind]), "codel" if kind == "marking" else kind, *words],
    ]


def _moving_bottleneck(
    device: str, above: str, impairments: Impairments, rate: int, *, stands: bool
) -> list[list[str]]:
    def at(handle: str) -> str:
        return _at(handle, impairments)

    child = ["tc", "qdisc", "replace", "dev", device, "parent", f"{above}1", "handle"]
    kind, words = _queue(impairments)
    # Another htb is refused in the place of one; what stands there was made alike, but for its queue.
    made = [[*child, at(OPEN_HANDLE), "pfifo"], [*child, at(HTB_HANDLE), "htb", "default", "1"]]
    below = ["tc", "qdisc", "replace", "dev", device, "parent", f"{at(HTB_HANDLE)}1", "handle"]
    return [
        *([] if stands else made),
        _class(device, at(HTB_HANDLE), f"{rate}bit"),
        [*below, at(QUEUE_HANDLES[kind]), "codel" if kind == "marking" else kind, *words],
    ]


def _class(device: str, handle: str, rate: str) -> list[str]:
    # The smallest bursts there are, so that a change of rate brings none; one class has no use for a quantum.
    return [
        *("tc", "class", "replace", "dev", device, "parent", handle, "classid", f"{handle}1", "htb"),
        *("rate", rate, "ceil", rate, "burst", "1", "cburst", "1", "quantum", str(_FRAME_BYTES)),
    ]


def _stays(former: Impairments | None, impairments: Impairments) -> bool:
    """Return whether the htb of a former set is left in place by the root and the slot of a new one."""
    return (
        former is not None
        and former.trace.sets_rate
        and root_handle(former) == root_handle(impairments)
        and bool(former.slot.longest) == bool(impairments.slot.longest)
    )


def _at(handle: str, impairments: Impairments) -> str:
    return below_slot(handle) if impairments.slot.longest else handle


def _queue(impairments: Impairments) -> tuple[str, list[str]]:
    """Return the kind of the bottleneck's queue, and its words."""
    limit = ["limit", str(impairments.queue)]
    marks = "ecn" if impairments.ecn else "noecn"
    match impairments.aqm:
        case "codel":
            return "codel", [*limit, *_codel_times(), marks]
        case "fq_codel":
            return "fq_codel", [*limit, "quantum", str(QUANTUM), *_codel_times(), marks]
        case "pie":
            return "pie", [*limit, "target", netem_time(pie.TARGET), "tupdate", netem_time(pie.UPDATE), marks]
        case "red":
            return "red", _red_words(impairments)
    if impairments.queue_bytes:
        return "bfifo", ["limit", f"{impairments.queue_bytes}b"]
    if impairments.ce_threshold:
        threshold = netem_time(impairments.ce_threshold)
        return "marking", [*limit, "target", _NEVER, "interval", _NEVER, "ce_threshold", threshold, marks]
    return "pfifo", limit


def _codel_times() -> list[str]:
    return ["target", netem_time(codel.TARGET), "interval", netem_time(codel.INTERVAL)]


def _red_words(impairments: Impairments) -> list[str]:
    red = RedThresholds(red_limit(impairments))
    return [
        *("limit", f"{red.limit}b", "min", f"{red.lower}b", "max", f"{red.upper}b"),
        *("avpkt", str(FULL_FRAME), "burst", str(red.burst), "probability", str(MAX_PROBABILITY)),
        *("bandwidth", format_rate(impairments.rate), *(["ecn"] if impairments.ecn else [])),
    ]
