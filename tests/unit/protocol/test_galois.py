"""The field under Reed-Solomon, against published values (SPEC 12.2-3)."""

from __future__ import annotations

from random import Random

import numpy as np

from node.protocol.fec.galois import EXP, LANES, LOG, PRODUCTS, inverse, lane_table, multiply, unpack
from node.protocol.fec.reed_solomon import coefficient, invert


def slowly(a: int, b: int) -> int:
    """Multiply as polynomials, bit by bit, and reduce by 0x11d."""
    total = 0
    for bit in range(8):
        if b >> bit & 1:
            total ^= a << bit
    for bit in range(14, 7, -1):
        if total >> bit & 1:
            total ^= 0x11D << (bit - 8)
    return total


def test_powers_of_two_are_the_published_ones() -> None:
    """The first powers as in the tables of ISO/IEC 18004 (QR codes), which use the same polynomial."""
    assert EXP[:16] == [1, 2, 4, 8, 16, 32, 64, 128, 29, 58, 116, 232, 205, 135, 19, 38]
    assert EXP[254] == 142
    assert EXP[255:270] == EXP[:15]
    assert [LOG[value] for value in (1, 2, 3, 5, 7, 255)] == [0, 1, 25, 50, 198, 175]


def test_products_are_those_of_polynomials() -> None:
    for a in range(256):
        for b in range(256):
            assert PRODUCTS[a, b] == slowly(a, b)


def test_an_element_times_its_inverse_is_one() -> None:
    assert all(multiply(a, inverse(a)) == 1 for a in range(1, 256))


def test_lanes_hold_the_products_of_their_coefficients() -> None:
    coefficients = [1, 2, 3, 0, 255, 7, 8, 29]
    row = np.arange(256, dtype=np.uint8)
    found = unpack(lane_table(coefficients).take(row), LANES)
    assert (found == PRODUCTS[coefficients]).all()


def test_inverse_of_a_part_of_the_cauchy_matrix() -> None:
    rng = Random(5)
    for size in (1, 2, 3, 9, 32):
        repairs, rows = sorted(rng.sample(range(32), size)), sorted(rng.sample(range(128), size))
        inverted = invert(repairs, rows)
        for i in range(size):
            for j in range(size):
                total = 0
                for k in range(size):
                    total ^= multiply(inverted[i][k], coefficient(repairs[k], rows[j]))
                assert total == (i == j)


def test_first_coefficients() -> None:
    """Repair symbol 0 is parity; symbol 1 has 255 / 254 first: 2^175 / 2^88, from the published table."""
    assert [coefficient(0, row) for row in range(128)] == [1] * 128
    assert LOG[254] == 88
    assert coefficient(1, 0) == EXP[175 - 88] == 127
    assert coefficient(1, 1) == multiply(254, inverse(255))
