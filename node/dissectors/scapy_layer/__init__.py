"""Strait as scapy packets: a second implementation of SPEC.md's wire format, to build and to dissect.

``SetUp`` and ``Data`` are bound to UDP port 4433. What a Data packet holds is protected: :func:`unprotect`
turns it into ``Data / Frames``, given a key log's line, and :func:`protect` goes back.

    >>> datagram = protect(Data(target_cid=7) / Frames(frames=[Ping(), MaxData(maximum=9)]), "aead", key)
    >>> unprotect(Data(datagram), "aead", key).show()

Dissecting raises :class:`MalformedError` where the specification is broken; scapy itself then shows ``Raw``.
"""

from __future__ import annotations

from node.dissectors.scapy_layer.fields import Item, MalformedError
from node.dissectors.scapy_layer.frames import (
    FRAME_TYPES,
    Ack,
    AckFrequency,
    Close,
    DataBlocked,
    FecRecovered,
    FecRepair,
    Frame,
    Frames,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Message,
    Padding,
    Ping,
    ResetStream,
    StopSending,
    Stream,
    StreamDataBlocked,
    dissect_frames,
)
from node.dissectors.scapy_layer.packets import (
    COMPLETION,
    DATA,
    DATA_ODD,
    INITIATION,
    PARAMETERS,
    PORT,
    RESPONSE,
    RETRY,
    SETUP_BYTES,
    SETUP_HEADER_BYTES,
    SETUP_KINDS,
    SUITES,
    VERSION,
    Data,
    Parameter,
    Parameters,
    Protected,
    SetUp,
    StatelessReset,
    Strait,
    protect,
    setup_bytes,
    unprotect,
)
from node.dissectors.scapy_layer.sealed import Sealed, SealedFragment, unseal

__all__ = [
    "COMPLETION",
    "DATA",
    "DATA_ODD",
    "FRAME_TYPES",
    "INITIATION",
    "PARAMETERS",
    "PORT",
    "RESPONSE",
    "RETRY",
    "SETUP_BYTES",
    "SETUP_HEADER_BYTES",
    "SETUP_KINDS",
    "SUITES",
    "VERSION",
    "Ack",
    "AckFrequency",
    "Close",
    "Data",
    "DataBlocked",
    "FecRecovered",
    "FecRepair",
    "Frame",
    "Frames",
    "Item",
    "MalformedError",
    "MaxData",
    "MaxStreamData",
    "MaxStreams",
    "Message",
    "Padding",
    "Parameter",
    "Parameters",
    "Ping",
    "Protected",
    "ResetStream",
    "Sealed",
    "SealedFragment",
    "SetUp",
    "StatelessReset",
    "StopSending",
    "Strait",
    "Stream",
    "StreamDataBlocked",
    "dissect_frames",
    "protect",
    "setup_bytes",
    "unprotect",
    "unseal",
]
