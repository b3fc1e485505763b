"""``python -m tests.wire_seeds FROM TO [--kind labs|transfer|ends|messages]``: walk seeds over all cores.

A seed of ``labs`` draws a topology; the others are seeds of tests/seeds over pairs that are captured. Each in
which a right node is accused is named as soon as it is found; the status is 1 when there was one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from tests.seeds.walk import CHUNK, walk
from tests.seeds.walk import KINDS as WALKED
from tests.wire_seeds import pairs, runs

KINDS: dict[str, Callable[[int], None]] = {
    "labs": runs.run_seed,
    **{kind: partial(pairs.run_seed, kind) for kind in pairs.KINDS},
}


def main() -> int:
    """Walk as asked."""
    parser = argparse.ArgumentParser(prog="tests.wire_seeds", description=__doc__)
    parser.add_argument("first", type=int, metavar="FROM")
    parser.add_argument("end", type=int, metavar="TO")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="default: all kinds")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    for kind, run in KINDS.items():
        WALKED[f"wire {kind}"] = run
    failed = 0
    for kind in asked.kind or sorted(KINDS):
        seeds = range(asked.first, asked.end)
        for number, failures in enumerate(walk(f"wire {kind}", seeds, workers=asked.workers)):
            failed += len(failures)
            for failure in failures:
                print(failure, flush=True)
            done = min((number + 1) * CHUNK, len(seeds))
            if done % (CHUNK * 20) < CHUNK:
                print(f"{kind}: {done} of {len(seeds)}", flush=True)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
