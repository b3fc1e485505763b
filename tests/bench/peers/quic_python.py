"""aioquic at its best setting: CUBIC and full-size datagrams, one bidirectional stream."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import aioquic.asyncio as quic  # type: ignore[import-not-found,unused-ignore]
from aioquic.quic.configuration import (  # type: ignore[import-not-found,unused-ignore]
    QuicConfiguration,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.bench.session import Receive, Send, arguments, client, server

#: Its StreamWriter.drain() returns at once: without a bound of ours hundreds of MB pile up.
WINDOW_BYTES = 1 << 26
READ_BYTES = 1 << 18
CERTIFICATE = Path(".cache/bench/certificate.pem")


def main() -> None:
    """Serve or make one session."""
    asked = arguments()
    configuration = QuicConfiguration(
        is_client=asked.role == "client",
        alpn_protocols=["bench"],
        congestion_control_algorithm="cubic",
        max_datagram_size=1452,
        idle_timeout=30.0,
    )
    if asked.role == "server":
        ensure_certificate()
        configuration.load_cert_chain(CERTIFICATE, CERTIFICATE)
        asyncio.run(serve(asked.host, asked.port, configuration))
    else:
        configuration.verify_mode = ssl.CERT_NONE
        configuration.server_name = "localhost"
        asyncio.run(connect(asked, configuration))


async def serve(host: str, port: int, configuration: Any) -> None:
    """One session, then leave."""
    done = asyncio.Event()
    tasks = []

    async def handle(reader: asyncio.StreamReader, writer: Any) -> None:
        await server(*_both(reader, writer))
        await asyncio.sleep(0.3)
        done.set()

    def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(handle(reader, writer)))

    await quic.serve(host, port, configuration=configuration, stream_handler=opened)
    await done.wait()


async def connect(asked: Any, configuration: Any) -> None:
    """One session as the client."""
    async with quic.connect(asked.host, asked.port, configuration=configuration) as connection:
        reader, writer = await connection.create_stream()
        await client(asked, *_both(reader, writer))


def _both(reader: asyncio.StreamReader, writer: Any) -> tuple[Send, Receive]:
    async def send(data: bytes) -> None:
        writer.write(data)
        stream = writer.transport.protocol._quic._streams[writer.transport.stream_id]
        while len(stream.sender._buffer) > WINDOW_BYTES:  # noqa: ASYNC110 - nobody tells when bytes were taken
            await asyncio.sleep(0.001)

    async def receive() -> bytes:
        return await reader.read(READ_BYTES)

    return send, receive


def ensure_certificate() -> None:
    """A self-signed certificate and its key in one file, made once."""
    if CERTIFICATE.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    CERTIFICATE.parent.mkdir(parents=True, exist_ok=True)
    CERTIFICATE.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)


if __name__ == "__main__":
    main()
