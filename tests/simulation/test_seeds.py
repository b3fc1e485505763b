"""Random workloads over random hostile networks: what is delivered is what was sent, exactly, in the end.

A few seeds here, thousands in tests/seeds; any number by ``python -m tests.seeds FROM TO``. A seed that
ever failed is named below, with what it found.
"""

from __future__ import annotations

import pytest

from tests.seeds import ends, messages, transfer


@pytest.mark.parametrize("seed", range(100))
def test_what_is_sent_is_delivered_exactly(seed: int) -> None:
    """SPEC 6-1."""
    transfer.run(seed)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_ends_a_connection_leaves_nothing_behind(seed: int) -> None:
    """Closed by either end, by both, by silence, or before it was open: one last event, no timer."""
    ends.run(seed)


def test_a_burst_may_end_in_a_short_bulk_packet() -> None:
    """Seed 22: room was made for a negative count of bytes."""
    transfer.run(22)


@pytest.mark.parametrize("seed", range(30))
def test_messages_arrive_whole_and_once_or_not_at_all(seed: int) -> None:
    """SPEC 6.2-2, 6.2-4. Seed 3: a message that filled the connection's window could not become whole."""
    messages.run(seed)


def test_a_message_that_repair_could_not_bring_is_given_up_once() -> None:
    """SPEC 12.5-4. Seed 261: at its deadline it was given up again, and that raised out of the core."""
    messages.run(261)


def test_a_burst_may_hold_packets_of_the_key_phases_before_and_after() -> None:
    """SPEC 4.2-7. Seed 70570: the second packet's acknowledgement was taken for one of the phase before."""
    messages.run(70570)


def test_a_window_of_less_than_a_packet_lets_one_go() -> None:
    """Seed 1277: packets had grown beyond the minimum window, and the last credit waited for ever."""
    transfer.run(1277)


def test_a_path_that_works_is_not_given_up_for_lost_challenges() -> None:
    """SPEC 13.3-2. Seed 7502: data went both ways, no challenge was answered for 30 s, and that ended all."""
    transfer.run(7502)
