"""``python -m tests.fuzz [TARGET…] [--seconds N] [--runs N]``: fuzz targets with atheris, one by one.

An input that fails is written to ``.cache/fuzz/TARGET/crash-…`` and shown; put it into
``tests/fuzz/kept/TARGET/`` in hexadecimal when its bug is mended.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.fuzz.run import command, directory_of, why_not
from tests.fuzz.targets import TARGETS
from tests.lanes.machine import ROOT


def main() -> int:
    """Fuzz as asked; the status is 1 when a target failed."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="at most so many inputs")
    asked = parser.parse_args()
    reason = why_not()
    if reason:
        print(reason)
        return 3
    failed = []
    for name in asked.target or TARGETS:
        print(f"== {name}", flush=True)
        argv = command(name, directory_of(name), seconds=asked.seconds, runs=asked.runs)
        if subprocess.run(argv, cwd=ROOT, check=False).returncode:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "no target failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
