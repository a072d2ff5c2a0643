"""The manual: docs/cli.md, made from the commands, settings and exit codes themselves.

`python -m klinehub.app.manual > docs/cli.md` makes it anew; a test keeps the two equal.
"""

import sys
from collections.abc import Iterator

import click
import msgspec

from klinehub.app.cli import cli
from klinehub.app.config import PREFIX, defaults
from klinehub.app.exits import exit_table

_HEAD = """# The command line

This page is made from the program: `python -m klinehub.app.manual > docs/cli.md`.
"""


def manual() -> str:
    """Give the whole page as Markdown."""
    parts = [_HEAD, "## Commands\n"]
    above = cli.make_context("klinehub", [], resilient_parsing=True)
    parts += _commands(cli, above)
    parts += ["## Settings\n", settings_table(), "## Exit codes\n", exit_table()]
    return "\n".join(parts)


def _commands(group: click.Group, above: click.Context) -> Iterator[str]:
    """Give a section for each command of a group, each followed by its own commands."""
    for name, command in group.commands.items():
        context = click.Context(command, parent=above, info_name=name, terminal_width=100)
        yield f"### {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            yield from _commands(command, context)


def settings_table() -> str:
    """Give every key of `klinehub.toml`, its variable and its default."""
    lines = [
        "Settings come from `klinehub.toml` in the current folder (or `--config FILE`),",
        "then the environment, then options, the later over the earlier.",
        "Lists in the environment are comma-separated.\n",
        "| key | variable | default |",
        "|---|---|---|",
    ]
    for dotted, default in defaults().items():
        variable = f"{PREFIX}{dotted.replace('.', '_').upper()}"
        lines.append(f"| `{dotted}` | `{variable}` | `{msgspec.json.encode(default).decode()}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(manual())
