"""The Compose demo on a kernel that has netem, whatever this machine's own kernel lacks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from orchestrator.containers.untagged import remove_untagged, untagged
from orchestrator.topology.load import load
from tests.lanes import guest, machine, setup

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.uml]

LIMIT_SECONDS = 420


def run(argv: list[str]) -> str:
    """Run a command of the set-up; its output is the failure's text."""
    done = subprocess.run(argv, cwd=machine.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def disk() -> Path:
    """The demo's images as a disk for the engine in the guest; made anew when an image has changed."""
    run(["docker", "compose", "build", "-q"])
    remove_untagged(untagged())  # what had the names of these images
    images = sorted(set(run(["docker", "compose", "config", "--images"]).split()))
    identities = run(["docker", "image", "inspect", "-f", "{{.Id}}", *images])
    disk = setup.REPORTS / "docker.ext4"
    stamp = disk.with_suffix(".images")
    if not disk.exists() or not stamp.exists() or stamp.read_text() != identities:
        disk.parent.mkdir(parents=True, exist_ok=True)
        run(["bash", str(machine.SCRIPTS / "make-disk.sh"), str(disk), *images])
        stamp.write_text(identities)
    return disk


def test_the_demo_passes_with_netem_of_the_kernel(disk: Path, tmp_path: Path) -> None:
    project = tmp_path / "narrows"
    (project / "results").mkdir(parents=True)
    shutil.copy(machine.ROOT / "docker-compose.yml", project)
    up = "docker compose up --no-build --abort-on-container-exit"
    argv, environment = guest.command(
        [str(machine.SCRIPTS / "docker-in-guest.sh"), *f"{up} --exit-code-from orchestrator".split()],
        limit_seconds=LIMIT_SECONDS,
        writable=[project],
        disks=[f"{disk}:cow"],
        clock=guest.Clock.WORKING,
    )
    done = subprocess.run(argv, cwd=project, env=environment, capture_output=True, text=True, check=False)
    said = f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    assert "PASS" in done.stdout, said
    results = [json.loads(path.read_text()) for path in project.glob("results/**/result.json")]
    assert results, said
    assert {result["impairment"] for result in results} == {"kernel"}, said
    assert not re.search(r"\bFAIL\b", done.stdout), said
    for result in results:
        links = load(machine.ROOT / "topologies" / "demo.lab.yml").links
        ends = {str(end) for link in links for end in (link.a, link.b)}
        for quantity in ("delay", "jitter", "loss", "rate", "reordering"):
            rows = {
                row["sender"]: row for row in result["calibration"]["links"] if row["quantity"] == quantity
            }
            assert set(rows) == ends, (quantity, result["calibration"]["notes"])
            assert all(row["measured"] is not None for row in rows.values()), quantity
