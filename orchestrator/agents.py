"""Conversations with the agents of a lab: commands to one of them, events of all of them in one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping

from node.control.client import REQUEST_TIME_LIMIT, ControlClient, ControlError
from node.control.messages import Command, NodeEvent, Reply
from orchestrator.errors import BackendError

#: Events that wait for the runner; agents report a few a second, so this many mean that nobody listens.
MAX_WAITING_EVENTS = 100_000


class Agents:
    """The agents of a lab, by the names of their nodes."""

    def __init__(self) -> None:
        self._clients: dict[str, ControlClient] = {}
        self._events: asyncio.Queue[NodeEvent | None] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._listeners: list[asyncio.Task[None]] = []
        self._closed = False

    async def connect(self, connecting: Mapping[str, Awaitable[ControlClient]]) -> None:
        """Reach all agents at once, and listen to their events from then on.

        Raises:
            BackendError: one does not answer.
        """
        found = await asyncio.gather(*connecting.values(), return_exceptions=True)
        problems = []
        for node, client in zip(connecting, found, strict=True):
            if isinstance(client, ControlError):
                problems.append(f"node {node}: {client}")
            elif isinstance(client, BaseException):
                raise client
            else:
                self._clients[node] = client
                self._listeners.append(asyncio.create_task(self._listen(node, client)))
        if problems:
            raise BackendError("\n".join(problems))

    async def request(self, node: str, command: Command, *, time_limit: float = REQUEST_TIME_LIMIT) -> Reply:
        """Hand a command to a node's agent and return its reply.

        Args:
            time_limit: seconds that it may take.

        Raises:
            BackendError: there is no such node, or it does not answer.
        """
        client = self._clients.get(node)
        if client is None:
            raise BackendError(f"no agent of {node!r}: use one of {', '.join(self._clients)}")
        try:
            return await client.request(command, time_limit=time_limit)
        except ControlError as error:
            raise BackendError(f"node {node}: {error}") from error

    async def order(
        self, node: str, name: str, *, time_limit: float | None = None, **arguments: object
    ) -> Mapping[str, object]:
        """Hand a command to a node, and return the data of its reply.

        Args:
            time_limit: seconds that it may take; None: as any command.

        Raises:
            BackendError: it was refused.
        """
        limit = REQUEST_TIME_LIMIT if time_limit is None else time_limit
        reply = await self.request(node, Command(name, arguments), time_limit=limit)
        if not reply.ok:
            raise BackendError(f"node {node}: {reply.error}")
        return reply.data

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report, in order of arrival, until ``close``."""
        while (event := await self._events.get()) is not None:
            yield event
        # Let whoever asks next see the end too.
        self._events.put_nowait(None)

    async def close(self) -> None:
        """End all conversations; may be called twice."""
        if self._closed:
            return
        self._closed = True
        for task in self._listeners:
            task.cancel()
        await asyncio.gather(*self._listeners, return_exceptions=True)
        for client in self._clients.values():
            await client.close()
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def _listen(self, node: str, client: ControlClient) -> None:
        async for event in client.events():
            await self._events.put(event)
        now = int(asyncio.get_running_loop().time() * 1_000_000_000)
        await self._events.put(NodeEvent(node, "node_failed", now, {"message": "its agent is gone"}))
