"""What in a set of impairments makes no sense beside the rest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.links.impairments.burst import Burst
from node.links.impairments.loss_models import burst_transitions
from node.links.impairments.rate import Rate
from node.links.impairments.trace import Trace

if TYPE_CHECKING:
    from node.links.settings import Impairments

#: What cannot be without another, and why.
_NEEDS: tuple[tuple[str, str, str], ...] = (
    ("queue", "rate", "needs a rate: without one nothing ever queues; add rate: or take queue: out"),
    ("aqm", "rate", "needs a rate: without one nothing ever queues; add rate: or take aqm: out"),
    (
        "ce-threshold",
        "rate",
        "needs a rate: without one nothing ever waits; add rate: or take ce-threshold: out",
    ),
    (
        "ce-threshold",
        "ecn",
        "needs ecn: nothing is marked without it; add ecn: true or take ce-threshold: out",
    ),
    ("reorder", "delay", "needs a delay: packets overtake by skipping it; add delay:"),
    ("gap", "reorder", "needs a reorder: it says which packets overtake; add reorder: 100%"),
    ("burst", "loss", "needs a loss: the bursts are of lost packets; add loss: or take burst: out"),
    ("distribution", "jitter", "needs a jitter: it says how that is drawn; add jitter:"),
    ("delay-correlation", "jitter", "needs a jitter: a constant delay draws nothing; add jitter:"),
    ("reorder-correlation", "reorder", "needs a reorder: it says how that is drawn; add reorder:"),
    ("corrupt-correlation", "corrupt", "needs a corrupt: it says how that is drawn; add corrupt:"),
    ("duplicate-correlation", "duplicate", "needs a duplicate: it says how that is drawn; add duplicate:"),
)
#: What cannot be beside another, and why.
_EXCLUDES: tuple[tuple[str, str, str], ...] = (
    ("gemodel", "loss", "is beside loss: both say which packets are lost; take one of them out"),
    ("gemodel", "loss-state", "is beside loss-state: both say which packets are lost; take one of them out"),
    ("loss-state", "loss", "is beside loss: both say which packets are lost; take one of them out"),
    ("slot", "reorder", "is beside reorder: a slot keeps the order of packets; take one of them out"),
    ("ce-threshold", "aqm", "is beside aqm: that marks by itself; take one of them out"),
)


def contradictions(asked: Impairments) -> dict[str, str]:
    """Return what is wrong, by key: what, then after a colon or semicolon what to do."""
    # What is at its default is in the set, too, while it is being built: only what acts counts.
    present = {item.name for item in asked.items if item != type(item)()}
    if asked.trace.sets_rate:
        present.add("rate")
    named = {item.name for item in asked.items}
    problems = {name: why for name, other, why in _NEEDS if name in named and other not in present}
    problems |= {name: why for name, other, why in _EXCLUDES if name in present and other in present}
    if asked.jitter > asked.delay:
        problems["jitter"] = (
            f"{asked.to_mapping()['jitter']} is more than the delay; "
            "a packet cannot arrive before it was sent: raise delay: or lower jitter:"
        )
    problems |= _queue_problems(asked, present)
    problems |= _trace_problems(asked, present)
    if "burst" in present and "loss" in present:
        leave, _ = burst_transitions(asked.loss, asked.of(Burst).packets)
        if leave > 1:
            most = asked.of(Burst).packets / (asked.of(Burst).packets + 1)
            problems["burst"] = (
                f"is too short for so much loss: between two bursts at least one packet arrives, so at most "
                f"{most:.2%} can be lost in bursts of that length; make burst: longer, or loss: smaller"
            )
    if "ecn" in present and not present & {"rate", "loss", "gemodel", "loss-state"}:
        problems["ecn"] = (
            "has nothing to mark: no packet is lost or waits; add loss: or rate:, or take ecn: out"
        )
    return problems


def _trace_problems(asked: Impairments, present: set[str]) -> dict[str, str]:
    trace, file = asked.trace, asked.of(Trace).file
    if file:
        advice = "write what is in it as steps 0s 10Mbit; 5s 1Mbit"
        return {"trace": f"{file!r} is a file, and files are read only for links of topology files; {advice}"}
    if trace.opportunities and asked.of(Rate).rate_bps:
        return {"trace": "is beside rate: in mahimahi's form it is the rate; take rate: out"}
    if trace.sets_rate and not asked.rate:
        return {"trace": "says no rate for its beginning; add rate:, or a step at 0s"}
    if trace.sets_rate and "reorder" in present:
        return {
            "trace": "changes the rate, but reordered packets pass the queue that has it; take reorder: out"
        }
    return {}


def _queue_problems(asked: Impairments, present: set[str]) -> dict[str, str]:
    queue = asked.to_mapping().get("queue", "")
    if queue.endswith("bdp") and not asked.delay:
        return {
            "queue": f"{queue} needs a delay: it is rate times twice the delay; add delay:, or write packets"
        }
    if not asked.queue_bytes:
        return {}
    if asked.aqm not in ("", "red"):
        return {"queue": f"{queue} is bytes, but {asked.aqm} counts packets; write for example 100p"}
    if asked.ecn and not asked.aqm:
        return {
            "queue": f"{queue} is bytes, but with ecn packets count; write for example 100p, or add aqm: red"
        }
    return {}
