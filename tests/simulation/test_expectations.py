"""What expectations are about is what the run did: counts of the wire, of links, of the timeline."""

from __future__ import annotations

from pathlib import Path

from tests.support.experiments import LINE, simulate

_LAB = (
    LINE
    + """
workloads:
  first: {kind: bulk, from: a, to: b, size: 300kB, transport: {early-data: true, key-update-packets: 100}}
  second: {kind: bulk, from: a, to: b, size: 300kB, start: 2s, transport: {early-data: true}}
timeline:
  - {at: 100ms, set: {link: "r:eth2", netem: {delay: 5ms, rate: 10Mbit, loss: 5%}}, for: 100ms}
  - {at: 50s, cut: ["b:eth1"]}
expect:
"""
)


def _judged(directory: Path, *expectations: str) -> list[tuple[str | None, bool, str]]:
    text = _LAB + "".join(f"  - {expectation}\n" for expectation in expectations)
    result = simulate(text, directory, capture=True)
    assert not result.failures
    assert not result.wire.violations
    return [(found.flow, found.passed, found.shown) for found in result.expectations]


def test_both_sides_of_what_a_run_did(tmp_path: Path) -> None:
    judged = _judged(
        tmp_path,
        "connections == 2",
        "handshakes == 2",
        "retries == 0",
        "resumptions == 1",
        "early packets >= 1",
        "phase changes >= 2",
        "ect packets >= 100",
        "amplification <= 3",
        "addresses == 1",
        "largest datagram >= 1452B",
        "timeline done == 2",
        "timeline missed == 1",
        "first: key updates >= 2",
        "second: key updates == 0",
        "ecn == ok",
        "fairness(first, second) >= 0.5",
        "total goodput <= 20Mbit",
        "utilisation(a:eth1) >= 10%",
        "queue drops(r:eth2) == 0",
        "link drops(a:eth1) == 0",
        "link drops(r:eth2) >= 1",
        "median(handshakes) == 2",
    )
    assert [found for found in judged if not found[1]] == []
    assert [flow for flow, _, _ in judged[-7:]] == [
        "first, second",
        "all flows",
        *("a:eth1", "r:eth2", "a:eth1", "r:eth2"),
        None,
    ]


def test_full_queue_is_told_from_chance_and_from_what_measuring_filled(tmp_path: Path) -> None:
    text = LINE.replace("rate: 10Mbit", "rate: 10Mbit, queue: 5p") + (
        "workloads: {film: {kind: bulk, from: a, to: b, size: 300kB}}\n"
        "calibrate: warn\n"
        "expect: ['queue drops(a:eth1) >= 1', 'queue drops(b:eth1) == 0']\n"
    )
    result = simulate(text, tmp_path, capture=True)
    (link,) = [found for found in result.links if found.sender == "a:eth1"]
    assert [found.measured for found in result.expectations] == [link.frames_in - (link.frames_out or 0), 0.0]
    assert result.expectations[0].passed
