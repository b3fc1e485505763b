"""What the tests of this directory look at: the files of the project, and the limits they keep."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent

MODULE_LINES = 500
TEST_LINES = 800
FUNCTION_LINES = 70
INTERFACE_METHODS = 10

#: Tighter limits: path → (lines, why).
TIGHTER = {"node/protocol/connection.py": (400, "a facade: dispatch and order of work, no algorithms")}

#: Looser limits: path or path::function → (limit, why, issue).
EXCEPTIONS: dict[str, tuple[int, str, int]] = {}


def files_of_project() -> list[Path]:
    """Committed files and new ones that are not ignored, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(Path(name) for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


def python_files(*below: str) -> list[Path]:
    """Python files below these directories, relative to the root."""
    return [path for path in files_of_project() if path.suffix == ".py" and path.parts[0] in below]


def size_violations(path: Path, text: str) -> Iterator[str]:
    """Each size limit that a module breaks, in words."""
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    limit = TEST_LINES if path.parts[0] == "tests" else MODULE_LINES
    limit = TIGHTER.get(str(path), (limit, ""))[0]
    limit = EXCEPTIONS.get(str(path), (limit, "", 0))[0]
    if lines > limit:
        yield f"{path}: {lines} lines, at most {limit}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            allowed = EXCEPTIONS.get(f"{path}::{node.name}", (FUNCTION_LINES, "", 0))[0]
            if length > allowed:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {allowed}"
        elif isinstance(node, ast.ClassDef) and _is_interface(node):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            if len(methods) > INTERFACE_METHODS:
                count = len(methods)
                yield f"{path}:{node.lineno}: {node.name} has {count} methods, at most {INTERFACE_METHODS}"


def _is_interface(node: ast.ClassDef) -> bool:
    # Not asyncio.Protocol: that is a class of the standard library which we fill in.
    bases = {ast.unparse(base).split("[")[0] for base in node.bases}
    return bool(bases & {"Protocol", "typing.Protocol", "ABC", "abc.ABC"})
