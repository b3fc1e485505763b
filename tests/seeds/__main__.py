"""``python -m tests.seeds FROM TO [--kind transfer|ends|messages]``: walk seeds FROM … TO - 1 over all cores.

Each seed that fails is named as soon as it does; the status is 1 when one did. ``python -m tests.seeds N``
alone runs the one seed N and shows its whole traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.seeds.walk import CHUNK, KINDS, walk


def main() -> int:
    """Walk as asked."""
    parser = argparse.ArgumentParser(prog="tests.seeds", description=__doc__)
    parser.add_argument("first", type=int, metavar="FROM")
    parser.add_argument("end", type=int, metavar="TO", nargs="?")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="default: all kinds")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    kinds = asked.kind or sorted(KINDS)
    if asked.end is None:
        for kind in kinds:
            KINDS[kind](asked.first)
        return 0
    failed = 0
    started = time.monotonic()
    for kind in kinds:
        seeds = range(asked.first, asked.end)
        for number, failures in enumerate(walk(kind, seeds, workers=asked.workers)):
            failed += len(failures)
            for failure in failures:
                print(failure, flush=True)
            done = min((number + 1) * CHUNK, len(seeds))
            if done % (CHUNK * 100) < CHUNK:
                print(f"{kind}: {done} of {len(seeds)}, {time.monotonic() - started:.0f} s", flush=True)
        print(f"{kind}: {len(seeds)} seeds walked", flush=True)
    print(f"{failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
