"""Networks, flows and troubles of a run by name, as parts of a topology file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Settings of both ends.
TUNINGS: Mapping[str, Mapping[str, object]] = {
    "as it comes": {},
    "small windows": {
        "initial-connection-window": "6kB", "initial-stream-window": "3kB", "connection-window": "40kB",
        "stream-window": "20kB", "max-ack-delay": "5ms",
    },
    "keys change by packets": {"key-update-packets": 20, "max-ack-delay": "0ms"},
    "keys change by time": {"key-update-interval": "40ms", "ecn": False},
    "early data": {"early-data": True, "remember-path": True},
    "small packets": {"max-datagram-size": 1200, "initial-datagram-size": 1200, "fec-overhead-percent": 100},
}  # fmt: skip

#: What goes from a to b, or asks; flows that may begin early have several connections.
FLOWS: Mapping[str, Mapping[str, object]] = {
    "bulk": {"kind": "bulk", "size": "60kB", "connections": 3},
    "longer": {"kind": "bulk", "size": "250kB"},
    "echo": {"kind": "echo", "size": "200B", "count": 20, "interval": "20ms"},
    "requests": {
        "kind": "request-response", "count": 12, "size": "2kB", "response": "9kB", "streams": 4,
        "think": "5ms", "connections": 2,
    },
    "files": {"kind": "files", "sizes": ["40kB", "1B", "70kB"]},
    "messages": {"kind": "messages", "size": "3kB", "count": 40, "rate": "100/s"},
    "deadlines": {"kind": "messages", "size": "9kB", "count": 40, "rate": "100/s", "deadline": "60ms"},
}  # fmt: skip

#: What becomes of the link in the middle.
MIDDLES: Mapping[str, Mapping[str, Any]] = {
    "clean": {"netem": {"delay": "5ms"}},
    "loss": {"netem": {"delay": "10ms", "loss": "8%"}},
    "much loss": {"netem": {"delay": "4ms", "loss": "20%", "burst": "2p"}},
    "reorder": {"netem": {"delay": "12ms", "reorder": "15%", "jitter": "3ms"}},
    "duplicate": {"netem": {"delay": "5ms", "duplicate": "20%", "loss": "2%"}},
    "corrupt": {"netem": {"delay": "5ms", "corrupt": "4%"}},
    "jitter": {"netem": {"delay": "30ms", "jitter": "25ms", "loss": "1%"}},
    "marks": {"netem": {"delay": "5ms", "rate": "8Mbit", "ecn": True, "ce-threshold": "2ms"}},
    "marks by chance": {"netem": {"delay": "5ms", "loss": "5%", "ecn": True, "reorder": "5%"}},
    "tiny queue": {"netem": {"delay": "8ms", "rate": "10Mbit", "queue": "5p"}},
    "black hole": {"netem": {"delay": "5ms"}, "mtu": 1300},
    "far away": {"netem": {"delay": "250ms", "rate": "10Mbit", "loss": "1%"}},
    "uneven": {
        "netem-forward": {"delay": "2ms", "rate": "20Mbit", "loss": "3%"},
        "netem-reverse": {"delay": "40ms", "rate": "200kbit", "loss": "10%"},
    },
    "all at once": {
        "netem": {
            "delay": "10ms", "jitter": "4ms", "loss": "4%", "duplicate": "4%", "reorder": "6%",
            "corrupt": "1%",
        }
    },
}  # fmt: skip

#: What happens meanwhile.
ACTS: Mapping[str, list[dict[str, object]]] = {
    "nothing": [],
    "rebinds": [
        {"at": "60ms", "rebind": {"node": "a", "port": True}},
        {"at": "150ms", "rebind": {"node": "a", "address": True}},
    ],
    "migrates": [
        {"at": "60ms", "migrate": {"node": "a"}},
        {"at": "150ms", "migrate": {"node": "a", "address": True}},
    ],
    "is cut off": [{"at": "70ms", "cut": ["a:eth1"], "for": "400ms"}],
    "halts": [{"at": "80ms", "pause": "b", "for": "300ms"}],
    "restarts": [{"at": "90ms", "crash": "b"}, {"at": "250ms", "restart": "b"}],
    "narrows": [
        {"at": "50ms", "set": {"link": "n:eth2", "netem": {"rate": "1Mbit", "delay": "60ms"}}, "for": "1s"}
    ],
}

#: What the nodes are, and which IP they speak.
PLACES: Mapping[str, Mapping[str, object]] = {
    "ipv4": {"ip": 4, "n": {"kind": "router"}},
    "ipv6": {"ip": 6, "n": {"kind": "router"}},
    "nat": {"ip": 4, "n": {"kind": "nat", "timeout": "30s"}},
    "forgetful nat": {"ip": 4, "n": {"kind": "nat", "timeout": "1s", "ports": "random"}},
}
