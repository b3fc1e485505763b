"""Virtual time."""

from __future__ import annotations

import pytest

from orchestrator.simulation.scheduler import MAX_STEPS_AT_ONE_INSTANT, LivelockError, Scheduler


def test_things_happen_in_order_of_time_and_ties_in_order_of_scheduling() -> None:
    scheduler = Scheduler()
    done: list[str] = []
    for instant, name in ((5, "c"), (3, "a"), (5, "d"), (4, "b")):
        scheduler.at(instant, done.append, name)
    assert scheduler.run() == 4
    assert done == ["a", "b", "c", "d"]
    assert scheduler.now == 5


def test_what_is_scheduled_for_now_happens_after_all_that_is_due_now() -> None:
    scheduler = Scheduler()
    done: list[str] = []

    def first(_: object) -> None:
        scheduler.at(scheduler.now, done.append, "later")

    scheduler.at(1, first)
    scheduler.at(1, done.append, "second")
    scheduler.run()
    assert done == ["second", "later"]


def test_run_stops_at_its_instant_and_at_its_bound_of_steps() -> None:
    scheduler = Scheduler()
    done: list[int] = []
    for instant in (1, 2, 3, 4):
        scheduler.at(instant, done.append, instant)
    assert scheduler.run(until=2) == 2
    assert scheduler.run(max_steps=1) == 1
    assert done == [1, 2, 3]
    assert scheduler.next_at() == 4


def test_the_clock_can_advance_over_nothing() -> None:
    scheduler = Scheduler()
    scheduler.advance(7)
    assert (scheduler.now, scheduler.step(), scheduler.next_at()) == (7, False, None)


def test_standing_still_forever_is_an_error() -> None:
    scheduler = Scheduler()

    def again(_: object) -> None:
        scheduler.at(scheduler.now, again)

    scheduler.at(1, again)
    with pytest.raises(LivelockError, match="steps at 1 ns"):
        scheduler.run(max_steps=MAX_STEPS_AT_ONE_INSTANT + 10)
