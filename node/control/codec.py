"""Control messages as lines of JSON, and back; what comes in is checked here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping

from node.control.messages import CONTROL_VERSION, Command, NodeEvent, Reply


class MessageError(ValueError):
    """A line is no message of ours; the message says why. ``id``: the line's own, if it had one."""

    def __init__(self, reason: str, identifier: int = 0) -> None:
        super().__init__(reason)
        self.id = identifier


def encode_command(command: Command, identifier: int) -> bytes:
    """Return a command as a line."""
    return _line({"id": identifier, "command": command.name, "arguments": dict(command.arguments)})


def decode_command(line: bytes) -> tuple[int, Command]:
    """Return a line's id and command.

    Raises:
        MessageError: it is none.
    """
    fields = _fields(line)
    identifier = fields.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, int):
        raise MessageError(f"id: found {identifier!r:.100}, must be a whole number")
    version = fields.get("v")
    if version != CONTROL_VERSION:
        raise MessageError(f"v: found {version!r:.100}, this node speaks {CONTROL_VERSION}", identifier)
    name, arguments = fields.get("command"), fields.get("arguments", {})
    if not isinstance(name, str):
        raise MessageError(f"command: found {name!r:.100}, must be a name", identifier)
    if not isinstance(arguments, dict):
        raise MessageError(f"arguments: found {arguments!r:.100}, must be an object", identifier)
    return identifier, Command(name, arguments)


def encode_reply(reply: Reply, identifier: int) -> bytes:
    """Return a reply as a line."""
    body: dict[str, object] = {"data": dict(reply.data)} if reply.ok else {"error": reply.error}
    return _line({"id": identifier, "ok": reply.ok, **body})


def decode_reply(fields: Mapping[str, object]) -> Reply:
    """Return the reply that a line's fields are."""
    data = fields.get("data")
    return Reply(
        ok=fields.get("ok") is True,
        data=data if isinstance(data, dict) else {},
        error=str(fields.get("error", "")),
    )


def encode_event(event: NodeEvent) -> bytes:
    """Return an event as a line."""
    return _line({"event": event.kind, "node": event.node, "time": event.time, "data": dict(event.data)})


def decode_event(fields: Mapping[str, object]) -> NodeEvent:
    """Return the event that a line's fields are."""
    data = fields.get("data")
    return NodeEvent(
        node=str(fields.get("node", "")),
        kind=str(fields.get("event", "")),
        time=int(str(fields.get("time", 0))),
        data=data if isinstance(data, dict) else {},
    )


def _line(fields: Mapping[str, object]) -> bytes:
    return json.dumps({"v": CONTROL_VERSION, **fields}, separators=(",", ":")).encode() + b"\n"


def _fields(line: bytes) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise MessageError("the line is not JSON") from None
    if not isinstance(fields, dict):
        raise MessageError("the line is not a JSON object")
    return fields
