"""What every impairment promises; a new one is tested here by being registered."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node.links.impairments.base import IMPAIRMENTS, Impairment, Modifiers, PacketFate, Stage
from node.links.settings import NONE, Impairments
from node.links.units import UnitError
from orchestrator.tc.commands import set_impairments
from orchestrator.topology.schema_file import json_schema
from tests.support.companions import COMPANIONS

DRAWS = 20_000


@pytest.fixture(params=IMPAIRMENTS.names())
def kind(request: pytest.FixtureRequest) -> type[Impairment]:
    return IMPAIRMENTS[request.param]


def fates(
    impairment: Impairment, *, size: int = 1000, seed: int = 1, modifiers: Modifiers | None = None
) -> list[PacketFate]:
    rng = Random(seed)
    packets = [PacketFate(size, delay_ns=100_000_000) for _ in range(DRAWS)]
    decide = impairment.decider(modifiers or Modifiers())
    if decide is not None:
        for packet in packets:
            decide(packet, rng)
    return packets


def test_is_a_frozen_impairment(kind: type[Impairment]) -> None:
    made = kind.parse(kind.example)
    assert isinstance(made, Impairment)
    assert type(made).__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hash(made) == hash(kind.parse(kind.example))
    assert IMPAIRMENTS[kind.name] is kind
    assert kind.stage in Stage


def test_printing_is_reading_backwards(kind: type[Impairment]) -> None:
    made = kind.parse(kind.example)
    assert kind.parse(made.format()) == made


@pytest.mark.parametrize("value", [None, "", "much", "-1", [], {}, "12parsec", object()])
def test_nonsense_is_refused_with_advice(kind: type[Impairment], value: object) -> None:
    with pytest.raises(UnitError) as caught:
        kind.parse(value)
    assert len(str(caught.value)) > 20


def test_yes_is_nonsense_where_it_is_no_answer(kind: type[Impairment]) -> None:
    if kind.json_type == "boolean":
        assert kind.parse(True) != kind.parse(False)
        return
    with pytest.raises(UnitError):
        kind.parse(True)


def test_switched_off_does_nothing(kind: type[Impairment]) -> None:
    untouched = PacketFate(1000, delay_ns=100_000_000)
    assert all(fate == untouched for fate in fates(kind()))


def test_the_same_seed_gives_the_same_fates(kind: type[Impairment]) -> None:
    made = kind.parse(kind.example)
    assert fates(made, seed=5) == fates(made, seed=5)


def test_stays_in_a_set(kind: type[Impairment]) -> None:
    mapping = {**COMPANIONS.get(kind.name, {}), kind.name: kind.example}
    made = Impairments.parse(mapping)
    assert made.to_mapping() == mapping | made.to_mapping()
    assert Impairments.parse(made.to_mapping()) == made
    assert made != NONE
    assert made.of(kind) == kind.parse(kind.example)


def test_stands_in_the_schema(kind: type[Impairment]) -> None:
    entry = json_schema()["$defs"]["Netem"]["properties"][kind.name]
    assert kind.description in str(entry)
    (example,) = entry["examples"]
    assert kind.parse(example) == kind.parse(kind.example)


def test_words_for_netem_are_given_off_too(kind: type[Impairment]) -> None:
    """A netem keeps what a change does not name, but for what has no words of being off."""
    on = Impairments.parse({**COMPANIONS.get(kind.name, {}), kind.name: kind.example})
    off = Impairments.parse(COMPANIONS.get(kind.name, {}))
    words = {word for words in map(netem_words, (on, off)) for word in words if word.isalpha()}
    assert words <= {*netem_words(off), *WITHOUT_OFF.get(kind.name, ())}


#: Words without which netem goes back to what it does by itself, or which get a netem of their own.
WITHOUT_OFF = {
    "burst": ("gemodel",),
    "distribution": ("distribution", "normal"),
    "ecn": ("ecn",),
    "gemodel": ("gemodel",),
    "loss-state": ("state",),
    "reorder": ("gap",),
    "seed": ("seed",),
}


def netem_words(impairments: Impairments) -> list[str]:
    for argv in set_impairments(
        "eth1", impairments if impairments.items else Impairments.parse({"delay": "1ms"})
    ):
        if "root" in argv:
            return argv
    raise AssertionError("no root")


def test_two_impairments_never_share_a_stage() -> None:
    stages = [IMPAIRMENTS[name].stage for name in IMPAIRMENTS.names()]
    assert len(set(stages)) == len(stages)


def test_ratios_are_met() -> None:
    """20 % of 20,000 draws has a standard deviation of 57: 300 is more than five of them."""
    signs: dict[str, Callable[[PacketFate], bool]] = {
        "loss": lambda fate: fate.dropped,
        "duplicate": lambda fate: fate.copies == 2,
        "corrupt": lambda fate: fate.corrupt_bits != (),
        "reorder": lambda fate: fate.reordered,
    }
    for name, touched in signs.items():
        found = sum(touched(fate) for fate in fates(IMPAIRMENTS[name].parse("20%")))
        assert abs(found - DRAWS // 5) < 300, name


def test_jitter_is_uniform_and_centred() -> None:
    delays = [fate.delay_ns for fate in fates(IMPAIRMENTS["jitter"].parse("10ms"))]
    mean = sum(delays) / DRAWS
    deviation = (sum((delay - mean) ** 2 for delay in delays) / DRAWS) ** 0.5
    assert abs(mean - 100e6) < 0.3e6
    assert abs(deviation - 10e6 / 3**0.5) < 0.1e6
    assert min(delays) >= 90e6
    assert max(delays) < 110e6


def test_corruption_stays_in_the_frame() -> None:
    bits = [bit for fate in fates(IMPAIRMENTS["corrupt"].parse("100%"), size=60) for bit in fate.corrupt_bits]
    assert len(bits) == DRAWS
    assert min(bits) == 0
    assert max(bits) == 60 * 8 - 1
