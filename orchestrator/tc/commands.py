"""Impairments → tc's argument lists. The kernel then does what `node.links.impairments.base` says.

One device's egress, in the order in which a packet passes it::

    1:  netem    duplicate, loss, corrupt, delay ± jitter, reorder; a limit that never bites
    └── the bottleneck, if there is a rate:
        10: netem    rate, limit = the user's queue: serialises each packet exactly
     or 20: tbf      rate, where packets are duplicated (see below)
        └── 21: pfifo    limit = the user's queue
     or 30: pfifo    no rate: lets everything through

Traps that this avoids, each seen in a kernel:

* *Delay and rate in one netem* make one queue of both: its ``limit`` counts the packets in flight too,
  and jitter vanishes (each packet's time starts from the time of the one before). Hence two stages.
* *Jitter reorders*: netem sorts packets by their time. With any ``rate`` a netem instead takes the time of
  the last packet as the earliest for the next, so the first stage has a rate that nothing reaches. Only
  packets chosen by ``reorder`` then overtake.
* *A change does not clear* what it does not name: every command names every option, also those off.
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
from node.links.impairments.duplicate import Duplicate
from node.links.settings import Impairments
from node.links.units import format_rate
from node.protocol.time import SECOND

ROOT_HANDLE = "1:"
NETEM_BOTTLENECK_HANDLE = "10:"
TBF_HANDLE = "20:"
TBF_QUEUE_HANDLE = "21:"
OPEN_HANDLE = "30:"

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


def set_impairments(device: str, impairments: Impairments, *, mtu: int = 1500) -> list[list[str]]:
    """Return the commands that make ``impairments`` the whole set on a device's egress.

    Whatever an earlier call of this function set is replaced. Packets in the delay line stay in it,
    unless the new set is empty.

    Args:
        device: the interface.
        impairments: what the packets that leave it are to meet.
        mtu: of the interface, in bytes.
    """
    if not impairments.items:
        return [["tc", "qdisc", "replace", "dev", device, "root", "noqueue"]]
    quiet = [item for item in impairments.items if not isinstance(item, Duplicate)]
    commands = [_root(device, quiet, impairments), *_bottleneck(device, impairments, mtu)]
    if impairments.duplicate:
        # Only now, when the bottleneck of an earlier set is gone: it may have been a netem.
        commands.append(_root(device, list(impairments.items), impairments))
    return commands


def clear(device: str) -> list[list[str]]:
    """Return the commands that take all impairments off a device."""
    return set_impairments(device, Impairments())


def show(device: str) -> list[str]:
    """Return the command whose output `readback.parse` reads."""
    return ["tc", "-j", "-s", "qdisc", "show", "dev", device]


def delay_line_limit(impairments: Impairments) -> int:
    """Return a limit in packets that the delay line never reaches on any path we know."""
    longest = impairments.delay + 4 * impairments.jitter
    rate = max(_LINE_RATE_BPS, impairments.rate)
    return min(MAX_LIMIT, rate * longest // SECOND // _PACKET_BITS + _SLACK_PACKETS)


def tbf_burst(rate_bps: int, mtu: int) -> int:
    """Return tbf's bucket in bytes: two frames at least, else it could not send at the full rate."""
    frame = max(_FRAME_BYTES, mtu + 14)
    return max(2 * frame, rate_bps // 8 // _BUCKETS_PER_SECOND)


def _root(device: str, items: list[Impairment], impairments: Impairments) -> list[str]:
    present = {item.name: item for item in items}
    words: list[str] = []
    for name in sorted(IMPAIRMENTS.names(), key=lambda name: IMPAIRMENTS[name].stage):
        words += present.get(name, IMPAIRMENTS[name]()).netem_arguments()
    order = ORDER_RATE_BPS if impairments.jitter else 0
    return [
        *("tc", "qdisc", "replace", "dev", device, "root", "handle", ROOT_HANDLE, "netem"),
        *("limit", str(delay_line_limit(impairments))),
        *words,
        *("rate", format_rate(order)),
    ]


def _bottleneck(device: str, impairments: Impairments, mtu: int) -> list[list[str]]:
    child = ["tc", "qdisc", "replace", "dev", device, "parent", f"{ROOT_HANDLE}1", "handle"]
    if not impairments.rate:
        return [[*child, OPEN_HANDLE, "pfifo", "limit", str(OPEN_QUEUE_PACKETS)]]
    rate, queue = format_rate(impairments.rate), str(impairments.queue)
    if not impairments.duplicate:
        return [[*child, NETEM_BOTTLENECK_HANDLE, "netem", "limit", queue, "rate", rate]]
    burst = tbf_burst(impairments.rate, mtu)
    below = ["tc", "qdisc", "replace", "dev", device, "parent", f"{TBF_HANDLE}1", "handle"]
    return [
        # tbf's own limit, in bytes, only sizes the queue that the next command replaces.
        [*child, TBF_HANDLE, "tbf", "rate", rate, "burst", f"{burst}b", "limit", f"{10 * burst}b"],
        [*below, TBF_QUEUE_HANDLE, "pfifo", "limit", queue],
    ]
