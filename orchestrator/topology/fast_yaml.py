"""Large YAML files, composed by libyaml where PyYAML has it: 10,000 nodes written by hand are a megabyte.

What it refuses, or what is deeper than any topology, is left to the slow reader, which says what is wrong.
"""

from __future__ import annotations

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node
from yaml.resolver import BaseResolver

#: Deeper files are not for us to judge.
_MAX_DEPTH = 32


def compose_fast(text: str) -> Node | None:
    """Return the node of a document; None: there is no libyaml, or it is for the slow reader to say."""
    if not yaml.__with_libyaml__:
        return None
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # it is, by a star import of C code

    class Loader(CParser, BaseResolver):
        def __init__(self) -> None:
            CParser.__init__(self, text)
            BaseResolver.__init__(self)

    try:
        node = Loader().get_single_node()
    except (yaml.YAMLError, RecursionError):
        return None
    assert node is None or isinstance(node, Node)
    return node if node is not None and not _is_deep(node) else None


def _is_deep(root: Node) -> bool:
    """Return whether nodes are nested deeper than topologies may be; aliases may make them endless."""
    deepest: dict[int, int] = {}
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            return True
        if deepest.get(id(node), 0) >= depth or not isinstance(node, CollectionNode):
            continue
        deepest[id(node)] = depth
        if isinstance(node, MappingNode):
            waiting.extend((part, depth + 1) for pair in node.value for part in pair)
        else:
            waiting.extend((part, depth + 1) for part in node.value)
    return False
