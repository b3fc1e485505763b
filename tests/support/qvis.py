"""The rules by which qvis takes a qlog file, as its source has them (repository quiclog/qvis).

A file that passes here is loaded without an alert or an error on the console, and its congestion graph
and sequence diagram find what they draw. Each rule names the file it stands in, below
``visualizations/src/``:

- ``components/filemanager/data/FileLoader.ts``: a name that ends in .sqlog is a JSON text sequence.
- ``components/filemanager/newlineconverter/textsequencejsontoqlog.ts``: records are split at U+001E; all
  after a record that is not JSON is lost; the first needs ``qlog_version``, ``qlog_format`` "JSON-SEQ" and
  ``trace``.
- ``data/QlogLoader.ts``, ``data/QlogSchema02.ts`` (``Defaults.versionAliases``): "0.3" is known.
- ``data/QlogLoaderV2.ts``: at least one event, none empty; ``time`` and ``name`` of each; times in order; no
  ``packet_size``, ``payload_length`` or ``packet_type`` where older drafts had them; with relative times
  there is a ``reference_time``, a number, not 0.
- ``components/congestiongraph/renderer/CongestionGraphD3Renderer.ts`` (``parseQlog``): sent and received
  packets have ``raw.length`` and ``header.packet_number``; ``acked_ranges`` are pairs, both ends included, of
  packets that were sent; a lost packet has ``header.packet_number`` of one that was sent; metrics are
  numbers; the peer's ``parameters_set`` has the windows.
- ``components/sequencediagram/renderer/SequenceDiagramD3Renderer.ts`` (``calculateConnections``,
  ``frameToShortString``): packets are matched by ``packet_type`` and ``packet_number``; every frame has a
  ``frame_type``; a vantage point is client or server, or the diagram has to guess.

The rewrite below ``src/src/lib/data/`` keeps these rules. Where a checkout of it is at hand,
``tests/simulation/test_qlog.py`` runs its loader itself, by ``qvis.cjs`` beside this file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION_ALIASES = ("draft-02", "draft-02-RC1", "qlog-03-WIP", "0.3")
PACKET_TYPES = (
    "initial", "handshake", "0RTT", "1RTT", "retry", "version_negotiation", "stateless_reset", "unknown",
)  # fmt: skip
#: Metrics that the congestion graph draws.
METRICS = ("congestion_window", "bytes_in_flight", "min_rtt", "smoothed_rtt", "latest_rtt")


@dataclass(frozen=True)
class Loaded:
    """One trace as qvis has it in memory."""

    header: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def vantage_point(self) -> str:
        """client or server."""
        return str(self.header["trace"]["vantage_point"]["type"])

    def lookup(self, category: str, kind: str) -> list[dict[str, Any]]:
        """Return the events of a category and type (Connection.lookup)."""
        return [event for event in self.events if event["name"] == f"{category}:{kind}"]

    def names(self) -> set[str]:
        """Return the names of all events."""
        return {event["name"] for event in self.events}


def load(path: Path) -> Loaded:
    """Return the trace in a file (AssertionError: qvis would refuse it or complain)."""
    assert path.name.endswith((".sqlog", ".qlogseq")), path.name
    texts = path.read_text(encoding="utf-8").split("\x1e")
    records = [json.loads(text) for text in texts if text.strip()]
    assert records, "no entries found in the loaded file"
    header, events = records[0], records[1:]
    assert header["qlog_version"] in VERSION_ALIASES
    assert header["qlog_format"] == "JSON-SEQ"
    trace = header["trace"]
    assert trace["vantage_point"]["type"] in ("client", "server", "unknown")
    common = trace["common_fields"]
    assert common["time_format"] == "relative"
    assert isinstance(common["reference_time"], int | float)
    assert common["reference_time"] > 0
    assert events, "qvis reads the last event of a trace without looking whether there is one"
    loaded = Loaded(header, events)
    _check_events(loaded)
    _check_congestion_graph(loaded)
    return loaded


def _check_events(trace: Loaded) -> None:
    before = -1.0
    for event in trace.events:
        assert event.keys() == {"time", "name", "data"}, event
        assert isinstance(event["time"], int | float)
        assert event["time"] >= before, f"timestamps were not in the correct order: {event}"
        before = event["time"]
        category, _, kind = event["name"].partition(":")
        assert category, event
        assert kind, event
        data = event["data"]
        assert "packet_type" not in data, "use data.header.packet_type instead"
        header = data.get("header", {})
        assert not {"packet_size", "payload_length"} & header.keys(), "use data.raw instead"
        if "header" in data:
            assert header["packet_type"] in PACKET_TYPES, header
        for frame in data.get("frames", ()):
            assert isinstance(frame["frame_type"], str)
        if kind == "loss_timer_updated" and data["event_type"] == "set":
            assert "delta" in data


def _check_congestion_graph(trace: Loaded) -> None:
    sent: set[int] = set()
    received: set[int] = set()
    for event in trace.events:
        data = event["data"]
        match event["name"]:
            case "transport:packet_sent" | "transport:packet_received":
                assert data["raw"]["length"] > 0
                number = data["header"]["packet_number"]
                ours, theirs = (sent, received) if event["name"].endswith("sent") else (received, sent)
                ours.add(number)
                for frame in data["frames"]:
                    if frame["frame_type"] == "ack":
                        for first, last in frame["acked_ranges"]:
                            missing = set(range(first, last + 1)) - theirs
                            assert not missing, f"acknowledged, but never seen: {missing}"
            case "recovery:packet_lost":
                assert data["header"]["packet_number"] in sent
            case "recovery:metrics_updated":
                for name in METRICS:
                    assert isinstance(data.get(name, 0), int | float)
            case "transport:parameters_set" if data["owner"] == "remote":
                assert data["initial_max_data"] > 0
                assert data["initial_max_stream_data_bidi_remote"] > 0


def matched(left: Loaded, right: Loaded) -> tuple[int, int]:
    """Return how many packets that left sent arrived at right, and how many the diagram draws as lost."""
    arrived = {_key(event) for event in right.lookup("transport", "packet_received")}
    sent = [_key(event) for event in left.lookup("transport", "packet_sent")]
    found = sum(key in arrived for key in sent)
    return found, len(sent) - found


def _key(event: dict[str, Any]) -> tuple[str, int]:
    header = event["data"]["header"]
    return header["packet_type"], header["packet_number"]
