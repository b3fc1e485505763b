"""Waits for the kernel overlap, and what they bring stays in order."""

from __future__ import annotations

from threading import Barrier

import pytest

from node.measuring.waiting import with_each


def test_all_wait_at_the_same_time() -> None:
    together = Barrier(40)

    def wait(number: int) -> int:
        together.wait(60)  # one after the other, nobody would come through
        return 2 * number

    assert with_each(wait, range(40)) == [2 * number for number in range(40)]


def test_nothing_is_waited_for() -> None:
    assert with_each(str, []) == []


def test_an_error_is_raised_when_all_have_been_tried() -> None:
    done = []

    def work(number: int) -> None:
        done.append(number)
        if number == 3:
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        with_each(work, range(10))
    assert sorted(done) == list(range(10))
