"""Draw a topology: as text, for Mermaid, for Graphviz, or as JSON."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import set_option, topology_options


@click.command("graph")
@topology_options
@set_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot", "json"]),
    default="text",
    show_default=True,
    help="What to write.",
)
@click.option("--every", is_flag=True, help="Draw every node, however many.")
def command(file: str, parameters: dict[str, str], form: str, every: bool) -> None:
    """Draw the topology FILE on stdout.

    Of more than 20 nodes, hosts of a name and a number that hang alike on the same router are drawn as one.

    mermaid is what GitHub and many editors draw; dot is for `dot -Tsvg`; json has nodes and links.
    """
    import json

    from orchestrator.topology import graph
    from orchestrator.topology.folding import MANY_NODES, fold
    from orchestrator.topology.load import load

    topology = load(file, parameters)
    if form == "json":
        drawn = {
            "name": topology.name,
            "nodes": [{"name": node.name, "kind": node.kind.value} for node in topology.nodes],
            "links": [
                {
                    "a": str(link.a),
                    "b": str(link.b),
                    "forward": link.forward.to_mapping(),
                    "reverse": link.reverse.to_mapping(),
                }
                for link in topology.links
            ],
        }
        click.echo(json.dumps(drawn))
        return
    if not every and len(topology.nodes) > MANY_NODES:
        topology = fold(topology)
    click.echo(graph.RENDERERS[form](topology), nl=False)
