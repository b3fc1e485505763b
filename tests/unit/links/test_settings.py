"""Sets of impairments: what is the same set, what is refused, what changes."""

from __future__ import annotations

import pytest

from node.links.impairments.delay import Delay
from node.links.impairments.loss import Loss
from node.links.settings import NONE, Impairments, ImpairmentsError


def test_order_of_keys_does_not_matter() -> None:
    one = Impairments.parse({"loss": "1%", "delay": "20ms"})
    other = Impairments.parse({"delay": "20000us", "loss": "1.0%"})
    assert one == other
    assert hash(one) == hash(other)


def test_what_is_off_is_not_in_the_set() -> None:
    assert Impairments.parse({"loss": "0%", "delay": "0ms"}) == NONE
    assert Impairments.build(Loss(), Delay()) == NONE


def test_default_queue_is_the_same_as_none_given() -> None:
    assert Impairments.parse({"rate": "1Mbit", "queue": "100p"}) == Impairments.parse({"rate": "1Mbit"})


def test_values_are_in_base_units() -> None:
    given = Impairments.parse({"delay": "20ms", "jitter": "2ms", "rate": "10Mbit", "queue": "25p"})
    assert (given.delay, given.jitter, given.rate, given.queue) == (20_000_000, 2_000_000, 10**7, 25)
    assert (given.loss, given.duplicate, given.corrupt, given.reorder) == (0, 0, 0, 0)


def test_every_problem_is_reported_by_key() -> None:
    with pytest.raises(ImpairmentsError) as caught:
        Impairments.parse({"delay": "20", "loss": "200%", "lag": "1ms"})
    assert sorted(caught.value.problems) == ["delay", "lag", "loss"]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"queue": "25p"}, "queue"),
        ({"queue": "100p"}, "queue"),
        ({"jitter": "1ms"}, "jitter"),
        ({"delay": "1ms", "jitter": "1001us"}, "jitter"),
        ({"reorder": "1%"}, "reorder"),
        ({"rate": "999bit"}, "rate"),
        ({"rate": "1Mbit", "queue": "0p"}, "queue"),
        ({"delay": "241s"}, "delay"),
        ({"delay": "3s", "jitter": "2001ms"}, "jitter"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], key: str) -> None:
    with pytest.raises(ImpairmentsError) as caught:
        Impairments.parse(given)
    assert list(caught.value.problems) == [key]


@pytest.mark.parametrize(
    "given",
    [
        {"delay": "1ms", "jitter": "1ms"},
        {"rate": "1kbit"},
        {"rate": "1Mbit", "queue": "1p"},
        {"delay": "240s", "jitter": "2s"},
        {"loss": "100%"},
    ],
)
def test_the_last_values_that_make_sense_are_taken(given: dict[str, object]) -> None:
    parsed = Impairments.parse(given)
    assert Impairments.parse(parsed.to_mapping()) == parsed


def test_replacing_changes_only_what_is_named() -> None:
    given = Impairments.parse({"delay": "20ms", "loss": "1%"})
    assert given.replace({"loss": "2%"}).to_mapping() == {"loss": "2%", "delay": "20ms"}
    assert given.replace({"loss": None}).to_mapping() == {"delay": "20ms"}
    assert given.to_mapping() == {"loss": "1%", "delay": "20ms"}


def test_the_same_impairment_twice_is_refused() -> None:
    with pytest.raises(ImpairmentsError):
        Impairments.build(Loss(0.1), Loss(0.2))
