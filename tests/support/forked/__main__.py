"""Says what it is as one line of JSON, then does what it is told: ``end CODE``, ``raise`` or ``wait``."""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
import time


def main() -> int:
    """Do it."""
    about = {
        "argv": sys.argv[1:],
        "word": os.environ.get("WORD", ""),
        "session": os.getsid(0) == os.getpid(),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "network": os.readlink("/proc/self/ns/net"),
        "chance": [random.random(), secrets.token_hex(8)],
    }
    print(json.dumps(about), flush=True)
    if sys.argv[1] == "raise":
        raise RuntimeError("on purpose")
    if sys.argv[1] == "wait":
        time.sleep(1000)
    return int(sys.argv[2])
