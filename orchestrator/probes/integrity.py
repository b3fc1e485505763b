"""How much damage each integrity profile finds: measured packet by packet, compared with theory (SPEC 4.1).

Packets are made and checked by the second reading of the format, so the figures say nothing of the node's own
code: that it drops what the reading drops, the vectors and the captures of corrupting links show. Beside the
measurement some of the damaged packets go to every host, without a UDP checksum: none may harm a flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.dissectors.protection import HEADER_BYTES, TAG_BYTES, TagError, opener, seal
from orchestrator.backends.base import Deployment
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.sniffing import framed
from orchestrator.probes.ways import targets
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan

PROFILES = ("xor", "crc32c", "aead")
#: Damaged packets of each kind and profile.
TRIALS = 1000
#: Bytes of a packet, header and tag included.
SIZE = 400
#: Standard deviations of the interval: of some thirty intervals, one misses in thousands of runs.
_Z = 4.0
#: Frames of damage that go to hosts, over the probe's time.
_FRAMES = 60

Damage = Callable[[bytearray, Random], bytearray]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often damage of a kind was not found."""

    profile: str
    damage: str
    trials: int
    slipped: int
    #: The share that theory says slips through.
    theory: float

    @property
    def interval(self) -> tuple[float, float]:
        """The share that slips, between these, by what was measured (Wilson)."""
        n, p, z = self.trials, self.slipped / self.trials, _Z
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def agrees(self) -> bool:
        """Whether theory lies in the interval."""
        low, high = self.interval
        return low <= self.theory <= high

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.profile:7}{self.damage:10} asked {self.trials}, slipped: theory {self.theory:.3g}, "
            f"measured {self.slipped / self.trials:.3g} ({low:.3g} to {high:.3g})"
        )


def measure(rng: Random, *, trials: int = TRIALS) -> list[Rate]:
    """Return the rates of every profile and kind of damage."""
    rates = []
    for profile in PROFILES:
        for name, (damage, *theory) in DAMAGES.items():
            slipped = sum(_slips(profile, damage, rng) for _ in range(trials))
            rates.append(Rate(profile, name, trials, slipped, theory[PROFILES.index(profile)]))
    return rates


def _slips(profile: str, damage: Damage, rng: Random) -> bool:
    """Damage one packet; return whether its tag is right nevertheless."""
    number, key = rng.getrandbits(31), rng.randbytes(32)
    header = b"\x41" + rng.randbytes(8) + number.to_bytes(4, "big")
    payload = rng.randbytes(SIZE - HEADER_BYTES - TAG_BYTES[profile])
    packet = seal(profile, key, header, payload, number)
    damaged = bytes(damage(bytearray(packet), rng))
    assert damaged != packet
    try:
        opener(profile, key)(damaged, number)
    except TagError:
        return False
    return True


def _flip(count: int) -> Damage:
    def flip(packet: bytearray, rng: Random) -> bytearray:
        for bit in rng.sample(range(8 * len(packet)), count):
            packet[bit >> 3] ^= 0x80 >> (bit & 7)
        return packet

    return flip


def _burst(length: int) -> Damage:
    """Damage from one flipped bit to another, ``length`` bits from end to end, by chance between."""

    def burst(packet: bytearray, rng: Random) -> bytearray:
        pattern = (1 << (length - 1)) | 1 | (rng.getrandbits(length) & ((1 << length) - 1))
        pattern |= 1 << (length - 1)
        at = rng.randrange(8 * len(packet) - length + 1)
        whole = int.from_bytes(packet, "big") ^ (pattern << (8 * len(packet) - length - at))
        return bytearray(whole.to_bytes(len(packet), "big"))

    return burst


def _swap(packet: bytearray, rng: Random) -> bytearray:
    """Exchange two 16-bit words that differ."""
    while True:
        first, second = (2 * word for word in rng.sample(range(len(packet) // 2), 2))
        if packet[first : first + 2] != packet[second : second + 2]:
            break
    packet[first : first + 2], packet[second : second + 2] = (
        packet[second : second + 2], packet[first : first + 2],
    )  # fmt: skip
    return packet


def _truncate(packet: bytearray, rng: Random) -> bytearray:
    return packet[: -rng.randrange(1, len(packet) - HEADER_BYTES - max(TAG_BYTES.values()) - 1)]


def _random(packet: bytearray, rng: Random) -> bytearray:
    """Put chance in the place of all that stands behind the header."""
    return packet[:HEADER_BYTES] + rng.randbytes(len(packet) - HEADER_BYTES)


#: The share of each kind that slips through xor, crc32c, aead. XOR is a parity of each of the eight columns
#: of bits: two flips cancel in one column, an odd number of flips never does, words may change places, and
#: what touches all columns by chance slips once in 2^8. CRC-32C finds all bursts up to 32 bits and, at these
#: lengths, all three flips (its Hamming distance is 6 up to 5243 bits of data); a burst of 33 bits is its
#: polynomial once in 2^31, all else slips once in 2^32. A forged tag of AES-GCM is right once in 2^128.
_TWO = (SIZE - 1) / (8 * SIZE - 1)
_CRC, _AEAD = 2.0**-32, 2.0**-128
DAMAGES: dict[str, tuple[Damage, float, float, float]] = {
    "flip-1": (_flip(1), 0.0, 0.0, _AEAD),
    "flip-2": (_flip(2), _TWO, 0.0, _AEAD),
    "flip-3": (_flip(3), 0.0, 0.0, _AEAD),
    "burst-16": (_burst(16), 2.0**-8, 0.0, _AEAD),
    "burst-32": (_burst(32), 2.0**-8, 0.0, _AEAD),
    "burst-33": (_burst(33), 2.0**-8, 2.0**-31, _AEAD),
    "swap": (_swap, 1.0, _CRC, _AEAD),
    "truncate": (_truncate, 2.0**-8, _CRC, _AEAD),
    "random": (_random, 2.0**-8, _CRC, _AEAD),
}


@PROBES.register("integrity")
class IntegrityProbe:
    """Measures what share of damage each integrity profile misses, and compares it with theory."""

    name: ClassVar[str] = "integrity"

    async def run(
        self,
        deployment: Deployment,
        plan: DeploymentPlan,
        *,
        endpoint: LinkEndpoint,
        duration: int,
        rng: Random,
    ) -> ProbeResult:
        """Measure, and send damage to hosts for ``duration`` ns; the verdict is whether theory holds.

        Raises:
            ProbeError: the endpoint is not in the plan, or there is nobody to send to.
        """
        found = targets(plan, endpoint, probe=self.name)
        rates = measure(rng)
        for sent in range(_FRAMES):
            source, hop, target = found[sent % len(found)]
            damage, *_ = DAMAGES[rng.choice(list(DAMAGES))]
            header = b"\x41" + rng.randbytes(12)
            whole = seal(rng.choice(("xor", "crc32c")), b"", header, rng.randbytes(SIZE), 0)
            frame = framed(
                bytes(damage(bytearray(whole), rng)),
                macs=(source[0], hop[0]),
                source=(source[1], target.port),
                destination=(hop[1], target.port),
            )
            await deployment.inject(endpoint, frame)
            await deployment.sleep(duration // _FRAMES)
        figures = {"frames_sent": float(_FRAMES), "damaged_packets_each": float(TRIALS)}
        for rate in rates:
            named = f"{rate.profile}_{rate.damage.replace('-', '_')}_slipped_share"
            figures[named] = rate.slipped / rate.trials
        return ProbeResult(
            self.name,
            passed=all(rate.agrees for rate in rates),
            figures=figures,
            notes=tuple(map(str, rates)),
        )
