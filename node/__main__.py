"""``python -m node``: the agent of one node, or its health check.

python -m node [--config FILE]           run; without a file, configured by NARROWS_* variables
                                         SIGHUP: start anew, with what the file says by then
python -m node health [--config FILE]    exit code 0 if the agent so configured answers, else 1
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.agent.configuration import AgentConfiguration

EXIT_UNHEALTHY = 1
EXIT_CONFIGURATION = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the agent or its health check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m node", description="The agent of one Narrows node.")
    parser.add_argument("action", nargs="?", choices=["run", "health"], default="run")
    parser.add_argument("--config", type=Path, help="JSON file; without it, NARROWS_* variables count")
    options = parser.parse_args(arguments)
    while (code := _act(options)) is None:
        pass
    return code


def _act(options: argparse.Namespace) -> int | None:
    """Do what is asked once; return the exit code; None: again, as the configuration is by now."""
    # What imports make stays: to look through it for garbage again and again is a sixth of an agent's start.
    gc.disable()
    try:
        from node.agent.configuration import ConfigurationError, load_environment, load_file

        try:
            configuration = load_file(options.config) if options.config else load_environment(os.environ)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            return EXIT_CONFIGURATION
        if options.action == "health":
            return _health(configuration)
        from node.agent.run import run_agent
    finally:
        gc.enable()
    return run_agent(configuration)


def _health(configuration: AgentConfiguration) -> int:
    from node.agent.health import check_health

    if configuration.control is None:
        print("control: is missing, so there is nobody to ask", file=sys.stderr)
        return EXIT_CONFIGURATION
    healthy, text = check_health(configuration.control)
    print(text, file=sys.stdout if healthy else sys.stderr)
    return 0 if healthy else EXIT_UNHEALTHY


if __name__ == "__main__":
    sys.exit(main())
