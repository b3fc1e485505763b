"""Read-back of what real kernels said (``tests/golden/tc/shown.json``), and of what must be noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.links.settings import NONE, Impairments
from orchestrator.errors import BackendError
from orchestrator.tc import comparison, readback, traces
from orchestrator.tc.commands import clear, delay_line_limit, set_impairments

GOLDEN = Path(__file__).parents[2] / "golden" / "tc"
RECORDED = json.loads((GOLDEN / "shown.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("record", RECORDED, ids=[str(record["asked"]) for record in RECORDED])
def test_what_a_kernel_showed_is_what_was_asked(record: dict[str, object]) -> None:
    asked = Impairments.parse(record["asked"])  # type: ignore[arg-type]
    shown = json.dumps(record["shown"])
    assert comparison.differences(asked, readback.parse(shown)) == []
    assert readback.limit_problem(shown) is None


@pytest.mark.parametrize(
    ("asked", "got", "word"),
    [
        ({"delay": "20ms"}, {"delay": "21ms"}, "delay"),
        ({"delay": "20ms", "jitter": "2ms"}, {"delay": "20ms"}, "jitter"),
        ({"loss": "1%"}, {"loss": "2%"}, "loss"),
        ({"loss": "1%"}, {}, "loss"),
        ({}, {"corrupt": "1%"}, "corrupt"),
        ({"rate": "10Mbit"}, {"rate": "80Mbit"}, "rate"),
        ({"rate": "10Mbit", "queue": "25p"}, {"rate": "10Mbit"}, "queue"),
        ({"loss": "0.0001%"}, {}, "loss"),
    ],
)
def test_a_set_that_did_not_take_is_told(asked: dict[str, object], got: dict[str, object], word: str) -> None:
    (difference,) = comparison.differences(Impairments.parse(asked), Impairments.parse(got))
    assert difference.startswith(f"{word}: asked ")


def test_a_device_without_our_qdisc_has_no_impairments() -> None:
    assert readback.parse("[]") == NONE
    assert readback.parse('[{"kind":"noqueue","handle":"0:","root":true,"refcnt":2,"options":{}}]') == NONE


def test_a_foreign_qdisc_in_our_place_is_refused() -> None:
    with pytest.raises(BackendError, match="something else"):
        readback.parse('[{"kind":"htb","handle":"1:","root":true,"options":{}}]')


def test_a_netem_without_our_bottleneck_is_refused() -> None:
    with pytest.raises(BackendError, match="none of our"):
        readback.parse('[{"kind":"netem","handle":"1:","root":true,"options":{"limit":1000}}]')


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(BackendError, match="not JSON"):
        readback.parse("qdisc netem 1: root")


def test_a_limit_that_would_bite_is_told() -> None:
    shown = [
        {"kind": "netem", "handle": "1:", "root": True, "options": {"limit": 1000, "delay": {"delay": 0.05}}},
        {"kind": "pfifo", "handle": "30:", "parent": "1:1", "options": {"limit": 10000}},
    ]
    assert "1000 packets" in str(readback.limit_problem(json.dumps(shown)))


def test_the_delay_line_holds_what_ten_gigabits_put_into_it() -> None:
    fifty = Impairments.parse({"delay": "50ms", "jitter": "5ms"})
    assert delay_line_limit(fifty) >= 10e9 * 0.07 / 12_000


def test_overflow_is_told_from_loss() -> None:
    shown = [
        {"kind": "netem", "handle": "1:", "packets": 90, "bytes": 9000, "drops": 10},
        {"kind": "netem", "handle": "10:", "parent": "1:1", "packets": 90, "drops": 7},
    ]
    assert readback.counters(json.dumps(shown)) == readback.QueueCounters(90, 9000, lost=3, overflowed=7)


def test_every_command_replaces() -> None:
    """Setting is the whole set: no command fails because of what was there before."""
    for given in ({}, {"delay": "1ms"}, {"duplicate": "1%", "rate": "1Mbit"}):
        for argv in set_impairments("eth1", Impairments.parse(given)):
            assert argv[:5] == ["tc", "qdisc", "replace", "dev", "eth1"]
    assert clear("eth1") == set_impairments("eth1", NONE)


def test_a_duplicating_netem_has_no_netem_beside_it() -> None:
    """Kernels refuse it, also on the way from one set to the next."""
    argvs = set_impairments("eth1", Impairments.parse({"duplicate": "1%", "rate": "1Mbit"}))
    words = [" ".join(argv) for argv in argvs]
    assert "duplicate 0%" in words[0]
    assert "tbf" in words[1]
    assert "duplicate 1%" in words[-1]


HTB = [
    {"kind": "netem", "handle": "1:", "root": True, "options": {"limit": 90_000, "delay": {"delay": 0.02}}},
    {"kind": "htb", "handle": "28:", "parent": "1:1", "options": {"default": "0x1"}},
    {"kind": "pfifo", "handle": "21:", "parent": "28:1", "options": {"limit": 100}},
]
CLASSES = """class netem 1:1 parent 1: leaf 28:
class htb 28:1 root leaf 21: prio 0 rate 12345Kbit ceil 12345Kbit burst 0b cburst 0b
"""


def test_a_trace_is_read_back_as_where_it_has_got_to() -> None:
    assert readback.needs_classes(json.dumps(HTB))
    got = readback.parse(json.dumps(HTB), CLASSES)
    assert (got.rate, got.delay, got.queue) == (12_345_000, 20_000_000, 100)
    asked = Impairments.parse({"trace": "steps 0s 1Mbit; 1s 12345678bit 20ms; 2s 3Mbit", "queue": "100p"})
    assert comparison.differences(asked, got) == []
    assert not comparison.at_end(asked, got)
    ends_here = Impairments.parse({"trace": "steps 0s 1Mbit; 1s 12345678bit 20ms", "queue": "100p"})
    assert comparison.at_end(ends_here, got)


def test_a_trace_that_never_got_there_is_told() -> None:
    got = readback.parse(json.dumps(HTB), CLASSES)
    elsewhere = Impairments.parse({"trace": "steps 0s 1Mbit; 1s 12Mbit 20ms", "queue": "100p"})
    said = comparison.differences(elsewhere, got)
    assert [line.split(":")[0] for line in said] == ["delay", "rate"]


@pytest.mark.parametrize(
    ("trace", "why"),
    [
        ("steps 0s 1Mbit; 10ms 2Mbit; 20ms 1Mbit", ""),
        ("steps 0s 1Mbit; 9999us 2Mbit", "apart"),
        ("steps 0s 1Mbit; 10ms 240s", ""),
        ("steps 0s 1Mbit; 10ms 241s", "hold back"),
        ("mahimahi 1 12", "opportunities"),
    ],
)
def test_what_the_kernel_cannot_follow_is_said(trace: str, why: str) -> None:
    lack = traces.lack(Impairments.parse({"trace": trace}).trace)
    assert (why in lack) if why else lack == ""
