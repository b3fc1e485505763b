"""What every FEC scheme keeps (SPEC 12.2): one file more is one scheme more here."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.fec.base import FEC_SCHEMES, FecScheme, Rows
from node.protocol.wire.fec_frames import MAX_BLOCK_PACKETS, MAX_REPAIRS

every_scheme = pytest.mark.parametrize("name", FEC_SCHEMES.names())


def symbols(count: int, size: int, seed: int = 1) -> Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, size), dtype=np.uint8)


def encoded(scheme: FecScheme, rows: Rows, repairs: int) -> dict[int, Rows]:
    encoder = scheme.encoder(repairs, rows.shape[1])
    encoder.add(rows)
    return dict(enumerate(encoder.repairs(MAX_REPAIRS)))


def mended(scheme: FecScheme, rows: Rows, lost: list[int], repairs: dict[int, Rows], total: int) -> list[int]:
    """Lose rows and rebuild; return which came back, after checking that they came back right."""
    damaged = rows.copy()
    damaged[lost] = 0
    back = scheme.repairable(lost, repairs, total)
    scheme.rebuild(damaged, lost, repairs, total)
    assert (damaged[back] == rows[back]).all()
    kept = [row for row in range(len(rows)) if row not in lost]
    assert (damaged[kept] == rows[kept]).all()
    return back


@every_scheme
@pytest.mark.parametrize("total", [1, 2, 5, MAX_REPAIRS])
def test_one_loss_is_repaired_wherever_it_is(name: str, total: int) -> None:
    scheme, rows = FEC_SCHEMES[name](), symbols(20, 33)
    repairs = encoded(scheme, rows, total)
    for lost in range(20):
        assert mended(scheme, rows, [lost], repairs, total) == [lost]


@every_scheme
def test_a_run_as_long_as_there_are_repair_symbols_is_repaired(name: str) -> None:
    scheme, rows = FEC_SCHEMES[name](), symbols(MAX_BLOCK_PACKETS, 5)
    for total in (1, 3, 8, 9, MAX_REPAIRS):
        repairs = encoded(scheme, rows, total)
        for start in (0, 7, MAX_BLOCK_PACKETS - total):
            lost = list(range(start, start + total))
            assert mended(scheme, rows, lost, repairs, total) == lost


@every_scheme
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_rows_in_portions_and_of_any_length_make_the_same_repair(name: str, data: st.DataObject) -> None:
    """A shorter row counts as if zeros followed; how rows are handed over changes nothing."""
    scheme = FEC_SCHEMES[name]()
    total = data.draw(st.integers(1, MAX_REPAIRS))
    portions = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=8))
    encoder = scheme.encoder(total, 40)
    whole = []
    for index, (count, size) in enumerate(portions):
        rows = symbols(count, size, index)
        encoder.add(rows)
        whole.append(np.pad(rows, ((0, 0), (0, 40 - size))))
    again = scheme.encoder(total, 40)
    again.add(np.concatenate(whole))
    assert (encoder.repairs(MAX_REPAIRS) == again.repairs(MAX_REPAIRS)).all()


@every_scheme
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_is_named_repairable_is_rebuilt_right_from_any_part(name: str, data: st.DataObject) -> None:
    scheme = FEC_SCHEMES[name]()
    count, total = data.draw(st.integers(1, MAX_BLOCK_PACKETS)), data.draw(st.integers(1, MAX_REPAIRS))
    rows = symbols(count, 3, data.draw(st.integers(0, 9)))
    lost = sorted(data.draw(st.sets(st.integers(0, count - 1), max_size=MAX_REPAIRS + 1)))
    repairs = encoded(scheme, rows, total)
    for index in data.draw(st.sets(st.integers(0, total - 1))):
        repairs.pop(index)
    mended(scheme, rows, lost, repairs, total)


@every_scheme
@pytest.mark.parametrize("total", [1, 2, 8, 12, MAX_REPAIRS])
@pytest.mark.parametrize("most", [1, 3, 7, MAX_REPAIRS])
def test_fewer_repair_symbols_than_planned_protect_all_rows_as_well(name: str, total: int, most: int) -> None:
    scheme, rows = FEC_SCHEMES[name](), symbols(21, 4)
    encoder = scheme.encoder(total, 4)
    encoder.add(rows)
    few = encoder.repairs(most)
    assert 1 <= len(few) <= min(most, total)
    for lost in range(21):
        assert mended(scheme, rows, [lost], dict(enumerate(few)), len(few)) == [lost]


@every_scheme
@pytest.mark.parametrize("loss", [0.0005, 0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("burst", [1.0, 4.0, 500.0])
@pytest.mark.parametrize("packets", [1, 30, 10_000])
@pytest.mark.parametrize("overhead", [0.01, 0.25, 1.0])
def test_shapes_keep_all_bounds(name: str, loss: float, burst: float, packets: int, overhead: float) -> None:
    """SPEC 12.2-1."""
    shape = FEC_SCHEMES[name]().shape(loss=loss, burst=burst, packets=packets, overhead=overhead)
    assert 1 <= shape.packets <= MAX_BLOCK_PACKETS
    assert 1 <= shape.repairs <= MAX_REPAIRS
    assert shape.repairs <= overhead * shape.packets


@every_scheme
def test_more_loss_gets_more_repair(name: str) -> None:
    scheme = FEC_SCHEMES[name]()
    shares = []
    for loss in (0.001, 0.01, 0.03, 0.1):
        shape = scheme.shape(loss=loss, burst=1.0, packets=64, overhead=0.5)
        shares.append(shape.repairs / shape.packets)
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_reed_solomon_repairs_every_pattern_of_as_many_losses_as_repair_symbols() -> None:
    """SPEC 12.2-3: any k of n; here all patterns of losses among source and repair symbols."""
    scheme, rows = FEC_SCHEMES["reed-solomon"](), symbols(7, 4)
    everything = encoded(scheme, rows, 4)
    for count in range(5):
        for lost in combinations(range(11), count):
            missing = [row for row in lost if row < 7]
            repairs = {index: row for index, row in everything.items() if index + 7 not in lost}
            assert mended(scheme, rows, missing, repairs, 4) == missing
    assert mended(scheme, rows, [0, 1, 2, 3, 4], everything, 4) == []


def test_xor_repairs_one_loss_of_each_interleaved_row_and_no_more() -> None:
    """SPEC 12.2-2."""
    scheme, rows = FEC_SCHEMES["xor"](), symbols(9, 4)
    repairs = encoded(scheme, rows, 3)
    for lost in ([row for row in range(9) if pattern >> row & 1] for pattern in range(1 << 9)):
        alone = [row for row in lost if not any(other != row and other % 3 == row % 3 for other in lost)]
        assert mended(scheme, rows, lost, repairs, 3) == alone


def test_xor_of_known_rows() -> None:
    """SPEC 12.2-2, worked by hand: rows 0 and 2 are in symbol 0, rows 1 and 3 in symbol 1."""
    rows = np.array([[0x01, 0x10], [0x02, 0x20], [0x04, 0x40], [0x08, 0x80]], dtype=np.uint8)
    assert FEC_SCHEMES["xor"]().encoder(1, 2).repairs(1).tolist() == [[0, 0]]
    repairs = encoded(FEC_SCHEMES["xor"](), rows, 2)
    assert [repairs[0].tolist(), repairs[1].tolist()] == [[0x05, 0x50], [0x0A, 0xA0]]
