"""The control server: JSON lines on a Unix or TCP socket, several clients at once.

A client that sends rubbish gets an error and stays; one that does not read loses progress events
first and its connection last. None of them can make the node hold much memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

from node.agent.configuration import ControlAddress
from node.control.codec import MessageError, decode_command, encode_event, encode_reply
from node.control.messages import Command, NodeEvent, Reply

_logger = logging.getLogger(__name__)

#: Longest command, in bytes: a shaping command with its argument lists takes a few KiB.
MAX_LINE_BYTES = 1 << 20
#: Unread bytes of one client beyond which it gets no more progress, and beyond which it is cut off.
PROGRESS_QUEUE_BYTES = 1 << 18
MAX_QUEUE_BYTES = 8 << 20
MAX_CLIENTS = 64
#: Commands of one client that may be under way at once.
MAX_PENDING = 64

#: Obeys a command: at once, or later.
CommandHandler = Callable[[Command], Reply | Awaitable[Reply]]


class ControlServer:
    """Listens for clients, hands their commands on, tells all of them what happens.

    Args:
        address: where to listen.
        handler: what obeys.
    """

    def __init__(self, address: ControlAddress, handler: CommandHandler) -> None:
        self._configured = address
        self._handler = handler
        self._clients: list[_Client] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the address is taken or cannot be used.
        """
        loop = asyncio.get_running_loop()
        if self._configured.unix is not None:
            path = Path(self._configured.unix)
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(path)
            self._server = await loop.create_unix_server(self._new_client, sock=_listening(path))
        else:
            assert self._configured.tcp is not None
            self._server = await loop.create_server(self._new_client, *self._configured.tcp)

    @property
    def address(self) -> ControlAddress:
        """Where it listens; a TCP port that was 0 is the one chosen."""
        if self._configured.tcp is None or self._server is None:
            return self._configured
        name = self._server.sockets[0].getsockname()
        return ControlAddress(tcp=(name[0], name[1]))

    def publish(self, event: NodeEvent) -> None:
        """Tell all clients of an event."""
        if self._clients:
            line = encode_event(event)
            for client in list(self._clients):
                client.tell(line, optional=event.kind == "flow_progress")

    async def close(self, time_limit: float) -> None:
        """Stop listening and let the clients go, each once it has read what is left or time is up.

        Args:
            time_limit: seconds that clients get.
        """
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._configured.unix is not None:
                _remove(self._configured.unix)
        gone = [client.close() for client in list(self._clients)]
        if gone:
            await asyncio.wait(gone, timeout=time_limit)
        for client in list(self._clients):
            client.abort()

    def _new_client(self) -> asyncio.Protocol:
        return _Client(self._handler, self._clients)


class _Client(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handler: CommandHandler, clients: list[_Client]) -> None:
        self._handler = handler
        self._clients = clients
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        #: Whether the rest of a line that is too long is being thrown away.
        self._skipping = False
        self._pending: set[asyncio.Task[None]] = set()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the clients, if there is room."""
        assert isinstance(transport, asyncio.Transport)
        if len(self._clients) >= MAX_CLIENTS:
            _logger.warning("control: refused a client, %d are connected", MAX_CLIENTS)
            transport.abort()
            return
        self._transport = transport
        self._clients.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Leave the clients."""
        self._transport = None
        if not self._gone.done():
            self._gone.set_result(None)
        if self in self._clients:
            self._clients.remove(self)

    def data_received(self, data: bytes) -> None:
        """Cut what came into lines, and obey each."""
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            if self._skipping:
                self._skipping = False
            elif len(line) > MAX_LINE_BYTES:
                self._refuse_line()
            elif line.strip():
                self._obey(bytes(line))
        if len(self._buffer) > MAX_LINE_BYTES:
            if not self._skipping:
                self._refuse_line()
            self._skipping = True
            self._buffer.clear()

    def tell(self, line: bytes, *, optional: bool) -> None:
        """Queue a line; skip it if it is optional and the client reads too slowly."""
        if self._transport is None:
            return
        waiting = self._transport.get_write_buffer_size()
        if waiting > MAX_QUEUE_BYTES:
            _logger.warning("control: cut off a client that has not read %d bytes", waiting)
            self._transport.abort()
        elif not optional or waiting <= PROGRESS_QUEUE_BYTES:
            self._transport.write(line)

    def close(self) -> asyncio.Future[None]:
        """Close after what is queued has been written; return a future that is done then."""
        if self._transport is not None:
            self._transport.close()
        return self._gone

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def _obey(self, line: bytes) -> None:
        try:
            identifier, command = decode_command(line)
        except MessageError as error:
            self._answer(Reply(False, error=str(error)), error.id)
            return
        if len(self._pending) >= MAX_PENDING:
            self._answer(Reply(False, error=f"{MAX_PENDING} commands are under way already"), identifier)
            return
        reply = self._handler(command)
        if isinstance(reply, Reply):
            self._answer(reply, identifier)
            return
        task = asyncio.ensure_future(self._obey_later(reply, identifier))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _obey_later(self, reply: Awaitable[Reply], identifier: int) -> None:
        self._answer(await reply, identifier)

    def _answer(self, reply: Reply, identifier: int) -> None:
        self.tell(encode_reply(reply, identifier), optional=False)

    def _refuse_line(self) -> None:
        self._answer(Reply(False, error=f"a line is longer than {MAX_LINE_BYTES} bytes"), 0)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _listening(path: Path) -> socket.socket:
    """Return a socket that listens at a path, which is there only then: whoever waits for it may connect.

    Raises:
        OSError: the path cannot be used.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # As long as the path itself: that may be as long as a socket's can be (unix(7)).
    before = path.with_name(f"{path.name[:-1]}~")
    if before.is_socket():
        before.unlink()
    try:
        made.bind(os.fspath(before))
        made.listen(MAX_CLIENTS)
        before.rename(path)
    except OSError:
        made.close()
        before.unlink(missing_ok=True)
        raise
    return made


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed agent left behind; leave one that somebody answers.

    Raises:
        OSError: somebody listens there, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(f"{path} is there and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink()
            return
    raise FileExistsError(f"another agent listens at {path}")
