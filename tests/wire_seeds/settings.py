"""What a run is made of, and which of all combinations are run: every two settings that go together, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from random import Random
from types import MappingProxyType

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import FEC_ARQ_CODES, FEC_CODES, INTEGRITY_CODES
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.ml_kem import has_ml_kem
from node.protocol.suites import CIPHER_CODES, HANDSHAKE_CODES
from tests.wire_seeds.networks import ACTS, FLOWS, MIDDLES, PLACES, TUNINGS

#: A setting → the values it may have.
Row = Mapping[str, str]
SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "arq": tuple(ARQ_MODES.names()),
    "fec": ("none", *(f"{f} {a}" for f in sorted(FEC_CODES) if f != "none" for a in sorted(FEC_ARQ_CODES))),
    "integrity": tuple(sorted(INTEGRITY_CODES)),
    "congestion": tuple(CONTROLLERS.names()),
    "handshake": tuple(sorted(HANDSHAKE_CODES)),
    "cipher": tuple(sorted(CIPHER_CODES)),
    "hybrid": ("no", "yes") if has_ml_kem() else ("no",),
    "tuning": tuple(TUNINGS),
    "flow": tuple(FLOWS),
    "act": tuple(ACTS),
    "middle": tuple(MIDDLES),
    "place": tuple(PLACES),
})  # fmt: skip
#: Rows that are drawn for each that is taken.
_DRAWN = 24


def goes_together(row: Row) -> bool:
    """Whether a topology file with these settings is a right one."""
    return not (
        (row["arq"] == "stop-and-wait" and row["fec"] != "none")
        or (row["hybrid"] == "yes" and ("mtu" in MIDDLES[row["middle"]] or row["tuning"] == "small packets"))
        or ("nat" in row["place"] and row["act"] == "restarts")
    )


def drawn(rng: Random) -> Row:
    """Return settings by chance that go together."""
    while True:
        row = {name: rng.choice(values) for name, values in SETTINGS.items()}
        if goes_together(row):
            return row


@cache
def pairwise() -> tuple[Row, ...]:
    """Return rows, the same always: every two settings which go together are in one of them."""
    rng = Random("pairwise")
    open_pairs = dict.fromkeys(_all_pairs())
    rows: list[Row] = []
    while open_pairs:
        wanted = next(iter(open_pairs))
        best = max((_with(wanted, rng) for _ in range(_DRAWN)), key=lambda row: sum(
            pair in open_pairs for pair in pairs_of(row)
        ))  # fmt: skip
        rows.append(best)
        for pair in pairs_of(best):
            open_pairs.pop(pair, None)
    return tuple(rows)


_Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs_of(row: Row) -> Iterator[_Pair]:
    """Yield every two settings of a row."""
    yield from combinations(row.items(), 2)


def _all_pairs() -> Iterator[_Pair]:
    rng = Random("which go together")
    for one, other in combinations(SETTINGS, 2):
        for first in SETTINGS[one]:
            for second in SETTINGS[other]:
                pair = (one, first), (other, second)
                if _tried(pair, rng) is not None:
                    yield pair


def _tried(pair: _Pair, rng: Random, tries: int = 30) -> Row | None:
    for _ in range(tries):
        row = {name: rng.choice(values) for name, values in SETTINGS.items()} | dict(pair)
        if goes_together(row):
            return row
    return None


def _with(pair: _Pair, rng: Random) -> Row:
    while True:
        row = _tried(pair, rng)
        if row is not None:
            return row
