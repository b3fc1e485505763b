"""Connections that peers opened, until the header on their stream names the flow that each is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.carrier import FlowConnection
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    Event,
    MessageReceived,
    StreamDataReceived,
)
from node.workloads.flow import Flow, FlowHeader, HeaderReader

#: The stream of a flow's header: the first that the source opens.
FLOW_STREAM = 0


@dataclass(frozen=True, slots=True)
class Announced:
    """A whole header, and what came with it."""

    flow: Flow
    header: FlowHeader
    #: The bytes behind the header on its stream, and whether its end has come.
    rest: bytes
    ended: bool
    #: Knows what overtook the header.
    reader: HeaderReader
    #: Whether the connection is established: else it is its early data that named the flow.
    confirmed: bool


class Incoming:
    """The connections of a node whose flow is not known yet.

    Args:
        expected: returns the flow that a header may name on this connection, of which it is told whether it
            is confirmed, or raises WorkloadError.
    """

    def __init__(self, expected: Callable[[FlowConnection, FlowHeader, bool], Flow]) -> None:
        self._expected = expected
        self._readers: dict[FlowConnection, HeaderReader] = {}

    def take(self, connection: FlowConnection, event: Event) -> Announced | None:
        """Take what happened on a connection; return its flow when the header is whole.

        Raises:
            WorkloadError: the flow is to be refused; nothing more of this connection is read.
        """
        if isinstance(event, ConnectionEstablished):
            self._readers.setdefault(connection, HeaderReader()).confirmed = True
        elif isinstance(event, ConnectionClosed):
            self._readers.pop(connection, None)
        elif isinstance(event, StreamDataReceived | MessageReceived):
            reader = self._readers.pop(connection, None) or (HeaderReader() if event.early else None)
            if reader is not None:
                found = self._read(connection, reader, event)
                if found is None:
                    self._readers[connection] = reader
                return found
        return None

    def _read(
        self, connection: FlowConnection, reader: HeaderReader, event: StreamDataReceived | MessageReceived
    ) -> Announced | None:
        if isinstance(event, MessageReceived):
            reader.keep(event)
            return None
        if event.stream_id != FLOW_STREAM:
            reader.others[event.stream_id] = event.ended
            return None
        whole = reader.receive(connection.read(event.stream_id), ended=event.ended)
        if whole is None:
            return None
        header, rest = whole
        flow = self._expected(connection, header, reader.confirmed)
        return Announced(flow, header, rest, event.ended, reader, reader.confirmed)
