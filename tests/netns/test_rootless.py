"""`--rootless`: a user without any rights makes a lab of real packets, and nothing of it is left."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import rootless
from tests.netns.labs import left_over

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534
LAB = """
name: mine
topology:
  nodes: {left: {}, middle: {kind: router}, right: {}}
  links:
    - {endpoints: ["left:eth1", "middle:eth1"], netem: {delay: 2ms, loss: 1%}}
    - {endpoints: ["middle:eth2", "right:eth1"]}
workloads:
  film: {kind: bulk, from: left, to: right, size: 500kB}
expect: [integrity == ok, wire violations == 0]
"""


def as_nobody(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours as a user without rights, who may read this checkout and the interpreter.

    Where these lie below a directory that is closed to others, he sees a copy of the way there.
    """
    argv = [sys.executable, "-m", "orchestrator", *words]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *argv]
    script = "\n".join(
        [*_opened(place, sys.executable), *_opened(place, sys.base_prefix), *_opened(place, ROOT)]
    )
    environment = {**os.environ, "HOME": str(place / "home"), "PYTHONPATH": str(ROOT), **variables}
    environment.pop("NARROWS_STATE", None)
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f"{script}\nexec {shlex.join(drop)}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def _opened(place: Path, path: str | Path) -> list[str]:
    """Return shell lines that let others reach a path, in a mount namespace of its own."""
    way = Path(path).absolute()
    closed = next((found for found in reversed(way.parents) if not found.stat().st_mode & 0o001), None)
    if closed is None:
        return []
    child, kept = closed / way.relative_to(closed).parts[0], place / f"kept-{closed.name}"
    kept.mkdir(exist_ok=True)
    inner, outer, copy = (shlex.quote(str(found)) for found in (child, closed, kept))
    return [
        f"if ! mountpoint -q {inner}; then mount --bind {inner} {copy}",
        f"mount -t tmpfs -o mode=755 tmpfs {outer}; mkdir -p {inner}; mount --bind {copy} {inner}; fi",
    ]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that a user without rights may reach and write: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="rootless-") as name:
        found = Path(name)
        (found / "home").mkdir()
        for path in (found, found / "home"):
            path.chmod(0o777)
        (found / "mine.lab.yml").write_text(LAB)
        yield found


def test_a_user_without_rights_runs_a_lab(place: Path) -> None:
    file, results = str(place / "mine.lab.yml"), str(place / "results")
    # As if he had set it by hand: nobody is inside for that.
    ended = as_nobody(
        place, "run", file, "--rootless", "--backend", "netns", "--results", results, "-f", "json",
        **{rootless.VARIABLE: "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["verdict"], result["backend"]) == ("PASS", "netns")
    assert result["wire"]["frames"] > 500
    assert not any("root" in note for note in result["notes"])
    assert left_over(result["run_id"]) == []
    # The files are the user's own, as far as the machine is concerned.
    (run,) = (place / "results").iterdir()
    assert (run / "result.json").stat().st_uid == NOBODY


def test_without_the_option_he_is_told_what_is_missing(place: Path) -> None:
    ended = as_nobody(place, "run", str(place / "mine.lab.yml"), "--backend", "netns")
    assert ended.returncode == 3
    assert "run as root: sudo narrows" in ended.stderr
    assert "--rootless" in ended.stderr


def test_a_machine_that_forbids_it_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a user namespace that may have no other below it, as where the administrator forbids them."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    program = "from orchestrator import rootless; print(rootless.problem())"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no user namespace with a network of its own can be made" in done.stdout
    assert "sysctl user.max_user_namespaces is 0" in done.stdout
    assert "--backend simulation" in done.stdout


def test_this_machine_can() -> None:
    assert rootless.problem() == ""


def test_a_variable_that_was_set_by_hand_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "net", "mnt")]
    for value in (
        "",
        "1",
        "true",
        " ".join(here),
        " ".join((here[0], "net:[1]", "mnt:[1]")),
        "a b",
        "a b c d",
    ):
        monkeypatch.setenv(rootless.VARIABLE, value)
        assert not rootless.is_inside(), value
    monkeypatch.setenv(rootless.VARIABLE, "user:[1] net:[1] mnt:[1]")
    assert rootless.is_inside()
