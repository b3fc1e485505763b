"""Makes the wire vectors from SPEC.md by the simplest code there is, sharing none with either implementation.

``python -m tests.vectors.strait`` writes the .json files beside it; a test holds them equal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HERE = Path(__file__).parent
KEY = bytes(range(32))
CID = bytes.fromhex("0102030405060708")


def varint(value: int) -> bytes:
    """RFC 9000 §16, the shortest form."""
    for prefix, size in ((0, 1), (1, 2), (2, 4), (3, 8)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def crc32c(data: bytes) -> int:
    """RFC 3720 B.4, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def frame(name: str, kind: int, *values: int, tail: bytes = b"", **fields: Any) -> dict[str, Any]:
    """One frame: its type byte, varints, and what follows them."""
    wire = bytes([kind]) + b"".join(map(varint, values)) + tail
    return {"name": name, "type": kind, "fields": fields, "wire": wire.hex()}


def frames() -> list[dict[str, Any]]:
    """Every frame of SPEC 5, with values on both sides of each varint's lengths."""
    big = (1 << 62) - 1
    return [
        frame("PADDING", 0x00),
        frame("PING", 0x01),
        frame("ACK", 0x02, 9, 63, 0, 9, largest=9, delay=63, intervals=[[0, 9]]),
        # 1000..990, a gap of 5 numbers (989..985), 984..984; then 1 number, 983; then 982..0.
        frame(
            "ACK", 0x02, 1000, 16384, 2, 10, 4, 0, 0, 982,
            largest=1000, delay=16384, intervals=[[990, 1000], [984, 984], [0, 982]],
        ),
        # The same, one range, then ECT(0), ECT(1), CE.
        frame(
            "ACK", 0x03, 64, 0, 0, 64, 16384, 0, 63,
            largest=64, delay=0, intervals=[[0, 64]], ect0=16384, ect1=0, ce=63,
        ),
        frame("RESET_STREAM", 0x04, 4, 0x100, 16383, stream_id=4, code=0x100, final_size=16383),
        frame("STOP_SENDING", 0x05, 64, 0x101, stream_id=64, code=0x101),
        frame("STREAM", 0x08, 0, 0, tail=b"all", stream_id=0, offset=0, fin=False, data=b"all".hex()),
        frame("STREAM", 0x09, 1, 63, tail=b"", stream_id=1, offset=63, fin=True, data=""),
        frame("STREAM", 0x0A, 2, 64, 3, tail=b"abc", stream_id=2, offset=64, fin=False, data=b"abc".hex()),
        frame(
            "STREAM", 0x0B, 3, 1 << 30, 70, tail=b"z" * 70,
            stream_id=3, offset=1 << 30, fin=True, data=(b"z" * 70).hex(),
        ),
        frame("MESSAGE", 0x0C, 2, 0, tail=b"all", stream_id=2, offset=0, fin=False, data=b"all".hex()),
        frame("MESSAGE", 0x0F, 6, 64, 3, tail=b"abc", stream_id=6, offset=64, fin=True, data=b"abc".hex()),
        frame("MAX_DATA", 0x10, 16384, maximum=16384),
        frame("MAX_DATA", 0x10, big, maximum=big),
        frame("MAX_STREAM_DATA", 0x11, 8, (1 << 30) - 1, stream_id=8, maximum=(1 << 30) - 1),
        frame("MAX_STREAMS", 0x12, 128, maximum=128, unidirectional=False),
        frame("MAX_STREAMS", 0x13, 63, maximum=63, unidirectional=True),
        frame("DATA_BLOCKED", 0x14, 65536, limit=65536),
        frame("STREAM_DATA_BLOCKED", 0x15, 4, 65536, stream_id=4, limit=65536),
        frame("ACK_FREQUENCY", 0x16, 3, 64, 12500, sequence=3, packets=64, delay=12500),
        frame(
            "NEW_CONNECTION_ID", 0x18, 1, 0, tail=CID + bytes(range(16)),
            sequence=1, retire_prior_to=0, connection_id=CID.hex(), reset_token=bytes(range(16)).hex(),
        ),
        frame(
            "NEW_CONNECTION_ID", 0x18, 64, 16384, tail=CID + b"\xff" * 16,
            sequence=64, retire_prior_to=16384, connection_id=CID.hex(), reset_token="ff" * 16,
        ),
        frame("RETIRE_CONNECTION_ID", 0x19, 64, sequence=64),
        frame("PATH_CHALLENGE", 0x1A, tail=bytes(range(8)), data=bytes(range(8)).hex()),
        frame("PATH_RESPONSE", 0x1B, tail=b"\xfe" * 8, data="fe" * 8),
        # 100..139, a gap of 1 number, 141..141; the second of two symbols.
        frame(
            "FEC_REPAIR", 0x30, 2, 100, 1, 39, 0, 0, 2, 1, tail=b"repair",
            scheme=2, intervals=[[100, 139], [141, 141]], total=2, index=1, symbol=b"repair".hex(),
        ),
        frame("FEC_REPAIR", 0x30, 1, big - 1, 0, 1, 1, 0, scheme=1, intervals=[[big - 1, big]], symbol=""),
        # 70..70, a gap of 60 numbers (69..10), 9..0.
        frame("FEC_RECOVERED", 0x31, 70, 1, 0, 59, 9, largest=70, intervals=[[70, 70], [0, 9]]),
        frame(
            "NEW_TICKET", 0x20, 3600, tail=KEY + b"\x05seals", lifetime=3600, secret=KEY.hex(),
            ticket=b"seals".hex(),
        ),
        frame("CLOSE", 0x1C, 0, 0, code=0, reason=""),
        frame(
            "CLOSE", 0x1C, 0x100, len("genug für heute".encode()), tail="genug für heute".encode(),
            code=0x100, reason="genug für heute",
        ),
    ]  # fmt: skip


def data() -> list[dict[str, Any]]:
    """DATA packets of every profile, below and above 2^32, and of the second key phase."""
    payload = bytes.fromhex("01") + bytes.fromhex("0a0000") + varint(5) + b"hello"
    made = []
    second = hmac.digest(KEY, b"strait key update\x01", "sha256")
    profiles = (
        ("aead", 0x41, KEY),
        ("aead", 0x45, second),
        ("aead-chacha20-poly1305", 0x41, KEY),
        ("crc32c", 0x41, b""),
        ("xor", 0x41, b""),
    )
    for profile, kind, key in profiles:
        for number in (0, 0xFFFF_FFFF, 0x1_0000_0000, 0x1234_5678_9ABC):
            header = bytes([kind]) + CID + (number & 0xFFFF_FFFF).to_bytes(4, "big")
            if profile.startswith("aead"):
                nonce = bytes(4) + number.to_bytes(8, "big")
                cipher = AESGCM(key) if profile == "aead" else ChaCha20Poly1305(key)
                protected = cipher.encrypt(nonce, payload, header)
            elif profile == "crc32c":
                tag = crc32c((number >> 32).to_bytes(4, "big") + header + payload)
                protected = payload + tag.to_bytes(4, "big")
            else:
                total = 0
                for byte in header + payload:
                    total ^= byte
                protected = payload + bytes([total])
            made.append(
                {
                    "profile": profile,
                    "type": kind,
                    "key": key.hex(),
                    "target_cid": CID.hex(),
                    "packet_number": number,
                    "payload": payload.hex(),
                    "wire": (header + protected).hex(),
                }
            )
    return made


def setup() -> list[dict[str, Any]]:
    """Every set-up packet (SPEC 3), with a Noise message that stands for one."""
    made = []
    other = bytes.fromhex("1112131415161718")
    cookie = bytes(range(0xC0, 0xD0))
    for kind, suite, target_cid, source_cid, number, brought, noise, size in (
        (0xC1, 0x01, bytes(8), CID, 0, b"", bytes(range(150)), 1200),
        (0xC1, 0x01, bytes(8), CID, 2, cookie, bytes(range(150)), 1200),
        (0xC1, 0x83, bytes(8), CID, 0, cookie, b"\x55" * 1387, 1452),
        (0xC2, 0x12, CID, other, 0, b"", b"\xaa" * 90, 1200),
        (0xC3, 0x12, other, CID, 1, b"", b"\x33" * 64, 1200),
        (0xC4, 0x01, CID, bytes(8), 1, cookie, b"", 65),
    ):
        body = bytes([kind]) + bytes.fromhex("53545201") + bytes([suite])
        body += bytes.fromhex("a1a2a3a4a5a6a7a8") + bytes.fromhex("b1b2b3b4b5b6b7b8")
        body += target_cid + source_cid + number.to_bytes(4, "big")
        body += bytes([len(brought)]) + brought
        body += len(noise).to_bytes(2, "big") + noise
        body += bytes(size - 4 - len(body))
        made.append(
            {
                "type": kind,
                "version": 0x53545201,
                "suite": suite,
                "target_address": "a1a2a3a4a5a6a7a8",
                "source_address": "b1b2b3b4b5b6b7b8",
                "target_cid": target_cid.hex(),
                "source_cid": source_cid.hex(),
                "packet_number": number,
                "cookie": brought.hex(),
                "noise": noise.hex(),
                "wire": (body + crc32c(body).to_bytes(4, "big")).hex(),
            }
        )
    return made


def sealed() -> list[dict[str, Any]]:
    """SEALED packets: whole datagrams and fragments, without and with a pre-shared key."""
    made = []
    private = {"source": bytes(range(32)), "target": bytes(range(100, 132))}
    public = {
        name: X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
        for name, key in private.items()
    }
    address = {name: hashlib.sha256(key).digest()[:8] for name, key in public.items()}
    shared = X25519PrivateKey.from_private_bytes(private["source"]).exchange(
        X25519PublicKey.from_public_bytes(public["target"])
    )
    for psk, number, index, count, content in (
        (b"", 0, 0, 1, b""),
        (b"k" * 32, 7, 0, 1, b"hello"),
        (b"", 9, 0, 2, bytes(1135)),
        (b"", 10, 1, 2, b"rest"),
        (b"", 0x1_0000_0001, 0, 1, b"hello"),
    ):
        epoch = bytes.fromhex("00000000499602d2a0a1a2a3a4a5a6a7")
        header = bytes.fromhex("5153545201") + address["target"] + address["source"]
        header += epoch + number.to_bytes(8, "big")
        extracted = hmac.digest(epoch, shared + psk, "sha256")
        info = b"strait sealed 1" + address["source"] + address["target"]
        key = hmac.digest(extracted, info + b"\x01", "sha256")
        clear = index.to_bytes(2, "big") + count.to_bytes(2, "big") + content
        wire = header + AESGCM(key).encrypt(bytes(4) + number.to_bytes(8, "big"), clear, header)
        made.append(
            {
                "source_private_key": private["source"].hex(),
                "target_private_key": private["target"].hex(),
                "psk": psk.hex(),
                "epoch": epoch.hex(),
                "packet_number": number,
                "index": index,
                "count": count,
                "data": content.hex(),
                "key": key.hex(),
                "wire": wire.hex(),
            }
        )
    return made


def reset() -> list[dict[str, Any]]:
    """STATELESS_RESET of two nodes."""
    made = []
    for private_key in (bytes(range(32)), bytes(range(100, 132))):
        extracted = hmac.digest(bytes(32), private_key, "sha256")
        key = hmac.digest(extracted, b"strait stateless reset\x01", "sha256")
        token = hmac.digest(key, CID, "sha256")[:16]
        made.append(
            {
                "private_key": private_key.hex(),
                "target_cid": CID.hex(),
                "token": token.hex(),
                "wire": (b"\x42" + CID + token).hex(),
            }
        )
    return made


def times(a: int, b: int) -> int:
    """Product in GF(256) with 0x11d, bit by bit."""
    product = 0
    for bit in range(8):
        product ^= a << bit if b >> bit & 1 else 0
    for bit in range(14, 7, -1):
        product ^= 0x11D << (bit - 8) if product >> bit & 1 else 0
    return product


def over(a: int, b: int) -> int:
    """Quotient in GF(256): what times ``b`` is ``a``."""
    return next(c for c in range(256) if times(b, c) == a)


def fec() -> list[dict[str, Any]]:
    """Blocks of both schemes, without and with checks, of packets of several lengths (SPEC 12.1, 12.2)."""
    made = []
    for scheme in ("xor", "reed-solomon"):
        for checked, count, total in ((False, 1, 1), (False, 5, 2), (True, 5, 3), (False, 128, 32)):
            first = 1000 if count < 100 else (1 << 40) - 5
            payloads = [bytes((7 * n + k) % 256 for k in range(1 + (13 * n) % 40)) for n in range(count)]
            symbols = []
            for number, payload in enumerate(payloads, first):
                check = hashlib.blake2s(number.to_bytes(8, "big") + payload, digest_size=4).digest()
                symbols.append(len(payload).to_bytes(2, "big") + (check if checked else b"") + payload)
            size = max(map(len, symbols))
            repairs = []
            for i in range(total):
                repair = bytearray(size)
                for j, symbol in enumerate(symbols):
                    if scheme == "xor":
                        factor = int(j % total == i)
                    else:
                        factor = over(255 ^ j, (255 - i) ^ j)
                    for k, byte in enumerate(symbol):
                        repair[k] ^= times(factor, byte)
                repairs.append(repair.hex())
            made.append(
                {
                    "scheme": scheme,
                    "checked": checked,
                    "first_packet_number": first,
                    "payloads": [payload.hex() for payload in payloads],
                    "repairs": repairs,
                }
            )
    return made


@cache
def texts() -> dict[str, str]:
    """The files by name, as they must be."""
    made = {
        "frames": frames(),
        "data": data(),
        "setup": setup(),
        "sealed": sealed(),
        "fec": fec(),
        "reset": reset(),
    }
    return {
        f"{name}.json": json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"
        for name, vectors in made.items()
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (HERE / name).write_text(text, encoding="utf-8")
