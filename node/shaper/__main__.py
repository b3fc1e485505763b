"""``python -m node.shaper relay|nfqueue|steps``: run a shaper, or a player of traces, until SIGTERM."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from node.shaper import process
from node.shaper.configuration import (
    NfqueueConfiguration,
    RelayConfiguration,
    ShaperError,
    StepsConfiguration,
)

#: The environment lacks something (the exit code of the whole product for it).
EXIT_ENVIRONMENT = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the shaper that the arguments name; return the exit code."""
    parsed = _parser().parse_args(arguments)
    if parsed.die_with_parent:
        process.die_with_parent()
    process.fine_timers()
    try:
        # Each form imports its own: a hundred relays may start at once.
        if parsed.form == "relay":
            from node.shaper.relay import run_relay

            run_relay(RelayConfiguration.read(parsed.config), _say_ready)
        elif parsed.form == "steps":
            from node.shaper.steps import run_steps

            run_steps(StepsConfiguration.read(parsed.config), _say_ready)
        else:
            from node.shaper.nfqueue import run_nfqueue

            run_nfqueue(parsed.interface, NfqueueConfiguration.read(parsed.config), _say_ready)
    except ShaperError as error:
        sys.stderr.write(f"narrows shaper: {error}\n")
        return EXIT_ENVIRONMENT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node.shaper", description=__doc__)
    forms = parser.add_subparsers(dest="form", required=True)
    relay = forms.add_parser("relay", help="join two interfaces of this network namespace")
    nfqueue = forms.add_parser("nfqueue", help="shape what one interface receives")
    nfqueue.add_argument("--interface", required=True, help="the interface, as eth0")
    steps = forms.add_parser("steps", help="let the kernel's rates and delays follow traces")
    for form in (relay, nfqueue, steps):
        form.add_argument("--config", type=Path, required=True, help="configuration file (JSON)")
        form.add_argument(
            "--die-with-parent", action="store_true", help="end when the starting process ends, however"
        )
    return parser


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
