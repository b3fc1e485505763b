"""Traffic for tests of the shapers: run inside a namespace, prints one JSON object at its end.

``serve-echo PORT`` · ``echo HOST PORT COUNT`` · ``serve-count PORT SIZE`` · ``count HOST PORT COUNT SIZE`` ·
``burst HOST PORT SEGMENTS SIZE`` · ``serve-tcp PORT`` · ``tcp HOST PORT BYTES``
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import sys
import time
from collections.abc import Callable

#: A receiver of counted datagrams ends when nothing came for this long.
SILENCE_SECONDS = 1.5
_SO_RCVBUFFORCE = 33
_UDP_SEGMENT = 103


def serve_echo(port: str) -> object:
    """Send every datagram back until killed."""
    server = _udp(int(port))
    while True:
        data, source = server.recvfrom(2048)
        server.sendto(data, source)


def echo(host: str, port: str, count: str) -> object:
    """Return round-trip times in ns, one at a time."""
    client = _udp(0)
    client.settimeout(2.0)
    times = []
    for number in range(int(count)):
        started = time.monotonic_ns()
        client.sendto(number.to_bytes(4, "big"), (host, int(port)))
        while client.recv(2048) != number.to_bytes(4, "big"):
            pass
        times.append(time.monotonic_ns() - started)
    return {"times": times}


def serve_count(port: str, size: str) -> object:
    """Count datagrams of ``size`` bytes until there is silence: how many, distinct, damaged, in order."""
    server = _udp(int(port))
    server.settimeout(20.0)
    numbers: list[int] = []
    damaged = 0
    expected = bytes(int(size) - 4)
    try:
        while True:
            data = server.recv(65536)
            server.settimeout(SILENCE_SECONDS)
            numbers.append(int.from_bytes(data[:4], "big"))
            damaged += data[4:] != expected
    except TimeoutError:
        pass
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(numbers))
    return {
        "received": len(numbers),
        "distinct": len(set(numbers)),
        "damaged": damaged,
        "overtaken": overtaken,
    }


def count(host: str, port: str, number: str, size: str) -> object:
    """Send numbered datagrams at some 10,000 a second."""
    client = _udp(0)
    rest = bytes(int(size) - 4)
    for index in range(int(number)):
        client.sendto(index.to_bytes(4, "big") + rest, (host, int(port)))
        if index % 10 == 9:
            time.sleep(0.001)
    return {"sent": int(number)}


def burst(host: str, port: str, segments: str, size: str) -> object:
    """Send one burst of datagrams with UDP GSO: one system call, one packet for the kernel."""
    client = _udp(0)
    client.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, int(size))
    client.sendto(bytes(int(segments) * int(size)), (host, int(port)))
    return {"sent": int(segments)}


def serve_tcp(port: str) -> object:
    """Take one connection; return size and SHA-256 of what comes."""
    with socket.create_server(("", int(port))) as server:
        _ready()
        connection, _ = server.accept()
        digest, size = hashlib.sha256(), 0
        while data := connection.recv(1 << 16):
            digest.update(data)
            size += len(data)
    return {"bytes": size, "sha256": digest.hexdigest()}


def tcp(host: str, port: str, size: str) -> object:
    """Send so many bytes; return their SHA-256."""
    data = bytes(range(256)) * (int(size) // 256)
    with socket.create_connection((host, int(port)), timeout=20.0) as connection:
        connection.sendall(data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _udp(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 24)
    opened.bind(("", port))
    if port:
        _ready()
    return opened


def _ready() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    actions: dict[str, Callable[..., object]] = {
        "serve-echo": serve_echo,
        "echo": echo,
        "serve-count": serve_count,
        "count": count,
        "burst": burst,
        "serve-tcp": serve_tcp,
        "tcp": tcp,
    }
    print(json.dumps(actions[sys.argv[1]](*sys.argv[2:])), flush=True)
