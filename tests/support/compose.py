"""Compose files as a user starts them: under a project name and with a results directory of their own."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.containers.untagged import remove_untagged, untagged
from tests.lanes.machine import ROOT


@dataclass(frozen=True)
class Run:
    """What one run said and left."""

    exit_code: int
    output: str
    results: Path
    result: dict[str, Any]


@contextmanager
def compose_up(file: Path, directory: Path) -> Iterator[Run]:
    """Run a file of this project to its end; below ``directory`` are its results."""
    results = directory / "results"
    services = yaml.safe_load(file.read_text())["services"]
    override = directory / "override.yml"
    volumes = {"volumes": [f"{results}:/results"]}
    override.write_text(yaml.safe_dump({"services": dict.fromkeys(services, volumes)}))
    project = f"nw-test-{secrets.token_hex(4)}"
    compose = ["docker", "compose", "--ansi", "never", "-p", project, "--project-directory", str(ROOT)]
    compose += ["-f", str(file), "-f", str(override)]
    try:
        done = subprocess.run(
            [*compose, "up", "--build", "--abort-on-container-exit"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found = list(results.glob("*/result.json"))
        assert len(found) == 1, done.stdout[-6000:]
        yield Run(done.returncode, done.stdout, found[0].parent, json.loads(found[0].read_text()))
    finally:
        subprocess.run([*compose, "down", "-v", "-t", "2"], capture_output=True, check=False)
        remove_untagged(untagged())  # what had the names of the images that were built
