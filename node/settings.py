"""What one node is told before it starts, and how transport settings become a Configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from node.protocol.configuration import Configuration
from node.protocol.datagrams import SocketAddress
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Peer

#: Transport settings whose values no message may show.
SECRET_SETTINGS = frozenset({"pre_shared_key"})
_WANTED = {bool: "true or false", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything a NodeCore needs to know about itself and its peers.

    Raises:
        LocalProtocolError: ``transport`` holds an unknown name or a value out of range.
    """

    #: Name of the node in the topology; stands in every event.
    name: str
    #: 32 raw bytes of X25519 private key.
    private_key: bytes = field(repr=False)
    #: Where the node's UDP socket listens.
    listen: SocketAddress
    #: Whom this node may be told to connect to, by name.
    peers: Mapping[str, Peer] = field(default_factory=dict)
    #: Transport settings of every connection, by the names of ``Configuration``'s fields.
    transport: Mapping[str, object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        configuration_of(self.transport)


#: How the types of fields are called in messages.
_WANTED = {int: "a whole number", bool: "true or false"}


def configuration_of(*layers: Mapping[str, object]) -> Configuration:
    """Return the Configuration that mappings of transport settings say; later ones win.

    Durations are whole nanoseconds.

    Raises:
        LocalProtocolError: a name is unknown, or a value is of the wrong type or out of range.
    """
    known = {entry.name: entry.default for entry in fields(Configuration)}
    merged: dict[str, object] = {}
    for layer in layers:
        merged.update(layer)
    chosen: dict[str, object] = {}
    for name, value in merged.items():
        if name not in known:
            raise LocalProtocolError(f"transport: found {name!r}, use one of {', '.join(known)}")
        chosen[name] = _typed(name, value, known[name])
    return Configuration(**chosen)  # type: ignore[arg-type]


def _typed(name: str, value: object, default: object) -> object:
    """Return ``value`` if it is of the type of the field's default (a list counts as a tuple)."""
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(value)
    if type(value) is not type(default):
        wanted = _WANTED.get(type(default), f"a {type(default).__name__}")
        found = "something else" if name in SECRET_SETTINGS else repr(value)
        raise LocalProtocolError(f"transport.{name}: found {found}, must be {wanted}")
    return value
