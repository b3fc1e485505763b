"""`narrows --help` comes up at once because it imports next to nothing; that, not time, is tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("pydantic", "rich", "docker", "numpy", "cryptography", "scapy", "yaml", "asyncio")
_PROGRAM = """
import sys
from orchestrator.cli.main import main
try:
    main(prog_name="narrows")
finally:
    print(*sys.modules, file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    imported = modules_after("--help")
    assert not imported & set(HEAVY)
    verbs = {name for name in imported if name.startswith("orchestrator.cli.")}
    assert verbs == {
        "orchestrator.cli.main",
        "orchestrator.cli.support",
        "orchestrator.cli.support.exit_codes",
    }


def test_help_of_a_verb_imports_nothing_heavy() -> None:
    assert not modules_after("run", "--help") & set(HEAVY)


def test_version_imports_nothing_heavy() -> None:
    assert not modules_after("--version") & set(HEAVY)
