"""Runs one target under atheris: ``python -m tests.fuzz.run TARGET [options of libFuzzer]``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from tests.lanes.machine import ROOT

#: Real seconds after which one input hangs, and MiB that one process may take.
HANG_SECONDS, MEMORY_MIB = 25, 2048


def why_not() -> str:
    """Return why nothing can be fuzzed here; empty: it can."""
    if importlib.util.find_spec("atheris") is None:
        return "atheris is not installed: .venv/bin/pip install -r .ci/requirements/fuzz.txt (needs a wheel)"
    return ""


def directory_of(name: str) -> Path:
    """Return where the corpus of a target grows from run to run."""
    return ROOT / ".cache/fuzz" / name


def command(name: str, directory: Path, *, seconds: int, runs: int = -1) -> list[str]:
    """Return what fuzzes a target; the corpus is written to ``directory`` first."""
    from tests.fuzz.corpus import inputs
    from tests.fuzz.targets import TARGETS

    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(inputs(name)):
        (corpus / f"made-{number}").write_bytes(data)
    return [
        sys.executable, "-m", "tests.fuzz.run", name, str(corpus), f"-artifact_prefix={directory}/",
        f"-max_total_time={seconds}", f"-runs={runs}", f"-max_len={TARGETS[name].max_length}", "-seed=1",
        f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["node"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(sys.argv, TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
