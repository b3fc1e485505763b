"""Offloads of an interface, switched off by the ioctl that ethtool uses: no program to install or start.

An impairment must see single packets: netem draws once for a burst that an offload left whole, so up
to 64 packets would be lost, delayed or counted as one. And a capture must see finished checksums.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

from orchestrator.errors import BackendError

_SIOCETHTOOL = 0x8946
# linux/ethtool.h
_ETHTOOL_GSTRINGS = 0x1B
_ETHTOOL_GSSET_INFO = 0x37
_ETHTOOL_GFEATURES = 0x3A
_ETHTOOL_SFEATURES = 0x3B
_ETH_SS_FEATURES = 4
_STRING_BYTES = 32

#: Features that leave a burst whole or a checksum unfinished, as `ethtool -k` names them.
_PREFIXES = ("tx-checksum-", "tx-gso-", "rx-gro", "tx-generic-segmentation")
_SUFFIX = "-segmentation"


def switch_off(interface: str) -> None:
    """Switch off segmentation, coalescing and checksum offloads of an interface in this namespace.

    Raises:
        BackendError: there is no such interface, or one of these stays on.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        names = _feature_names(opened, interface)
        wanted = [index for index, name in enumerate(names) if _harmful(name)]
        words = (len(names) + 31) // 32
        request = bytearray(struct.pack("II", _ETHTOOL_SFEATURES, words))
        for word in range(words):
            valid = sum(1 << (index % 32) for index in wanted if index // 32 == word)
            # Fixed features refuse to be named as valid, but do so without an error code.
            request += struct.pack("II", valid, 0)
        _ioctl(opened, interface, request)
        left = [names[index] for index in _active(opened, interface, words) if index in wanted]
    if left:
        raise BackendError(f"interface {interface}: {', '.join(left)} cannot be switched off")


def _harmful(name: str) -> bool:
    return name.startswith(_PREFIXES) or (name.startswith("tx-") and name.endswith(_SUFFIX))


def _feature_names(opened: socket.socket, interface: str) -> list[str]:
    info = bytearray(struct.pack("IIQI", _ETHTOOL_GSSET_INFO, 0, 1 << _ETH_SS_FEATURES, 0))
    count = struct.unpack_from("I", _ioctl(opened, interface, info), 16)[0]
    head = struct.pack("III", _ETHTOOL_GSTRINGS, _ETH_SS_FEATURES, count)
    answer = _ioctl(opened, interface, bytearray(head + bytes(count * _STRING_BYTES)))
    texts = (answer[12 + _STRING_BYTES * index :][:_STRING_BYTES] for index in range(count))
    return [text.split(b"\0", 1)[0].decode("ascii", "replace") for text in texts]


def _active(opened: socket.socket, interface: str, words: int) -> list[int]:
    request = bytearray(struct.pack("II", _ETHTOOL_GFEATURES, words) + bytes(16 * words))
    answer = _ioctl(opened, interface, request)
    found: list[int] = []
    for word in range(words):
        # available, requested, active, never_changed
        active, never = struct.unpack_from("II", answer, 8 + 16 * word + 8)
        found.extend(32 * word + bit for bit in range(32) if (active & ~never) >> bit & 1)
    return found


def _ioctl(opened: socket.socket, interface: str, data: bytearray) -> bytes:
    buffer = array.array("B", data)
    request = struct.pack("16sP8x", interface.encode("ascii"), buffer.buffer_info()[0])
    try:
        fcntl.ioctl(opened, _SIOCETHTOOL, request)
    except OSError as error:
        raise BackendError(f"interface {interface}: offloads: {error.strerror}") from error
    return buffer.tobytes()
