"""Which connection a packet is for: the connection IDs that an endpoint issued (SPEC 2-3, 13.1)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from node.protocol.handshake import new_connection_id
from node.protocol.stateless_reset import StatelessResets

if TYPE_CHECKING:
    from node.protocol.connection import Connection


class ConnectionTable:
    """The connections of an endpoint by each ID that finds them.

    Args:
        rng: IDs come from here, and the data of path challenges.
        resets: knows the tokens of the peers' IDs.
        reset_token: the token of an ID of ours (SPEC 4.3-1).
    """

    def __init__(self, rng: Random, resets: StatelessResets, reset_token: Callable[[bytes], bytes]) -> None:
        self.by_id: dict[bytes, Connection] = {}
        self.rng = rng
        self.resets = resets
        self._reset_token = reset_token

    def issue(self, connection: Connection) -> tuple[bytes, bytes]:
        """Return a further ID that finds ``connection``, and its stateless reset token."""
        value = new_connection_id(self.rng)
        self.by_id[value] = connection
        return value, self._reset_token(value)

    def drop(self, value: bytes) -> None:
        """Let an ID find nothing any more."""
        self.by_id.pop(value, None)

    @property
    def connections(self) -> list[Connection]:
        """All connections, once each, in the order of their oldest ID."""
        return list(dict.fromkeys(self.by_id.values()))
