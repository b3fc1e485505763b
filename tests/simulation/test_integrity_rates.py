"""What damage the integrity profiles miss: told by nodes that got damaged packets."""

from __future__ import annotations

import asyncio
from itertools import combinations
from math import comb
from pathlib import Path
from random import Random

import pytest

from node.dissectors.protection import TAG_BYTES, crc32c, xor8
from node.protocol.time import SECOND, Duration
from node.protocol.wire.protection import XorProtection
from orchestrator.backends.base import BACKENDS
from orchestrator.experiment.runner import run
from orchestrator.probes.base import ProbeResult
from orchestrator.probes.damages import DATA_BYTES, KINDS, PROFILES, Rate, even_columns, wilson
from orchestrator.probes.integrity import IntegrityProbe
from orchestrator.topology.model import LinkEndpoint
from tests.support.topologies import bulk, impaired, line, line_topology

#: Of the packets, on each of two links.
CORRUPT = 0.2


def probed(directory: Path, duration: Duration = SECOND, **words: str) -> ProbeResult:
    """Run the probe on a line of one link."""
    plan = line(impaired(words))

    async def body() -> ProbeResult:
        deployment = await BACKENDS["simulation"]().deploy(plan, run_id="01234567", directory=directory)
        try:
            return await IntegrityProbe().run(
                deployment, plan, endpoint=LinkEndpoint("a", "eth1"), duration=duration, rng=Random(1)
            )
        finally:
            await deployment.destroy()

    return asyncio.run(body())


def test_a_node_misses_what_theory_says_of_every_kind_and_profile(tmp_path: Path) -> None:
    """SPEC 4.1-1 to 4.1-4."""
    found = probed(tmp_path, delay="1ms")
    assert (found.passed, found.notes) == (True, ())
    rows = {(row["profile"], row["damage"]): row for row in found.table}
    assert len(rows) == len(PROFILES) * len(KINDS)
    assert {row["verdict"] for row in rows.values()} == {"inside"}
    assert found.figures["damaged_packets_judged_by_the_node"] == found.figures["damaged_packets_sent"] > 3000
    for kind in ("column", "swap"):
        assert rows["xor", kind]["missed"] == rows["xor", kind]["packets"]
    assert rows["xor", "flip-2"]["missed"]
    assert not any(row["missed"] for (profile, _), row in rows.items() if profile != "xor")


def test_a_node_that_checks_nothing_is_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for check in ("open", "open_slot"):
        monkeypatch.setattr(XorProtection, check, lambda *_: True)
    found = probed(tmp_path, delay="1ms")
    assert not found.passed
    wrong = {(row["profile"], row["damage"]) for row in found.table if row["verdict"] == "outside"}
    assert wrong == {("xor", kind) for kind in KINDS if kind not in ("column", "swap")}
    assert any("xor flip-1: the node took" in note for note in found.notes)


def test_links_that_corrupt_by_themselves_are_told_of_and_not_judged(tmp_path: Path) -> None:
    found = probed(tmp_path, 2 * SECOND, corrupt="10%")
    assert any("links of this lab damage packets too" in note for note in found.notes)
    assert found.figures["rates_outside_theory"] > 0
    assert found.passed == all(row["packets"] for row in found.table)


def test_flips_in_even_columns_are_counted_right() -> None:
    """All sets of bits of three bytes, one by one."""
    size = 3
    for flips in range(1, 5):
        even = 0
        for bits in combinations(range(8 * size), flips):
            columns = [bit % 8 for bit in bits]
            even += all(columns.count(column) % 2 == 0 for column in columns)
        assert even_columns(flips, size) == pytest.approx(even / comb(8 * size, flips))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damage_changes_sums_as_theory_says(kind: str) -> None:
    """Of the kinds that a sum finds or misses for certain, every one of 300."""
    rng = Random(3)
    for profile, size in (("xor", TAG_BYTES["xor"]), ("crc32c", TAG_BYTES["crc32c"])):
        theory = KINDS[kind].theory[profile]
        if 2.0**-30 < theory < 1:
            continue
        for _ in range(300):
            data = rng.randbytes(DATA_BYTES)
            tag = bytes((xor8(data),)) if profile == "xor" else crc32c(data).to_bytes(size, "big")
            packet = bytearray(data + tag)
            KINDS[kind].damage(packet, rng)
            body, end = bytes(packet[:-size]), bytes(packet[-size:])
            right = end == (bytes((xor8(body),)) if profile == "xor" else crc32c(body).to_bytes(size, "big"))
            assert right == (theory == 1)


def test_the_interval_is_wilsons_and_a_share_beyond_it_is_outside() -> None:
    """Values of R's binom.confint(…, method = "wilson", conf.level = 0.95): 5 of 100."""
    assert wilson(5, 100, confidence=0.95) == pytest.approx((0.0215436, 0.1117504), abs=1e-6)
    assert wilson(0, 0, confidence=0.95) == (0.0, 1.0)
    assert Rate("crc32c", "flip-3", 100_000, 0).verdict == "inside"
    assert Rate("crc32c", "flip-3", 100_000, 1).verdict == "outside"
    assert Rate("xor", "column", 100_000, 99_999).verdict == "outside"
    assert Rate("xor", "flip-2", 1000, 124).verdict == "inside"
    assert Rate("xor", "flip-2", 1000, 200).verdict == "outside"
    assert Rate("xor", "flip-2", 0, 0).verdict == "not measured"


@pytest.mark.parametrize("profile", PROFILES)
def test_links_that_corrupt_much_break_no_rule_and_slip_as_theory_says(profile: str, tmp_path: Path) -> None:
    """SPEC 4.1-4: two flips, one a link, cancel under XOR when they are in one column, one time in eight."""
    link = impaired(delay="2ms", corrupt=f"{100 * CORRUPT:g}%")
    flow = bulk(2_000_000, integrity=profile)
    topology = line_topology(link, link, flows=(flow,), seed=4, time_limit=15 * SECOND)
    result = asyncio.run(run(topology, "simulation", directory=tmp_path))
    assert result.wire.details == ()
    packets = max(one.frames_in for one in result.links)
    assert result.wire.damaged > 0.2 * packets
    expected = packets * CORRUPT**2 / 8 if profile == "xor" else 0.0
    assert abs(result.wire.slipped - expected) <= 4 * expected**0.5
