"""A heap of times gives what a search through all of them gives, and stays as small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.carried.due_times import DueTimes

STEPS = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20), st.booleans()), max_size=60)


@given(STEPS)
def test_the_earliest_time_is_that_of_a_search_through_all(steps: list[tuple[int, int | None, bool]]) -> None:
    times: DueTimes[int] = DueTimes()
    plain: dict[int, int] = {}
    for item, due, taking in steps:
        times.set(item, due)
        plain.pop(item, None)
        if due is not None:
            plain[item] = due
        if taking and due is not None:
            found = times.take(due)
            assert sorted(found) == sorted(i for i, at in plain.items() if at <= due)
            assert [plain[i] for i in found] == sorted(plain[i] for i in found)
            plain = {i: at for i, at in plain.items() if at > due}
        assert times.next() == min(plain.values(), default=None)


def test_those_of_one_instant_come_in_the_order_they_were_set() -> None:
    times: DueTimes[str] = DueTimes()
    for item in "cab":
        times.set(item, 7)
    assert times.take(6) == []
    assert times.take(7) == ["c", "a", "b"]
    assert times.next() is None


def test_a_time_that_moves_with_each_packet_leaves_nothing_behind() -> None:
    """An idle time-out does: the heap holds no more than twice what there is, and a few."""
    times: DueTimes[int] = DueTimes()
    for now in range(10_000):
        times.set(now % 10, now + 30_000)
    assert len(times) <= 2 * 10 + 64
