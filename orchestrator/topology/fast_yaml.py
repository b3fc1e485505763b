"""Large YAML files, parsed by libyaml where PyYAML has it: 10,000 nodes written by hand are a megabyte.

libyaml's own composer is C that calls itself for each level: a file of nothing but brackets overflows its
stack and kills the process. Ours over its events is as fast, for most of the time goes into making nodes.
What either refuses is left to the slow reader, which says what is wrong.
"""

from __future__ import annotations

import yaml
from yaml.nodes import Node
from yaml.resolver import BaseResolver

from orchestrator.topology.bounded_yaml import BoundedComposer


def compose_fast(text: str) -> Node | None:
    """Return the node of a document; None: there is no libyaml, or it is for the slow reader to say."""
    if not yaml.__with_libyaml__:
        return None
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # it is, by a star import of C code

    class Loader(BoundedComposer, CParser, BaseResolver):
        def __init__(self) -> None:
            CParser.__init__(self, text)
            BoundedComposer.__init__(self)
            BaseResolver.__init__(self)

    try:
        node = Loader().get_single_node()
    except yaml.YAMLError:
        return None
    assert node is None or isinstance(node, Node)
    return node
