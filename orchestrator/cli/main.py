"""The command ``narrows``: one verb is one file beside this one, imported only when it is called.

``narrows --help`` must come up at once, so the list of verbs is made by listing this directory, and
the short help of each is the first line of its module's docstring, read as text.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import click

from node import __version__
from orchestrator.cli.support.exit_codes import ExitCode, exit_code_of
from orchestrator.errors import TestbedError

_DIRECTORY = Path(__file__).parent
#: Files here that are no verbs.
_NOT_VERBS = frozenset({"__init__", "main"})
#: A docstring's first line is within this many bytes of the file's start.
_DOCSTRING_BYTES = 400
_FIRST_LINE = re.compile(r'\A"""(.+?)(?:"""|\n)')


class VerbGroup(click.Group):
    """A group whose commands are the modules of this package; each has a ``command`` in it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all verbs, sorted."""
        return sorted(path.stem for path in _DIRECTORY.glob("*.py") if path.stem not in _NOT_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the verb's command, importing its module; None: there is no such verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"orchestrator.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        if ctx.resilient_parsing:
            # A shell asks what could come next.
            from orchestrator.cli.support.completing import attach

            attach(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb, its command and the rest; of a word that is no verb say which is near."""
        word, verbs = args[0], self.list_commands(ctx)
        if word not in verbs and not word.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(word.lower(), verbs, n=1)
            ctx.fail(f"No such command {word!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, short_help(verb)) for verb in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; turn what it raises into a message on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has enough of it. Python would complain once more at exit.
            sys.stderr.close()
            ctx.exit(ExitCode.OK)
        except (TestbedError, LookupError, OSError) as error:
            code = exit_code_of(error)
            if code is None:
                raise
            click.echo(_told(error), err=True)
            ctx.exit(code)


def _told(error: BaseException) -> str:
    """Return an error as users read it."""
    from orchestrator.topology.errors import TopologyError

    if isinstance(error, TopologyError):
        # It starts with file:line:column, where editors and terminals look for it.
        return str(error)
    if not isinstance(error, OSError):
        return f"narrows: {error}"
    where = f"{error.filename}: " if error.filename else ""
    if not isinstance(error, PermissionError):
        return f"narrows: {where}{error.strerror or error}"
    advice = "labs belong to the user who made them, most often root: run as that user"
    return f"narrows: {where}{error.strerror}; {advice}"


def short_help(verb: str) -> str:
    """Return the first line of a verb's module docstring, without importing the module."""
    with (_DIRECTORY / f"{verb}.py").open(encoding="utf-8") as file:
        found = _FIRST_LINE.match(file.read(_DOCSTRING_BYTES))
    assert found is not None, f"{verb}.py has no docstring"
    return found[1].strip()


@click.command(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 an expectation failed, 2 usage or invalid YAML, 3 environment missing, "
    "4 partly up, 127 not supported, 130 interrupted.",
)
@click.version_option(__version__, prog_name="narrows", message="%(prog)s %(version)s")
def main() -> None:
    """Run network topologies: in simulation, in network namespaces or in containers.

    A topology file names nodes, links with their delay, loss and rate, flows and what is expected of
    them. `narrows run FILE` makes the lab, runs the flows over the Strait transport, checks every
    captured frame and says PASS or FAIL.
    """
