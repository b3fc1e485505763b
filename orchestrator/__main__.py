"""``python -m orchestrator`` is ``narrows``."""

from __future__ import annotations

from orchestrator.cli.main import main

if __name__ == "__main__":
    main(prog_name="narrows")
