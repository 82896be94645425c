"""Write the command line's reference from the commands themselves when the site is built."""

from __future__ import annotations

from typing import Any

import typer
import typer.cli
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from dspy_mux.cli.main import app


def on_files(files: Files, config: MkDocsConfig) -> Files:
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="dspy-mux")
    text = typer.cli.get_docs_for_click(obj=command, ctx=context, name="dspy-mux")
    page = "# Command line\n\n" + text.partition("\n")[2]
    files.append(File.generated(config, "commands.md", content=page))
    return files
