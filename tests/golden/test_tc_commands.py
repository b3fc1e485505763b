"""The commands for a table of impairment sets, as a file to review."""

from __future__ import annotations

from node.links.settings import Impairments
from orchestrator.tc.commands import clear, set_impairments
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
)


def test_commands_are_as_reviewed() -> None:
    blocks = ["nothing", *(" ".join(argv) for argv in clear("eth1")), ""]
    for given in SETS:
        blocks.append(", ".join(f"{name} {value}" for name, value in given.items()))
        blocks += [f"  {' '.join(argv)}" for argv in set_impairments("eth1", Impairments.parse(given))]
        blocks.append("")
    golden.check("tc/commands.txt", "\n".join(blocks))
