"""Frames as qlog has them (draft-ietf-quic-qlog-quic-events, "QuicFrame"); ours by their own names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from node.protocol.trace import StreamPart
from node.protocol.wire.frames import (
    Ack,
    Close,
    Frame,
    MaxStreams,
    NewTicket,
    Padding,
    ResetStream,
    StopSending,
)

#: Codes from here on are the application's own (SPEC 10).
_APPLICATION_ERRORS = 0x100
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def frames_data(frames: Iterable[Frame | StreamPart]) -> list[dict[str, Any]]:
    """Return frames as qlog's JSON has them; a run of PADDING is one."""
    found: list[dict[str, Any]] = []
    for frame in frames:
        if isinstance(frame, Padding) and found and found[-1]["frame_type"] == "padding":
            found[-1]["length"] = found[-1].get("length", 1) + frame.count
            continue
        special = _FRAMES.get(type(frame))
        found.append(special(frame) if special is not None else _by_its_fields(frame))
    return found


def stream_kind(*, unidirectional: bool) -> str:
    """Return what qlog calls a kind of streams."""
    return "unidirectional" if unidirectional else "bidirectional"


def error_space(code: int) -> str:
    """Return whose error a code is."""
    return "application" if code >= _APPLICATION_ERRORS else "transport"


def _stream(frame: StreamPart) -> dict[str, Any]:
    data = {
        "frame_type": "message" if frame.message else "stream",
        "stream_id": frame.stream_id,
        "offset": frame.offset,
        "length": frame.length,
    }
    return {**data, "fin": True} if frame.fin else data


def _ack(frame: Ack) -> dict[str, Any]:
    # Ranges include both ends; the delay is in ms.
    data: dict[str, Any] = {
        "frame_type": "ack",
        "ack_delay": frame.delay_us / 1000,
        "acked_ranges": [[start, end - 1] for start, end in frame.ranges],
    }
    if frame.ecn is not None:
        data |= dict(zip(("ect0", "ect1", "ce"), frame.ecn, strict=True))
    return data


def _padding(frame: Padding) -> dict[str, Any]:
    return {"frame_type": "padding", **({"length": frame.count} if frame.count > 1 else {})}


def _close(frame: Close) -> dict[str, Any]:
    return {
        "frame_type": "connection_close",
        "error_space": error_space(frame.code),
        "error_code": frame.code,
        "raw_error_code": frame.code,
        "reason": frame.reason,
    }


def _new_ticket(frame: NewTicket) -> dict[str, Any]:
    """Neither secret nor ticket: a trace is shown around."""
    return {"frame_type": "new_ticket", "lifetime": frame.lifetime, "length": len(frame.ticket)}


def _max_streams(frame: MaxStreams) -> dict[str, Any]:
    kind = stream_kind(unidirectional=frame.unidirectional)
    return {"frame_type": "max_streams", "stream_type": kind, "maximum": frame.maximum}


def _by_its_fields(frame: Any) -> dict[str, Any]:
    """Say a frame by the names of its class and fields: qvis shows what it does not know by its type."""
    data: dict[str, Any] = {"frame_type": _WORD.sub("_", type(frame).__name__).lower()}
    for field in fields(frame):
        value = getattr(frame, field.name)
        if isinstance(value, bytes | bytearray | memoryview):
            # Long ones are payload: their length says enough, and traces must stay small.
            data[field.name if len(value) <= 32 else f"{field.name}_length"] = (
                bytes(value).hex() if len(value) <= 32 else len(value)
            )
        else:
            data[field.name] = value
    return data


def _coded(name: str) -> Callable[[Any], dict[str, Any]]:
    """Return what says a frame whose ``code`` qlog calls error_code."""

    def data(frame: Any) -> dict[str, Any]:
        found = {**_by_its_fields(frame), "frame_type": name}
        found["error_code"] = found.pop("code")
        return found

    return data


#: What is not said by its own names. Any: each function takes just the class it stands beside.
_FRAMES: dict[type, Callable[[Any], dict[str, Any]]] = {
    StreamPart: _stream,
    Ack: _ack,
    Close: _close,
    MaxStreams: _max_streams,
    Padding: _padding,
    NewTicket: _new_ticket,
    ResetStream: _coded("reset_stream"),
    StopSending: _coded("stop_sending"),
}
