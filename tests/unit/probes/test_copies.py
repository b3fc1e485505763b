"""What a damaged packet was is found among few, however many were sent."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.probes.wire.copies import Copies

_SIZE = 400


def _flipped(packet: bytes, *bits: int) -> bytes:
    number = int.from_bytes(packet, "big")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(len(packet), "big")


@pytest.fixture(name="sent")
def _sent() -> list[bytes]:
    return [Random(index).randbytes(_SIZE) for index in range(300)]


@pytest.fixture(name="copies")
def _copies(sent: list[bytes]) -> Copies[int]:
    copies: Copies[int] = Copies()
    for index, packet in enumerate(sent):
        copies.add(packet, index, index)
    return copies


@pytest.mark.parametrize("byte", [0, 99, 100, 250, 399])
def test_a_flipped_bit_in_any_part_is_found(copies: Copies[int], sent: list[bytes], byte: int) -> None:
    assert copies.nearest(_flipped(sent[7], 8 * byte), 299) == (1 << 8 * byte, 7)


def test_eight_bits_are_damage_and_nine_another_packet(copies: Copies[int], sent: list[bytes]) -> None:
    assert copies.nearest(_flipped(sent[7], *range(8)), 299) == (0xFF, 7)
    assert copies.nearest(_flipped(sent[7], *range(9)), 299) is None
    assert copies.nearest(_flipped(sent[7], *range(9)), 299, ignored=1 << 8) == (0xFF, 7)


def test_nothing_is_a_copy_of_what_was_sent_later_or_does_not_fit(
    copies: Copies[int], sent: list[bytes]
) -> None:
    damaged = _flipped(sent[7], 0)
    assert copies.nearest(damaged, 7) == (1, 7)
    assert copies.nearest(damaged, 6) is None
    assert copies.nearest(damaged, 299, fits=lambda index: index != 7) is None


def test_of_packets_with_equal_parts_only_the_latest_are_looked_at() -> None:
    looked_at: list[int] = []
    copies: Copies[int] = Copies()
    for index in range(1000):
        copies.add(index.to_bytes(100, "big") + bytes(300), index, index)

    def fits(index: int) -> bool:
        looked_at.append(index)
        return False

    # All but the first part are zeros, as in each of the thousand.
    assert copies.nearest(_flipped(bytes(_SIZE), 8 * 399), 999, fits=fits) is None
    assert set(looked_at) <= set(range(936, 1000))
    # Its first part is nobody else's.
    assert copies.nearest(_flipped((10).to_bytes(100, "big") + bytes(300), 0), 999) == (1, 10)
