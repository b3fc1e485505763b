"""What impairments need beside them."""

from __future__ import annotations

#: What some impairments need beside them to make sense.
COMPANIONS: dict[str, dict[str, str]] = {
    "aqm": {"rate": "1Mbit"},
    "burst": {"loss": "1%"},
    "ce-threshold": {"rate": "1Mbit", "ecn": "true"},
    "corrupt-correlation": {"corrupt": "1%"},
    "delay-correlation": {"delay": "100ms", "jitter": "10ms"},
    "distribution": {"delay": "100ms", "jitter": "10ms"},
    "duplicate-correlation": {"duplicate": "1%"},
    "ecn": {"rate": "1Mbit"},
    "gap": {"delay": "100ms", "reorder": "100%"},
    "jitter": {"delay": "100ms"},
    "queue": {"rate": "1Mbit"},
    "reorder": {"delay": "100ms"},
    "reorder-correlation": {"delay": "100ms", "reorder": "10%"},
}
