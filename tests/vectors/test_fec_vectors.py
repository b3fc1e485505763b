"""Source and repair symbols against the vectors (SPEC 12.1-4, 12.1-5, 12.2-2, 12.2-3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.protocol.fec.base import FEC_SCHEMES
from node.protocol.repair.symbols import SymbolLayout
from tests.vectors import strait

FILE = Path(__file__).parent / "fec.json"


def _vectors() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def _label(vector: dict[str, Any]) -> str:
    return f"{vector['scheme']}-{len(vector['payloads'])}-{len(vector['repairs'])}"


def test_vectors_are_what_their_generator_makes() -> None:
    assert FILE.read_text(encoding="utf-8") == strait.texts()["fec.json"]


@pytest.mark.parametrize("vector", _vectors(), ids=_label)
def test_payloads_make_the_repair_symbols_and_come_back_from_them(vector: dict[str, Any]) -> None:
    layout, scheme = SymbolLayout(checked=vector["checked"]), FEC_SCHEMES[vector["scheme"]]()
    payloads = [bytes.fromhex(payload) for payload in vector["payloads"]]
    first, repairs = vector["first_packet_number"], [bytes.fromhex(repair) for repair in vector["repairs"]]
    total, size = len(repairs), len(repairs[0])
    encoder = scheme.encoder(total, size)
    rows = np.zeros((len(payloads), size), dtype=np.uint8)
    for number, payload in enumerate(payloads):
        symbol = layout.symbol(first + number, payload)
        encoder.add(symbol)
        rows[number, : symbol.shape[1]] = symbol
    assert [repair.tobytes() for repair in encoder.repairs(total)] == repairs
    lost = list(range(min(total, len(payloads))))
    rows[lost] = 0
    known = {index: np.frombuffer(repair, dtype=np.uint8) for index, repair in enumerate(repairs)}
    scheme.rebuild(rows, lost, known, total)
    assert [layout.payload(first + number, rows[number]) for number in lost] == [payloads[n] for n in lost]
