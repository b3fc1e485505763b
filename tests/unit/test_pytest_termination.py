"""What SIGTERM does to a pytest with a lab: while it is up, and before and after."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from orchestrator.pytest_plugin import Lab
from orchestrator.pytest_termination import termination_in_order
from tests.unit.test_pytest_plugin import LAB


@pytest.fixture(autouse=True)
def default() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.topology(LAB)
@pytest.mark.backends("simulation")
def test_a_lab_that_is_up_is_interrupted_and_nothing_else_is(lab: Lab) -> None:
    with lab.deployed() as up:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        up.sleep(1)  # what interrupts a test does not end its lab: the end of its block does
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    lab.passes()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_it_interrupts_once_even_where_ctrl_c_is_ignored(interrupt: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with termination_in_order():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # of timeout(1), which sends two
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_handler_of_a_project_stays() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with termination_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert seen == [signal.SIGTERM]


def test_a_thread_has_its_lab_without_it() -> None:
    seen: list[object] = []

    def other() -> None:
        with termination_in_order():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
