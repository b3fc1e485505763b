"""Reads key logs (SPEC 11): what a dissector needs to open a connection's packets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.dissectors.protection import TAG_BYTES
from node.dissectors.scapy_layer import MalformedError, Parameters
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.report import WireReport

_CID_BYTES = 8
_KEY_BYTES = 32
_ADDRESS_BYTES, _EPOCH_BYTES = 8, 16


@dataclass(slots=True)
class Secrets:
    """What the key logs tell of one connection."""

    initiator_cid: bytes
    responder_cid: bytes
    profile: str
    #: Key from initiator to responder, and back.
    keys: tuple[bytes, bytes]
    #: What the initiator, and the responder, let the other side send at first: (connection, each stream),
    #: in bytes; None: not in the logs.
    windows: tuple[tuple[int, int], tuple[int, int]] | None = None
    #: The transport parameters of both ends by name, as numbers (SPEC 11-5); None: not in the logs.
    parameters: tuple[Mapping[str, int], Mapping[str, int]] | None = None
    #: Profile and key of its EARLY packets (SPEC 11-4); None: it has none, or they are not in the logs.
    early: tuple[str, bytes] | None = None


@dataclass(slots=True)
class KeyLogs:
    """What all key logs of a run tell."""

    #: By initiator's and responder's connection ID.
    connections: dict[tuple[bytes, bytes], Secrets] = field(default_factory=dict)
    #: Keys of SEALED packets by source address, target address, epoch (SPEC 11-3).
    sealed: dict[tuple[int, int, bytes], bytes] = field(default_factory=dict)


def read_key_logs(paths: Iterable[Path], report: WireReport) -> KeyLogs:
    """Return what all logs tell.

    Both ends of a connection log the same; a line that cannot be read is noted.

    Raises:
        ProbeError: a file cannot be read.
    """
    logs = KeyLogs()
    early: dict[bytes, tuple[str, bytes]] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise ProbeError(f"key log {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ProbeError(f"key log {path} is not text: byte 0x{error.object[error.start]:02x}") from error
        for number, line in enumerate(lines, start=1):
            try:
                _take(line.split(), logs, early)
            except ValueError as error:
                report.note(f"key log {path.name}, line {number}: {error}")
    for secrets in logs.connections.values():
        secrets.early = early.get(secrets.initiator_cid)
    return logs


def _take(words: list[str], logs: KeyLogs, early: dict[bytes, tuple[str, bytes]]) -> None:
    found = logs.connections
    match words:
        case ["STRAIT_DATA", initiator, responder, profile, forward, back]:
            if profile not in TAG_BYTES:
                raise ValueError(f"unknown profile {profile!r}")
            cids = _hex(initiator, _CID_BYTES), _hex(responder, _CID_BYTES)
            keys = _hex(forward, _KEY_BYTES), _hex(back, _KEY_BYTES)
            secrets = found.setdefault(cids, Secrets(*cids, profile, keys))
            if (secrets.profile, secrets.keys) != (profile, keys):
                raise ValueError(f"connection {initiator} {responder} is logged twice with different keys")
        case ["STRAIT_WINDOWS", initiator, responder, *numbers] if len(numbers) == 4:
            cids = _hex(initiator, _CID_BYTES), _hex(responder, _CID_BYTES)
            if cids not in found:
                raise ValueError(f"windows of connection {initiator} {responder} before its keys")
            a, b, c, d = map(int, numbers)
            found[cids].windows = ((a, b), (c, d))
        case ["STRAIT_PARAMETERS", initiator, responder, first, second]:
            cids = _hex(initiator, _CID_BYTES), _hex(responder, _CID_BYTES)
            if cids not in found:
                raise ValueError(f"parameters of connection {initiator} {responder} before its keys")
            found[cids].parameters = _parameters(first), _parameters(second)
        case ["STRAIT_EARLY", initiator, profile, key]:
            if profile not in TAG_BYTES:
                raise ValueError(f"unknown profile {profile!r}")
            early[_hex(initiator, _CID_BYTES)] = profile, _hex(key, _KEY_BYTES)
        case ["STRAIT_SEALED", source, target, epoch, key]:
            named = _address(source), _address(target), _hex(epoch, _EPOCH_BYTES)
            logs.sealed[named] = _hex(key, _KEY_BYTES)
        case [word, *_] if word.startswith("STRAIT_"):
            raise ValueError(f"cannot read {word}")
        case _:
            # Other programs' lines and empty ones are not ours to judge.
            return


def _hex(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size:
        raise ValueError(f"{text!r} is not {size} bytes in hex")
    return value


def _address(text: str) -> int:
    return int.from_bytes(_hex(text, _ADDRESS_BYTES), "big")


def _parameters(text: str) -> Mapping[str, int]:
    try:
        return Parameters(bytes.fromhex(text)).numbers()
    except MalformedError as error:
        raise ValueError(f"parameters {text}: {error}") from error
