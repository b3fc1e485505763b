"""``python -m tests.mutation``: break each rule of the list in turn, and say which test noticed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.mutation.mutations import MUTATIONS
from tests.mutation.run import copy_sources, run


def main() -> int:
    """Run all; the status is 1 when one was missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        copy_sources(Path(name))
        for mutation in MUTATIONS:
            outcome = run(mutation, Path(name))
            missed += not outcome.caught
            print(outcome, flush=True)
    print(f"{len(MUTATIONS)} rules broken, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
