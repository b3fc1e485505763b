"""``python -m node.forkserver SOCKET``: serve one lab until told to end, or until it is killed."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from node.forkserver.server import ForkServer, ForkServerError


def main() -> int:
    """Import what is named, then serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m node.forkserver", description=__doc__)
    parser.add_argument("socket", type=Path, help="Unix socket to listen on")
    parser.add_argument("--preload", action="append", default=[], help="module to import first; repeatable")
    parser.add_argument("--attached", action="store_true", help="what is forked is killed when this ends")
    given = parser.parse_args()
    try:
        with ForkServer(given.socket, attached=given.attached) as server:
            # After it listens: who connects meanwhile waits in the backlog, and need not ask again.
            for module in given.preload:
                importlib.import_module(module)
            server.serve()
    except ForkServerError as error:
        sys.stderr.write(f"narrows fork server: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
