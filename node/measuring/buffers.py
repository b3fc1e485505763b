"""Buffers of sockets that a whole train waits in."""

from __future__ import annotations

import socket

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33


def enlarge_send_buffer(opened: socket.socket, size: int) -> None:
    """Ask for a send buffer of ``size`` bytes, as the kernel counts them."""
    _enlarge(opened, _SO_SNDBUFFORCE, socket.SO_SNDBUF, size)


def enlarge_receive_buffer(opened: socket.socket, size: int) -> None:
    """Ask for a receive buffer of ``size`` bytes, as the kernel counts them."""
    _enlarge(opened, _SO_RCVBUFFORCE, socket.SO_RCVBUF, size)


def _enlarge(opened: socket.socket, force: int, plain: int, size: int) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        # Root of a user namespace: up to the system's limit, as anybody.
        opened.setsockopt(socket.SOL_SOCKET, plain, size)
