"""The other end of a node's control interface, for asyncio: commands out, replies and events in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType

from node.control.codec import decode_event, decode_reply, encode_command
from node.control.messages import Command, NodeEvent, Reply

#: Seconds a node has to answer: it answers between two bursts, so this is for machines in trouble.
REQUEST_TIME_LIMIT = 30.0
#: Events waiting to be read beyond which progress is dropped, and beyond which the connection ends.
MAX_PROGRESS = 1024
MAX_EVENTS = 65_536
#: Longest line a node sends, in bytes.
MAX_LINE_BYTES = 4 << 20


class ControlError(Exception):
    """The node cannot be reached, or went away; the message says which."""


class ControlClient:
    """A connection to a node's control interface; made by ``connect_unix`` or ``connect_tcp``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        self._reader = reader
        self._writer = writer
        self._where = where
        self._next_id = 1
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._events: asyncio.Queue[NodeEvent | None] = asyncio.Queue()
        self._closed = False
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect_unix(cls, path: str, *, time_limit: float = REQUEST_TIME_LIMIT) -> ControlClient:
        """Connect to a Unix socket.

        Raises:
            ControlError: nobody listens there.
        """
        return await cls._connect(asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES), path, time_limit)

    @classmethod
    async def connect_tcp(
        cls, host: str, port: int, *, time_limit: float = REQUEST_TIME_LIMIT
    ) -> ControlClient:
        """Connect to a TCP port.

        Raises:
            ControlError: nobody listens there.
        """
        opening = asyncio.open_connection(host, port, limit=MAX_LINE_BYTES)
        return await cls._connect(opening, f"{host}:{port}", time_limit)

    @classmethod
    async def _connect(
        cls,
        opening: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
        where: str,
        time_limit: float,
    ) -> ControlClient:
        try:
            reader, writer = await asyncio.wait_for(opening, time_limit)
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer in {time_limit} s"
            raise ControlError(f"no node listens at {where}: {reason}") from error
        return cls(reader, writer, where)

    async def __aenter__(self) -> ControlClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def request(self, command: Command, *, time_limit: float = REQUEST_TIME_LIMIT) -> Reply:
        """Send a command and return its reply.

        Raises:
            ControlError: the node went away, or did not answer within ``time_limit`` seconds.
        """
        if self._closed:
            raise ControlError(f"{command.name}: the node at {self._where} closed the connection")
        number = self._next_id
        self._next_id += 1
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[number] = answer
        self._writer.write(encode_command(command, number))
        try:
            return await asyncio.wait_for(answer, time_limit)
        except TimeoutError:
            raise ControlError(f"{command.name}: no answer from {self._where} in {time_limit} s") from None
        finally:
            self._replies.pop(number, None)

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Yield the node's events from the moment of connecting, until the connection ends."""
        while (event := await self._events.get()) is not None:
            yield event
        # Let whoever asks next see the end too.
        self._events.put_nowait(None)

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end()
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # the node was gone first: closed is closed

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # a broken connection and a broken line mean the same: nobody sensible is there
        finally:
            self._end()

    def _take(self, message: dict[str, object]) -> None:
        if "event" in message:
            self._take_event(decode_event(message))
            return
        answer = self._replies.get(int(str(message.get("id") or 0)))
        if answer is not None and not answer.done():
            answer.set_result(decode_reply(message))

    def _take_event(self, event: NodeEvent) -> None:
        """Queue an event for a reader that may be slow, or may not be there at all."""
        waiting = self._events.qsize()
        if waiting >= MAX_EVENTS:
            raise ValueError("nobody reads the events")
        if waiting < MAX_PROGRESS or event.kind != "flow_progress":
            self._events.put_nowait(event)

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._events.put_nowait(None)
        for answer in self._replies.values():
            if not answer.done():
                answer.set_exception(ControlError(f"the node at {self._where} closed the connection"))
