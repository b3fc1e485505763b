"""The commands for a table of impairment sets, as a file to review."""

from __future__ import annotations

from node.links.settings import Impairments
from orchestrator.tc.commands import clear, delay_line, rate_line, set_impairments
from tests.golden import golden

SETS: tuple[dict[str, object], ...] = (
    {"delay": "20ms"},
    {"delay": "20ms", "jitter": "2ms"},
    {"delay": "1500us", "jitter": "300us"},
    {"delay": "750ms"},
    {"delay": "1234567ns"},
    {"loss": "1%"},
    {"loss": "100%"},
    {"duplicate": "0.1%"},
    {"corrupt": "0.01%"},
    {"delay": "20ms", "reorder": "5%"},
    {"rate": "10Mbit"},
    {"rate": "10Mbit", "queue": "25p"},
    {"rate": "40Gbit"},
    {"delay": "15ms", "rate": "10Mbit", "queue": "25p"},
    {"delay": "15ms", "jitter": "1ms", "loss": "2%", "rate": "512kbit"},
    {"delay": "15ms", "duplicate": "1%", "rate": "10Mbit", "queue": "25p"},
    {
        "delay": "40ms",
        "jitter": "5ms",
        "loss": "20%",
        "duplicate": "5%",
        "reorder": "10%",
        "corrupt": "1%",
        "rate": "1Gbit",
        "queue": "1000p",
    },
    {"delay": "20ms", "jitter": "2ms", "distribution": "normal"},
    {"delay": "20ms", "jitter": "2ms", "distribution": "pareto", "delay-correlation": "25%"},
    {"loss": "1%", "burst": "3p"},
    {"gemodel": "1% 30% 90% 0.1%"},
    {"loss-state": "1% 30% 10% 20% 0.1%"},
    {"duplicate": "2%", "duplicate-correlation": "10%", "corrupt": "1%", "corrupt-correlation": "20%"},
    {"delay": "20ms", "reorder": "100%", "gap": "5p"},
    {"delay": "20ms", "reorder": "50%", "reorder-correlation": "30%"},
    {"slot": "800us 1ms 5p 64kB"},
    {"slot": "2ms", "delay": "5ms", "rate": "10Mbit"},
    {"slot": "2ms", "rate": "10Mbit", "aqm": "codel"},
    {"delay": "1ms", "seed": 42, "loss": "1%"},
    {"loss": "1%", "ecn": True},
    {"rate": "10Mbit", "ecn": True},
    {"rate": "10Mbit", "ecn": True, "ce-threshold": "5ms", "queue": "200p"},
    {"rate": "10Mbit", "queue": "150kB"},
    {"rate": "10Mbit", "delay": "20ms", "queue": "1.5bdp"},
    {"rate": "10Mbit", "aqm": "codel"},
    {"rate": "10Mbit", "aqm": "codel", "ecn": True, "queue": "1000p"},
    {"rate": "10Mbit", "aqm": "fq_codel", "ecn": True},
    {"rate": "10Mbit", "aqm": "red", "queue": "150kB"},
    {"rate": "10Mbit", "aqm": "pie", "ecn": True},
    {"trace": "steps 0s 10Mbit; 400ms 5Mbit 20ms", "queue": "100p"},
    {
        "trace": "steps 1s 5Mbit",
        "rate": "10Mbit",
        "aqm": "codel",
        "slot": "2ms",
        "jitter": "1ms",
        "delay": "9ms",
    },
)


def test_commands_are_as_reviewed() -> None:
    blocks = ["nothing", *(" ".join(argv) for argv in clear("eth1")), ""]
    for given in SETS:
        blocks.append(", ".join(f"{name} {value}" for name, value in given.items()))
        blocks += [f"  {' '.join(argv)}" for argv in set_impairments("eth1", Impairments.parse(given))]
        blocks.append("")
    golden.check("tc/commands.txt", "\n".join(blocks))


def test_steps_of_a_trace_keep_all_else() -> None:
    """What is told at a step says rate or delay, and everything that the set has besides."""
    asked = Impairments.parse(
        {"trace": "steps 0s 1Mbit 5ms; 1s 2Mbit 9ms", "loss": "1%", "jitter": "1ms", "delay": "5ms"}
    )
    lines = [" ".join(argv[1:]) for argv in set_impairments("eth1", asked)]
    assert rate_line("eth1", asked).replace("{}", "1000000") in lines
    assert delay_line("eth1", asked).replace("{}us", "5ms") in lines


def test_a_bottleneck_that_follows_a_trace_stays_when_another_set_has_one() -> None:
    """Its queue would be lost; and a second htb in the same place is refused."""
    asked = Impairments.parse({"trace": "steps 0s 10Mbit; 1s 2Mbit"})
    lossy, ecn = asked.replace({"loss": "1%"}), asked.replace({"ecn": "true", "loss": "1%"})
    assert any("htb default 1" in " ".join(argv) for argv in set_impairments("eth1", asked))
    assert not any("htb default 1" in " ".join(argv) for argv in set_impairments("eth1", lossy, former=asked))
    # Another root has nothing below it yet.
    assert any("htb default 1" in " ".join(argv) for argv in set_impairments("eth1", ecn, former=asked))
    reached = set_impairments("eth1", lossy, former=asked, reached=(2_000_000, 7_000_000))
    assert " delay 7ms " in " ".join(reached[0])
    assert "rate 2000000bit" in " ".join(reached[1])
