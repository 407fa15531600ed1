"""rag prompts"""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True, help="The prompt library: write, version, review, test and share prompts."
)
