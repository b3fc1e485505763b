"""Kinds of damage to a packet's data and tag, and how often theory lets an integrity profile miss each.

Theory, for a packet whose damage lies in ``size`` bytes of data and the tag behind them (SPEC 4.1):

- XOR is the parity of each of the eight columns of bits. Damage slips through if it flips an even number of
  bits in every column. Of n flips by chance that is a matter of counting (:func:`even_columns`): two slip
  once in eight and a little less, an odd number never. Bytes that change places never change a column, nor
  do two flips in one. A burst whose inner bits are chance, and a cut whose last byte becomes the tag, are
  right in each of eight columns one time in two: 2^-8.
- CRC-32C is a cyclic code; its polynomial of degree 32 is (x+1) times a primitive one of degree 31. It finds
  every burst of up to 32 bits, in its own order of bits (of each byte the lowest first). One of 33 bits slips
  if it is the polynomial, once in 2^31; longer ones, and cuts, once in 2^32. Its Hamming distance is 6 up to
  5243 bits of data (Koopman 2002), so five flips are always found; (x+1) finds every odd number, so that of
  more flips an even number slips once in 2^31. Two bytes that change places differ by a burst of eight bits
  times (x^d + 1), which the primitive factor divides only for d a multiple of 2^31 - 1: always found.
- AEAD: a forged tag of 16 bytes is right once in 2^128.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import TypeAlias

from node.dissectors.protection import TAG_BYTES

PROFILES = ("xor", "crc32c", "aead")
#: Bytes of data in a packet that is damaged: its bits are below what CRC-32C finds five flips in.
DATA_BYTES = 100
#: Of each interval that is shown.
CONFIDENCE = 0.99
#: Damages the data, and the tag behind it, which begins at :data:`DATA_BYTES`.
Damage: TypeAlias = Callable[[bytearray, Random], None]

_AEAD = 2.0**-128
#: CRC-32C, of what it does not find for certain: all, and what has an even number of flipped bits.
_ANY, _EVEN = 2.0**-32, 2.0**-31


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of damage."""

    damage: Damage
    #: Profile → the share that it misses.
    theory: Mapping[str, float]


def even_columns(flips: int, size: int) -> float:
    """Return how likely ``flips`` different bits of ``size`` bytes are an even number in every column.

    Of all C(8·size, flips) sets of bits those that are: the coefficient of x^flips in the eighth power of
    Σ C(size, 2j)·x^2j, one factor for each column.
    """
    column = [math.comb(size, count) if count % 2 == 0 else 0 for count in range(flips + 1)]
    ways = [1, *[0] * flips]
    for _ in range(8):
        ways = [sum(ways[i] * column[total - i] for i in range(total + 1)) for total in range(flips + 1)]
    return ways[flips] / math.comb(8 * size, flips)


def flip(count: int) -> Damage:
    """Return what flips ``count`` different bits."""

    def damage(packet: bytearray, rng: Random) -> None:
        for bit in rng.sample(range(8 * len(packet)), count):
            packet[bit >> 3] ^= 1 << (bit & 7)

    return damage


def burst(length: int) -> Damage:
    """Return what flips the first and the last of ``length`` bits of data, and those between by chance."""

    def damage(packet: bytearray, rng: Random) -> None:
        pattern = 1 | 1 << (length - 1) | rng.getrandbits(length - 2) << 1
        at = rng.randrange(8 * DATA_BYTES - length + 1)
        # Little-endian: the lowest bit of each byte is the first, as CRC-32C takes them.
        data = int.from_bytes(packet[:DATA_BYTES], "little") ^ (pattern << at)
        packet[:DATA_BYTES] = data.to_bytes(DATA_BYTES, "little")

    return damage


def one_column(packet: bytearray, rng: Random) -> None:
    """Flip the same bit of two bytes."""
    first, second = rng.sample(range(len(packet)), 2)
    bit = 1 << rng.randrange(8)
    packet[first] ^= bit
    packet[second] ^= bit


def swap(packet: bytearray, rng: Random) -> None:
    """Let two bytes of data that differ change places."""
    first, second = 0, 0
    while packet[first] == packet[second]:
        first, second = rng.sample(range(DATA_BYTES), 2)
    packet[first], packet[second] = packet[second], packet[first]


def cut(packet: bytearray, rng: Random) -> None:
    """Cut off bytes at the end; a byte of data and as many as a tag has are left."""
    del packet[-rng.randrange(1, DATA_BYTES) :]


def chance(packet: bytearray, rng: Random) -> None:
    """Put chance in the place of data and tag."""
    packet[:] = rng.randbytes(len(packet))


def _flips(count: int) -> Kind:
    odd = count % 2 == 1
    theory = {
        "xor": even_columns(count, DATA_BYTES + TAG_BYTES["xor"]),
        "crc32c": 0.0 if odd or count < 6 else _EVEN,
        "aead": _AEAD,
    }
    return Kind(flip(count), theory)


def _kind(damage: Damage, xor: float, crc32c: float) -> Kind:
    return Kind(damage, {"xor": xor, "crc32c": crc32c, "aead": _AEAD})


KINDS: Mapping[str, Kind] = {
    **{f"flip-{count}": _flips(count) for count in (1, 2, 3, 4, 8)},
    "column": _kind(one_column, 1.0, 0.0),
    "swap": _kind(swap, 1.0, 0.0),
    "burst-16": _kind(burst(16), 2.0**-8, 0.0),
    "burst-32": _kind(burst(32), 2.0**-8, 0.0),
    "burst-33": _kind(burst(33), 2.0**-8, 2.0**-31),
    "burst-40": _kind(burst(40), 2.0**-8, _ANY),
    "cut": _kind(cut, 2.0**-8, _ANY),
    "chance": _kind(chance, 2.0**-8, _ANY),
}
#: Intervals of all kinds and profiles, each of CONFIDENCE, would call a right share wrong in every third run:
#: the verdict is by intervals which hold all together with that confidence (Bonferroni).
VERDICT_CONFIDENCE = 1 - (1 - CONFIDENCE) / (len(KINDS) * len(PROFILES))


def wilson(hits: int, count: int, *, confidence: float) -> tuple[float, float]:
    """Return the interval of a share (Wilson 1927); (0, 1) of nothing counted."""
    if not count:
        return 0.0, 1.0
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), hits / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At the ends p itself, not what rounding leaves of it.
    return 0.0 if not hits else max(0.0, middle - half), 1.0 if hits == count else min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often damage of a kind was missed."""

    profile: str
    kind: str
    #: Damaged packets that came to be judged, and of these those that were taken for whole.
    packets: int
    missed: int

    @property
    def theory(self) -> float:
        """The share that theory says is missed."""
        return KINDS[self.kind].theory[self.profile]

    @property
    def interval(self) -> tuple[float, float]:
        """The share that is missed, between these, by what was measured."""
        return wilson(self.missed, self.packets, confidence=CONFIDENCE)

    @property
    def verdict(self) -> str:
        """``inside`` or ``outside``: where theory lies; ``not measured``: nothing came."""
        if not self.packets:
            return "not measured"
        low, high = wilson(self.missed, self.packets, confidence=VERDICT_CONFIDENCE)
        return "inside" if low <= self.theory <= high else "outside"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data; shares are of 1."""
        low, high = self.interval
        return {
            "profile": self.profile,
            "damage": self.kind,
            "packets": self.packets,
            "missed": self.missed,
            "theory": self.theory,
            "measured": self.missed / self.packets if self.packets else None,
            "low": low,
            "high": high,
            "verdict": self.verdict,
        }
