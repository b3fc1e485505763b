"""What the system refuses is told in its own words, with the file, and without a traceback."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import main as cli
from orchestrator.cli.support.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("number", "path", "said"),
    [
        (errno.ENOSPC, "/results/x", "narrows: /results/x: No space left on device\n"),
        (errno.ENOTDIR, "a/b", "narrows: a/b: Not a directory\n"),
        (errno.EIO, None, "narrows: Input/output error\n"),
    ],
)
def test_an_error_of_the_system_is_told(
    number: int, path: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("validate")
    def broken() -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(cli.VerbGroup, "get_command", lambda self, ctx, name: broken)
    result = CliRunner().invoke(cli.main, ["validate"])
    assert (result.exit_code, result.stderr) == (ExitCode.FAILED, said)


def test_a_place_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = str(tmp_path / "file" / "below")
    line = Path(__file__).parents[3] / "topologies" / "line.lab.yml"
    result = CliRunner().invoke(
        cli.main, ["run", str(line), "--backend", "simulation", "--results", where], prog_name="narrows"
    )
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "file" in result.stderr
