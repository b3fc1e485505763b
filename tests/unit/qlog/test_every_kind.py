"""Every kind of event and frame there is becomes a record that qvis takes, whoever added it (SPEC 16-2)."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, get_args

import pytest

from node.protocol import trace
from node.protocol.configuration import Configuration
from node.protocol.wire.frames import Frame
from node.protocol.wire.parameters import TransportParameters
from node.qlog.encoder import Encoder
from node.qlog.frames import frames_data

EVENTS = [
    kind
    for kind in vars(trace).values()
    if isinstance(kind, type) and issubclass(kind, trace.TraceEvent) and hasattr(kind, "name")
]
CATEGORIES = {"connectivity", "transport", "recovery", "security", "strait"}

#: A value for each type that fields of events and frames have, as written there.
SAMPLES: dict[str, Any] = {
    "int": 1,
    "int | None": 2,
    "str": "word",
    "str | None": "word",
    "bool": True,
    "bytes": bytes(8),
    "Data": b"data",
    "EcnCounts | None": (5, 0, 1),
    "bytes | memoryview": b"data",
    "Duration": 1_000_000,
    "Duration | None": 1_000_000,
    "Range": (0, 2),
    "Range | None": (0, 2),
    "tuple[Range, ...]": ((0, 2), (3, 4)),
    "tuple[tuple[int, int], ...]": ((0, 2), (3, 4)),
    "SocketAddress": ("10.0.0.1", 4433),
    "TransportParameters": TransportParameters.of(Configuration(), bytes(8)),
    "tuple[Frame | StreamPart, ...]": (trace.StreamPart(0, 0, 10, True),),
    "StreamRun | None": trace.StreamRun(0, 0, 10, 10, True),
}


def sample(kind: type) -> Any:
    """Return one of a kind (KeyError: SAMPLES has no value for the type of a field)."""
    return kind(**{field.name: value(str(field.type)) for field in fields(kind)})


def value(kind: str) -> Any:
    """Return a value of a type as it is written."""
    if kind not in SAMPLES and kind.endswith("| None"):
        return None
    return () if kind not in SAMPLES and kind.startswith("tuple[") else SAMPLES[kind]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_becomes_records(kind: type[trace.TraceEvent]) -> None:
    encoder = Encoder(
        initiator=True, name="oslo", local=("10.0.0.1", 1), group=bytes(8), reference=0, reference_time=1.0
    )
    found = [json.loads(record[1:]) for record in encoder.encode(5, sample(kind))]
    assert found
    for record in found:
        assert record.keys() == {"time", "name", "data"}
        assert record["name"] == kind.name
        assert record["name"].partition(":")[0] in CATEGORIES


def test_no_two_events_have_one_name() -> None:
    assert len({kind.name for kind in EVENTS}) == len(EVENTS) > 20


@pytest.mark.parametrize("kind", get_args(Frame), ids=lambda kind: kind.__name__)
def test_every_frame_has_a_name_and_fits_into_json(kind: type) -> None:
    (found,) = frames_data([sample(kind)])
    assert found["frame_type"].islower()
    assert json.loads(json.dumps(found)).keys() == found.keys()
