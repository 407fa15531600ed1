"""rag init"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import one_line


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write rag.toml into.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a rag.toml that is there.")] = False,
) -> None:
    """Write a commented rag.toml. Without one, the defaults serve."""
    from api.settings import default_toml
    from rag.errors import InvalidSetting, NotFound

    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder; make it first: mkdir -p {folder}")
    path = folder / "rag.toml"
    if path.exists() and not force:
        raise InvalidSetting(f"{path} is there already; --force overwrites it")
    path.write_text(default_toml(), encoding="utf-8")
    typer.echo(one_line(f"Wrote {path}. Every line is a default: change what you need, delete the rest."))
