"""Trace events as qlog records (SPEC 16-2)."""

from __future__ import annotations

import json
from typing import Any

from node.protocol import trace
from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import (
    Ack,
    AckFrequency,
    Close,
    DataBlocked,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Padding,
    Ping,
    ResetStream,
    StopSending,
    StreamDataBlocked,
)
from node.protocol.wire.parameters import TransportParameters
from node.qlog.encoder import Encoder
from node.qlog.frames import frames_data

ODCID = bytes.fromhex("0102030405060708")


def encoder() -> Encoder:
    return Encoder(
        initiator=True, name="oslo", local=("10.0.0.1", 4433), group=ODCID, reference=SECOND,
        reference_time=946_684_800_000.0,
    )  # fmt: skip


def records(*events: trace.TraceEvent, using: Encoder | None = None) -> list[dict[str, Any]]:
    """Encode events of half a millisecond after the reference."""
    chosen = using or encoder()
    texts = [text for event in events for text in chosen.encode(SECOND + MILLISECOND // 2, event)]
    assert all(text.startswith("\x1e") and text.endswith("\n") for text in texts)
    return [json.loads(text[1:]) for text in texts]


def metrics(**changes: int | None) -> trace.MetricsUpdated:
    values: dict[str, Any] = {
        "min_rtt": 10 * MILLISECOND, "smoothed_rtt": 12 * MILLISECOND, "latest_rtt": 11 * MILLISECOND,
        "rttvar": MILLISECOND, "pto_count": 0, "congestion_window": 14_520, "bytes_in_flight": 1452,
        "packets_in_flight": 1, "ssthresh": None, "pacing_rate": 1_000_000,
    }  # fmt: skip
    return trace.MetricsUpdated(**{**values, **changes})


def test_header_names_version_format_and_connection() -> None:
    found = json.loads(encoder().header()[1:])
    assert (found["qlog_version"], found["qlog_format"]) == ("0.3", "JSON-SEQ")
    assert found["trace"]["vantage_point"] == {"name": "oslo", "type": "client"}
    assert found["trace"]["common_fields"] == {
        "time_format": "relative",
        "reference_time": 946_684_800_000.0,
        "protocol_type": ["STRAIT"],
        "ODCID": ODCID.hex(),
    }


def test_times_are_ms_since_the_reference_to_the_nanosecond() -> None:
    text = next(iter(encoder().encode(SECOND + 12_000_345, trace.PacketDropped("invalid", "odd", 9))))
    assert '"time":12.000345,' in text


def test_burst_becomes_its_packets() -> None:
    run = trace.StreamRun(4, 1000, 3500, 1000, fin=True)
    found = records(trace.PacketSent("data", 7, 3, 1042, 542, (), run))
    assert [record["name"] for record in found] == ["transport:packet_sent"] * 3
    assert [record["data"]["header"]["packet_number"] for record in found] == [7, 8, 9]
    assert {record["data"]["header"]["packet_type"] for record in found} == {"1RTT"}
    assert [record["data"]["raw"]["length"] for record in found] == [1042, 1042, 542]
    frames = [record["data"]["frames"] for record in found]
    assert frames == [
        [{"frame_type": "stream", "stream_id": 4, "offset": 1000, "length": 1000}],
        [{"frame_type": "stream", "stream_id": 4, "offset": 2000, "length": 1000}],
        [{"frame_type": "stream", "stream_id": 4, "offset": 3000, "length": 500, "fin": True}],
    ]


def test_header_of_a_packet_names_its_target() -> None:
    chosen = encoder()
    for owner, connection_id in (("local", b"ours----"), ("remote", b"theirs--")):
        parameters = TransportParameters.of(Configuration(), connection_id)
        records(trace.ParametersSet(owner, parameters), using=chosen)
    (sent,) = records(trace.PacketSent("data", 1, 1, 50, 50), using=chosen)
    assert sent["data"]["header"] == {"packet_type": "1RTT", "dcid": b"theirs--".hex(), "packet_number": 1}
    records(trace.ConnectionIdUpdated("remote", b"theirs--", b"another-"), using=chosen)
    (moved,) = records(trace.PacketSent("data", 3, 1, 50, 50), using=chosen)
    assert moved["data"]["header"]["dcid"] == b"another-".hex()


def test_set_up_packets_are_qlogs_initial_ones() -> None:
    for kind in ("initiation", "response"):
        (found,) = records(trace.PacketReceived(kind, 1, 1, 1200, 1200))
        assert found["data"]["header"] == {"packet_type": "initial", "packet_number": 1}


def test_frames_have_qlogs_names_and_fields() -> None:
    assert frames_data(
        [
            Ping(),
            MaxData(9),
            MaxStreamData(4, 7),
            MaxStreams(5, True),
            DataBlocked(1),
            StreamDataBlocked(4, 2),
            ResetStream(4, 3, 100),
            StopSending(4, 3),
        ]
    ) == [
        {"frame_type": "ping"},
        {"frame_type": "max_data", "maximum": 9},
        {"frame_type": "max_stream_data", "stream_id": 4, "maximum": 7},
        {"frame_type": "max_streams", "stream_type": "unidirectional", "maximum": 5},
        {"frame_type": "data_blocked", "limit": 1},
        {"frame_type": "stream_data_blocked", "stream_id": 4, "limit": 2},
        {"frame_type": "reset_stream", "stream_id": 4, "final_size": 100, "error_code": 3},
        {"frame_type": "stop_sending", "stream_id": 4, "error_code": 3},
    ]


def test_acknowledged_ranges_include_both_ends() -> None:
    (found,) = frames_data([Ack(((7, 9), (2, 3)), 1500)])
    assert found["acked_ranges"] == [[7, 8], [2, 2]]
    assert found["ack_delay"] == 1.5


def test_marks_are_told_of_datagrams_and_acknowledgements() -> None:
    (found,) = frames_data([Ack(((0, 9),), 0, (7, 0, 2))])
    assert (found["ect0"], found["ect1"], found["ce"]) == (7, 0, 2)
    plain, marked = records(trace.DatagramsSent(1, 50, 50), trace.DatagramsReceived(2, 90, 50, 3))
    assert "ecn" not in plain["data"]
    assert marked["data"] == {"count": 2, "raw": [{"length": 50}, {"length": 40}], "ecn": ["CE", "CE"]}


def test_close_says_whose_error_it_is() -> None:
    protocol, application = frames_data([Close(2, "no"), Close(0x100, "bye")])
    assert (protocol["frame_type"], protocol["error_space"]) == ("connection_close", "transport")
    assert (application["error_space"], application["reason"]) == ("application", "bye")


def test_frames_of_our_own_go_by_their_names() -> None:
    (found,) = frames_data([AckFrequency(1, 8, 2000)])
    assert found == {"frame_type": "ack_frequency", "sequence": 1, "packets": 8, "delay_us": 2000}


def test_padding_is_one_frame_however_long() -> None:
    assert frames_data([*[Padding()] * 600, Padding(300), Ping()]) == [
        {"frame_type": "padding", "length": 900},
        {"frame_type": "ping"},
    ]


def test_metrics_hold_what_has_changed() -> None:
    chosen = encoder()
    (first,) = records(metrics(), using=chosen)
    assert first["data"]["congestion_window"] == 14_520
    assert first["data"]["pacing_rate"] == 8_000_000
    assert first["data"]["smoothed_rtt"] == 12
    assert "ssthresh" not in first["data"]
    assert records(metrics(), using=chosen) == []
    (changed,) = records(metrics(bytes_in_flight=2904), using=chosen)
    assert changed["data"] == {"bytes_in_flight": 2904}


def test_each_lost_packet_is_an_event() -> None:
    found = records(trace.PacketLost(((3, 5), (9, 10)), "time_threshold"))
    assert [record["data"]["header"]["packet_number"] for record in found] == [3, 4, 9]
    assert {record["data"]["trigger"] for record in found} == {"time_threshold"}


def test_dropped_packet_says_why() -> None:
    (found,) = records(trace.PacketDropped("decryption_failure", "its integrity check failed", 99, 5))
    assert found["data"] == {
        "raw": {"length": 99},
        "trigger": "decryption_failure",
        "details": "its integrity check failed",
        "header": {"packet_type": "1RTT", "packet_number": 5},
    }


def test_windows_are_three_ranges() -> None:
    (found,) = records(trace.WindowsUpdated(4, (0, 10), (0, 8), (0, 8)))
    assert found["name"] == "strait:windows_updated"
    assert found["data"] == {"stream_id": 4, "send": [0, 10], "receive": [0, 8], "shared": [0, 8]}


def test_keys_are_named_by_who_seals_with_them_and_never_shown() -> None:
    ours, theirs = records(trace.KeyUpdated("local", 1, "local_update"), trace.KeyDiscarded("remote", 0))
    assert ours["name"] == "security:key_updated"
    assert ours["data"] == {"key_type": "client_1rtt_secret", "generation": 1, "trigger": "local_update"}
    assert theirs["data"] == {"key_type": "server_1rtt_secret", "generation": 0}


def test_what_is_not_there_is_left_out() -> None:
    first, own = records(
        trace.CongestionStateUpdated("cubic", None, "slow_start"), trace.WindowsUpdated(4, None, (5, 9), None)
    )
    assert first["data"] == {"controller": "cubic", "new": "slow_start"}
    assert own["data"] == {"stream_id": 4, "receive": [5, 9]}


def test_cut_file_ends_with_the_reason() -> None:
    found = json.loads(encoder().cut(2 * SECOND, "full")[1:])
    assert found == {"time": 1000, "name": "strait:trace_cut", "data": {"reason": "full"}}
