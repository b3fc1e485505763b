"""Compares text with a file beside the tests; ``UPDATE_GOLDEN=1`` writes the file instead, for review."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent


def check(name: str, text: str) -> None:
    """Assert that ``text`` is what the golden file ``name`` holds."""
    path = HERE / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"no golden file {name}: run once with UPDATE_GOLDEN=1 and review it"
    assert text == path.read_text(encoding="utf-8")
