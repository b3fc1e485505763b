"""What a process's first handshake imports: nothing, or the peer would take that time for the path's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

#: In a process that is new, two endpoints and a transfer of some packets between them.
PROGRAM = """
import json, sys
from node.protocol.configuration import Configuration
from tests.support.pair import Pair
settings = Configuration(**json.loads(sys.argv[1]))
pair = Pair(left=settings, right=settings)
before = set(sys.modules)
pair.established()
pair.connection.write(pair.connection.open_stream(), bytes(50_000))
pair.run_for(1_000_000_000)
assert sum(map(len, pair.right_data.values())) == 50_000
print(json.dumps([sorted(set(sys.modules) - before), "numpy" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("settings", "needs_numpy"),
    [({}, False), ({"congestion": "bbr", "arq": "go-back-n"}, False), ({"fec": "xor"}, True)],
    ids=["default", "others", "fec"],
)
def test_all_that_a_connection_needs_is_there_before_it(settings: dict[str, Any], needs_numpy: bool) -> None:
    """numpy is half of an agent's memory, and its import a first round trip of 50 ms: only FEC needs it."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[], needs_numpy]
