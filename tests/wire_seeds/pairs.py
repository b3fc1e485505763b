"""Seeds of tests/seeds over a pair that is captured: what its two right ends are accused of."""

from __future__ import annotations

from contextlib import ExitStack
from types import ModuleType
from typing import Any
from unittest.mock import patch

from tests.seeds import ends, messages, transfer
from tests.support.recorded import RecordedPair

#: Seeds of tests/seeds by what they do.
KINDS: dict[str, ModuleType] = {"transfer": transfer, "ends": ends, "messages": messages}


def accused(kind: str, seed: int) -> list[str]:
    """Run a seed of tests/seeds, and return what the wire probe says against its ends."""
    made: list[RecordedPair] = []

    def pair(**arguments: Any) -> RecordedPair:
        made.append(RecordedPair(**arguments))
        return made[-1]

    module = KINDS[kind]
    with ExitStack() as stack:
        stack.enter_context(patch.object(module, "pair_of", lambda seed: pair))
        module.run(seed)
    # Random networks of these seeds may damage what they carry.
    return [str(violation) for one in made for violation in one.report(corrupting=True).violations]


def run_seed(kind: str, seed: int) -> None:
    """Run a seed (AssertionError: a right node is accused)."""
    found = accused(kind, seed)
    assert not found, f"{found[0]} (and {len(found) - 1} more)"
