"""What a link reads of the frames that cross it, and the mark that it writes: IPv4 and IPv6 over Ethernet."""

from __future__ import annotations

ETHERNET_BYTES = 14
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_IPV4_BYTES, _IPV6_BYTES = 20, 40
_CE = 3


def ecn_capable(frame: bytes | bytearray) -> bool:
    """Return whether the packet may be marked instead of dropped: ECT(0), ECT(1) or CE (RFC 3168 §5)."""
    if frame[12:14] == _IPV4 and len(frame) >= ETHERNET_BYTES + _IPV4_BYTES:
        return frame[15] & _CE != 0
    if frame[12:14] == _IPV6 and len(frame) >= ETHERNET_BYTES + _IPV6_BYTES:
        return frame[15] >> 4 & _CE != 0
    return False


def mark_frame(frame: bytes) -> bytes:
    """Return the frame with Congestion Experienced in its IP header, IPv4's header checksum right again.

    What is no IP packet comes back as it is.
    """
    if frame[12:14] == _IPV6 and len(frame) >= ETHERNET_BYTES + _IPV6_BYTES:
        marked = bytearray(frame)
        marked[15] |= _CE << 4
        return bytes(marked)
    if frame[12:14] != _IPV4 or len(frame) < ETHERNET_BYTES + _IPV4_BYTES:
        return frame
    marked = bytearray(frame)
    before = int.from_bytes(frame[14:16], "big")
    marked[15] |= _CE
    after = int.from_bytes(marked[14:16], "big")
    # RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
    total = (int.from_bytes(frame[24:26], "big") ^ 0xFFFF) + (before ^ 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    marked[24:26] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(marked)


def flow_of(frame: bytes | bytearray) -> bytes:
    """Return what is equal for packets of one flow: addresses, protocol and ports, where there are some."""
    if frame[12:14] == _IPV4 and len(frame) >= ETHERNET_BYTES + _IPV4_BYTES:
        header = ETHERNET_BYTES + 4 * (frame[14] & 0x0F)
        fragment = int.from_bytes(frame[20:22], "big") & 0x3FFF
        ports = b"" if fragment else frame[header : header + 4]
        return bytes(frame[23:24] + frame[26:34] + ports)
    if frame[12:14] == _IPV6 and len(frame) >= ETHERNET_BYTES + _IPV6_BYTES:
        end = ETHERNET_BYTES + _IPV6_BYTES
        return bytes(frame[20:21] + frame[22:end] + frame[end : end + 4])
    return bytes(frame[:14])
