"""Trace events → records of a qlog 0.3 file in JSON text sequences (SPEC 16-2).

One trace event may be many records: a burst becomes the packets it was. The hot one, a packet of a
bulk burst, is filled into a template; everything else goes through ``json``. The same events give
the same bytes: keys keep their order, and times are printed from whole nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from node.protocol import trace
from node.protocol.datagrams import SocketAddress
from node.protocol.streams.table import UNIDIRECTIONAL
from node.protocol.time import MILLISECOND, Duration, Instant
from node.protocol.wire.setup import VERSION
from node.qlog.frames import error_space, frames_data, stream_kind

QLOG_VERSION = "0.3"
RECORD_SEPARATOR = "\x1e"

#: qlog's packet types for ours; of any other it is ``unknown``.
_PACKET_TYPES = {
    "initiation": "initial",
    "response": "initial",
    "completion": "handshake",
    "retry": "retry",
    "early": "0RTT",
    "data": "1RTT",
    "stateless_reset": "stateless_reset",
}
#: qlog's words for the codepoints of ECN.
_ECN = ("Not-ECT", "ECT(1)", "ECT(0)", "CE")
#: qlog's words for the states of a connection.
_STATES = {
    "initiating": "attempted",
    "responding": "handshake_started",
    "established": "handshake_confirmed",
}


class Encoder:
    """Encodes the events of one connection.

    Args:
        initiator: whether the events are the initiator's: qlog's client; None: they are of no connection.
        name: of the node, for people.
        local: the node's own socket address, which the core does not know.
        group: the initiator's connection ID: qlog's ODCID, the same in the files of both ends.
        reference: the instant that is time 0 in the file.
        reference_time: the same in ms since 1970, as far as known.
    """

    def __init__(
        self, *, initiator: bool | None, name: str, local: SocketAddress, group: bytes, reference: Instant,
        reference_time: float,
    ) -> None:  # fmt: skip
        self._vantage = {True: "client", False: "server", None: "unknown"}[initiator]
        self._name, self._local = name, local
        self._group = group
        self._reference = reference
        self._reference_time = reference_time
        #: The connection ID in the header of the DATA packets that are sent.
        self._target = ""
        #: Metrics as last told: qlog has only what has changed.
        self._metrics: dict[str, Any] = {}

    def header(self) -> str:
        """Return the file's first record."""
        common: dict[str, Any] = {
            "time_format": "relative",
            "reference_time": self._reference_time,
            "protocol_type": ["STRAIT"],
        }
        if self._group:
            common["ODCID"] = self._group.hex()
        return _record(
            {
                "qlog_version": QLOG_VERSION,
                "qlog_format": "JSON-SEQ",
                "title": f"Strait at {self._name}",
                "trace": {
                    "title": self._name,
                    "vantage_point": {"name": self._name, "type": self._vantage},
                    "common_fields": common,
                },
            }
        )

    def encode(self, now: Instant, event: trace.TraceEvent) -> Iterator[str]:
        """Yield the records of one event."""
        time = self._time(now)
        if isinstance(event, trace.ParametersSet) and event.owner == "remote":
            self._target = event.parameters.connection_id.hex()
        elif isinstance(event, trace.ConnectionIdUpdated):
            self._target = event.new.hex()
        if isinstance(event, trace.PacketSent | trace.PacketReceived):
            yield from _packets(time, event, self._target if isinstance(event, trace.PacketSent) else "")
        elif isinstance(event, trace.PacketLost):
            for number in _numbers(event.ranges):
                header = {"packet_type": "1RTT", "packet_number": number}
                yield _event(time, event.name, {"header": header, "trigger": event.trigger})
        elif isinstance(event, trace.MetricsUpdated):
            changed = self._changed(_metrics(event))
            if changed:
                yield _event(time, event.name, changed)
        elif isinstance(event, trace.ConnectionStarted):
            yield _event(time, event.name, _started(event, self._local))
        elif isinstance(event, trace.KeyUpdated | trace.KeyDiscarded):
            yield _event(time, event.name, self._keys(event))
        else:
            special = _EVENTS.get(type(event))
            yield _event(time, event.name, special(event) if special is not None else _plain(event))

    def cut(self, now: Instant, why: str) -> str:
        """Return the last record of a file that ends before its connection did."""
        return _event(self._time(now), "strait:trace_cut", {"reason": why})

    def _keys(self, event: trace.KeyUpdated | trace.KeyDiscarded) -> dict[str, Any]:
        """qlog names keys by who seals with them: client or server."""
        ours = event.owner == "local"
        end = self._vantage if ours else {"client": "server", "server": "client"}[self._vantage]
        return {"key_type": f"{end}_1rtt_secret"} | {
            key: value for key, value in _plain(event).items() if key != "owner"
        }

    def _time(self, now: Instant) -> str:
        past = max(0, now - self._reference)
        return f"{past // MILLISECOND}.{past % MILLISECOND:06d}"

    def _changed(self, metrics: dict[str, Any]) -> dict[str, Any]:
        known = self._metrics
        changed = {k: v for k, v in metrics.items() if v is not None and known.get(k) != v}
        known.update(changed)
        return changed


def _record(data: dict[str, Any]) -> str:
    return f"{RECORD_SEPARATOR}{json.dumps(data, separators=(',', ':'))}\n"


def _event(time: str, name: str, data: dict[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return f'{RECORD_SEPARATOR}{{"time":{time},"name":"{name}","data":{text}}}\n'


def _packets(time: str, event: trace.PacketSent | trace.PacketReceived, target: str) -> Iterator[str]:
    """Yield a record for each packet of a burst; ``target``: connection ID in the header, if known."""
    kind = _PACKET_TYPES.get(event.kind, "unknown")
    if kind == "unknown":
        kind += f'","strait_type":"{event.kind}'
    if event.kind == "data" and target:
        kind += f'","dcid":"{target}'
    head = (
        f'{RECORD_SEPARATOR}{{"time":{time},"name":"{event.name}","data":'
        f'{{"header":{{"packet_type":"{kind}","packet_number":'
    )
    run = event.run
    text = "" if run is not None else json.dumps(frames_data(event.frames), separators=(",", ":"))
    last = event.count - 1
    for index in range(event.count):
        size = event.size if index != last else event.last_size
        if run is not None:
            offset = run.offset + index * run.size
            length = run.size if index != last else run.end - offset
            fin = ',"fin":true' if run.fin and index == last else ""
            text = (
                f'[{{"frame_type":"{"message" if run.message else "stream"}","stream_id":{run.stream_id},'
                f'"offset":{offset},"length":{length}{fin}}}]'
            )
        yield f'{head}{event.first + index}}},"raw":{{"length":{size}}},"frames":{text}}}}}\n'


def _numbers(ranges: tuple[trace.Range, ...]) -> Iterator[int]:
    for start, end in ranges:
        yield from range(start, end)


def _ms(duration: Duration | None) -> float | None:
    return None if duration is None else duration / MILLISECOND


def _metrics(event: trace.MetricsUpdated) -> dict[str, Any]:
    return {
        "min_rtt": _ms(event.min_rtt),
        "smoothed_rtt": _ms(event.smoothed_rtt),
        "latest_rtt": _ms(event.latest_rtt),
        "rtt_variance": _ms(event.rttvar),
        "pto_count": event.pto_count,
        "congestion_window": event.congestion_window,
        "bytes_in_flight": event.bytes_in_flight,
        "packets_in_flight": event.packets_in_flight,
        "ssthresh": event.ssthresh,
        "pacing_rate": event.pacing_rate * 8,  # qlog: bits a second
    }


def _started(event: trace.ConnectionStarted, local: SocketAddress) -> dict[str, Any]:
    host, port = event.remote[0], event.remote[1]
    return {
        "ip_version": "v6" if ":" in host else "v4",
        "src_ip": local[0],
        "dst_ip": host,
        "protocol": "STRAIT",
        "src_port": local[1],
        "dst_port": port,
        "src_cid": event.source_connection_id.hex(),
        "strait_version": f"{VERSION:08x}",
        "dst_node": f"{event.remote_node:016x}",
    }


def _closed(event: trace.ConnectionClosed) -> dict[str, Any]:
    key = "application_code" if error_space(event.code) == "application" else "connection_code"
    return {"owner": event.owner, key: event.code, "reason": event.reason}


def _state(event: trace.ConnectionStateUpdated) -> dict[str, Any]:
    return {"old": _STATES.get(event.old, event.old), "new": _STATES.get(event.new, event.new)}


def _parameters(event: trace.ParametersSet) -> dict[str, Any]:
    """qlog knows a window for each kind of streams; ours is one for all."""
    found = {field.name: getattr(event.parameters, field.name) for field in fields(event.parameters)}
    window, ticket = found.pop("initial_max_stream_data"), found.pop("ticket")
    # What is not there is not said; what a ticket holds is nobody's business.
    found["ticket_length"] = len(ticket) or None
    found["early_accepted"] = found["early_accepted"] or None
    data: dict[str, Any] = {
        "owner": event.owner,
        "initial_source_connection_id": found.pop("connection_id").hex(),
        "max_idle_timeout": found.pop("max_idle_timeout") / MILLISECOND,
        "max_ack_delay": found.pop("max_ack_delay") / MILLISECOND,
        "max_udp_payload_size": found.pop("max_datagram_size"),
        "initial_max_data": found.pop("initial_max_data"),
        "initial_max_stream_data_bidi_local": window,
        "initial_max_stream_data_bidi_remote": window,
        "initial_max_stream_data_uni": window,
    }
    return data | {key: _json(value) for key, value in found.items() if value is not None}


def _datagrams(event: trace.DatagramsSent | trace.DatagramsReceived) -> dict[str, Any]:
    last = event.size - (event.count - 1) * event.segment_size
    sizes = [event.segment_size] * (event.count - 1) + [last]
    data = {"count": event.count, "raw": [{"length": size} for size in sizes]}
    return {**data, "ecn": [_ECN[event.ecn]] * event.count} if event.ecn else data


def _dropped(event: trace.PacketDropped) -> dict[str, Any]:
    data: dict[str, Any] = {"raw": {"length": event.size}, "trigger": event.trigger, "details": event.reason}
    if event.number is not None:
        data["header"] = {"packet_type": "1RTT", "packet_number": event.number}
    return data


def _acked(event: trace.PacketsAcked) -> dict[str, Any]:
    return {"packet_number_space": "application_data", "packet_numbers": list(_numbers(event.ranges))}


def _stream_state(event: trace.StreamStateUpdated) -> dict[str, Any]:
    data: dict[str, Any] = {
        "stream_id": event.stream_id,
        "stream_type": stream_kind(unidirectional=bool(event.stream_id & UNIDIRECTIONAL)),
        "new": _stream_word(event.new),
        "stream_side": "sending" if event.sending else "receiving",
    }
    return data if event.old is None else {**data, "old": _stream_word(event.old)}


def _stream_word(state: str) -> str:
    """Return qlog's word for a stream's state."""
    return {"sending": "send", "receiving": "receive"}.get(state, state.replace(" ", "_"))


def _moved(event: trace.DataMoved) -> dict[str, Any]:
    ends = ("transport", "application") if event.to_application else ("application", "transport")
    return {
        "stream_id": event.stream_id,
        "offset": event.offset,
        "length": event.length,
        "from": ends[0],
        "to": ends[1],
    }


def _recovery(event: trace.RecoveryParametersSet) -> dict[str, Any]:
    times = {
        "timer_granularity": _ms(event.timer_granularity),
        "initial_rtt": _ms(event.initial_rtt),
    }
    return _plain(event) | times


def _timer(event: trace.LossTimerUpdated) -> dict[str, Any]:
    return {
        "timer_type": event.timer,
        "packet_number_space": "application_data",
        "event_type": "expired",
    }


def _marked(event: trace.MarkedForRetransmit) -> dict[str, Any]:
    parts = [trace.StreamPart(event.stream_id, low, high - low, False) for low, high in event.ranges]
    return {"frames": frames_data(parts)}


def _plain(event: trace.TraceEvent) -> dict[str, Any]:
    """Say an event of our own by its fields, but for what is not there."""
    found = {field.name: getattr(event, field.name) for field in fields(event)}
    if "frames" in found:
        found["frames"] = frames_data(found["frames"])
    return {name: _json(value) for name, value in found.items() if value is not None}


def _json(value: object) -> object:
    return bytes(value).hex() if isinstance(value, bytes | bytearray) else value


#: What has a form of its own. Any: each function takes just the class it stands beside.
_EVENTS: dict[type, Callable[[Any], dict[str, Any]]] = {
    trace.ConnectionClosed: _closed,
    trace.ConnectionStateUpdated: _state,
    trace.ParametersSet: _parameters,
    trace.DatagramsSent: _datagrams,
    trace.DatagramsReceived: _datagrams,
    trace.PacketDropped: _dropped,
    trace.PacketsAcked: _acked,
    trace.StreamStateUpdated: _stream_state,
    trace.DataMoved: _moved,
    trace.RecoveryParametersSet: _recovery,
    trace.LossTimerUpdated: _timer,
    trace.MarkedForRetransmit: _marked,
}
