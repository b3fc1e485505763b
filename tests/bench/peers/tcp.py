"""Kernel TCP through blocking sockets: what plain Python gets without encryption."""

from __future__ import annotations

import functools
import socket

from tests.bench.session import arguments, blocking, client, server

RECEIVE_BYTES = 65_536


def main() -> None:
    """Serve or make one session."""
    asked = arguments()
    if asked.role == "server":
        with socket.create_server((asked.host, asked.port)) as listener:
            connection, _ = listener.accept()
    else:
        connection = socket.create_connection((asked.host, asked.port))
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = server if asked.role == "server" else functools.partial(client, asked)
        blocking(session, connection.sendall, lambda: connection.recv(RECEIVE_BYTES))


if __name__ == "__main__":
    main()
