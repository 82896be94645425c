"""Write the command line's reference from the commands themselves when the site is built."""

from __future__ import annotations

import re
from typing import Any

import typer
import typer.cli
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from dspy_mux.cli.main import app

#: Typer's names of types, and what `--help` calls what an option takes.
_TYPE = re.compile(r" ?<(int|float|path|str|bool|text)( range)?>", re.IGNORECASE)
_TAKES = {"int": " N", "float": " X", "path": " PATH", "bool": ""}


def _taken(found: re.Match[str]) -> str:
    return _TAKES.get(found[1].lower(), " TEXT")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="dspy-mux")
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="dspy-mux")
    page = "# Command line\n\n" + _TYPE.sub(_taken, text.partition("\n")[2])
    files.append(File.generated(config, "commands.md", content=page))
    return files
