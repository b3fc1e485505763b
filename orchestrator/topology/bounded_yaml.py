"""Composes the nodes of YAML, not deeper than any topology is."""

from __future__ import annotations

import yaml
from yaml.composer import Composer
from yaml.nodes import Node

#: The language itself is seven levels deep.
MAX_DEPTH = 32


class TooDeepError(yaml.MarkedYAMLError):
    """Something is nested deeper than the bound."""


class BoundedComposer(Composer):
    """PyYAML's composer of nodes, over any parser's events."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose one node, not deeper than the bound."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise TooDeepError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1
