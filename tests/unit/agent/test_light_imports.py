"""What a node's programs import: a hundred of them start at once, so only what they use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.command import ROOT

#: Each is needed by some other program, form or profile, or by plug-ins of others.
HEAVY = {
    "numpy",
    "importlib.metadata",
    "pydantic",
    "scapy",
    "docker",
    "yaml",
    "orchestrator",
    "node.shaper.nfqueue",
    "node.dissectors",
}


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        (
            "node.agent.run",
            {
                *("node.shaper.client", "node.links.settings", "node.capture", "node.qlog", "tempfile"),
                *("node.measuring", "node.transports.tcp", "node.transports.quic"),
            },
        ),
        ("node.shaper.relay", {"subprocess", "asyncio", "ssl", "cryptography", "node.core"}),
        ("node.shaper.__main__", {"subprocess", "asyncio", "ssl", "cryptography", "node.core"}),
        ("node.capture.__main__", {"asyncio", "ssl", "cryptography", "node.core", "node.links"}),
    ],
)
def test_only_what_is_used_is_imported(module: str, spared: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (HEAVY | spared) == set()
