"""Commands, replies and events between orchestrator and node: one JSON object a line, versioned.

The node owns this protocol; the orchestrator imports it. Over a socket a command is
``{"v": 1, "id": 7, "command": "start_flow", "arguments": {…}}``, its reply
``{"v": 1, "id": 7, "ok": true, "data": {…}}`` or ``{…, "ok": false, "error": "…"}``, and an event
``{"v": 1, "event": "flow_progress", "node": "lisbon", "time": 12000000, "data": {…}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTROL_VERSION = 1


@dataclass(frozen=True, slots=True)
class Command:
    """Something a node is told to do.

    Commands: ``status`` · ``start_flow`` (flow, workload, role ``source``|``target``, peer: name,
    options, transport) · ``stop_flow`` (flow) · ``statistics`` (flow, or all) · ``windows`` (flow)
    · ``migrate`` (to where the driver has moved) · ``stop``. Drivers also take ``rebind`` (host, new_port,
    migrate: whether connections are told) and those of ``node.agent.traffic``; real agents also take those
    of ``node.agent.shaping``.
    """

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """A node's answer."""

    ok: bool
    data: Mapping[str, object] = field(default_factory=dict)
    #: What went wrong and what to do, when not ok.
    error: str = ""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something that happened at a node.

    Events: ``ready`` (address, listen) · ``flow_started`` (flow, role) · ``flow_progress`` (flow, role,
    bytes, bytes_total, bits_per_second, rtt_ms, congestion_window, packets_sent, packets_lost,
    retransmitted_packets) · ``flow_finished`` (flow, workload, role, peer, ok, error, bytes, sha256,
    seconds, bits_per_second, results, statistics) · ``connection_closed`` (peer, peer_address, code,
    reason, remote) · ``warning`` (message).
    """

    #: Name of the node.
    node: str
    #: Name of the event.
    kind: str
    #: The node's clock, ns.
    time: int
    data: Mapping[str, object] = field(default_factory=dict)
