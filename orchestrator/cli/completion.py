"""Write what makes a shell complete verbs, options, topology files, and names of labs and nodes."""

from __future__ import annotations

import click

#: Click looks here for what a shell asks.
_VARIABLE = "_NARROWS_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Write the completion of SHELL on stdout, to be read at its start.

    \b
    bash: eval "$(narrows completion bash)"                                   in ~/.bashrc
    zsh:  eval "$(narrows completion zsh)"                                    in ~/.zshrc
    fish: narrows completion fish > ~/.config/fish/completions/narrows.fish
    """
    from click.shell_completion import get_completion_class

    main = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None, f"click completes no {shell}"
    # Not `source`, which starts a bash to look at its version: it may not be the one that reads this.
    completion = kind(main, {}, "narrows", _VARIABLE)
    text = completion.source_template % completion.source_vars()
    if shell == "bash":
        # Endpoints have colons in them, and bash would complete what is behind them as a word of its own.
        text = f"{text}\nCOMP_WORDBREAKS=${{COMP_WORDBREAKS//:}}\n"
    click.echo(text)
