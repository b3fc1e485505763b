"""What a run's report must say of the user-space shapers: that one could not do what was asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.experiment.expectations import Counters
from orchestrator.topology.plan import LinkPlan

#: Late in fewer of a hundred looks, or fewer times than this, is what any machine does now and then.
LATE_PERCENT = 1
LATE_TIMES = 10
#: Links that are named; of others only how many there are is told.
_NAMED = 3


def shaper_notes(links: Sequence[LinkPlan], counters: Counters) -> Iterator[str]:
    """Yield sentences on links whose shaper fell behind, or dropped what it should not have.

    Args:
        links: those of the lab.
        counters: what each sending end counted during the run; only user-space shapers count what is told of.
    """
    behind = sorted(
        (
            (_late_share(found), link.name, found)
            for link in links
            if _is_behind(found := counters.get(str(link.a), {}))
        ),
        key=lambda entry: (-entry[0], entry[1]),
    )
    if behind:
        named = ", ".join(_describe(name, found) for _, name, found in behind[:_NAMED])
        more = _more(len(behind), "more link")
        yield (
            f"the user-space shaper fell behind at {named}{more}: this machine is too slow for these, or was "
            "busy, so that delays were longer and rates lower than asked; use fewer or slower links, or a "
            "kernel with netem"
        )
    for name, what in _DROPPED.items():
        ends = {end: found[name] for end, found in counters.items() if found.get(name)}
        if ends:
            where = ", ".join(f"{count} from {end}" for end, count in list(ends.items())[:_NAMED])
            yield f"the user-space shaper {what}: {where}{_more(len(ends), 'other end')}"


#: By the name of their counter.
_DROPPED = {
    "refused": "held as many frames as it may and dropped further ones (a lower rate or delay helps)",
    "oversized": "saw frames longer than the MTU, bursts that an offload of the sender left whole",
}


def _more(count: int, what: str) -> str:
    left = count - _NAMED
    return "" if left <= 0 else f" and {left} {what}{'s' if left > 1 else ''}"


def _late_share(found: Mapping[str, int]) -> float:
    return found["late"] / max(1, found["looks"])


def _is_behind(found: Mapping[str, int]) -> bool:
    # A link whose relay did not run has counted nothing.
    late = found.get("late", 0)
    return late >= LATE_TIMES and 100 * late >= LATE_PERCENT * found["looks"]


def _describe(name: str, found: Mapping[str, int]) -> str:
    mean = found["late_us"] / found["late"] / 1000
    share = _late_share(found)
    return f"{name} (over 5 ms late in {share:.0%} of its looks, there by {mean:.0f} ms on average)"
