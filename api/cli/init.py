"""rag init"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import one_line


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to write rag.toml into.")] = Path(),
    model: Annotated[
        str | None, typer.Option("--model", help="Embedding model: a bundled one, a hub name or a folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a rag.toml that is there.")] = False,
) -> None:
    """Write a commented rag.toml, with the embedding model you choose. Without one, the defaults serve."""
    from api.settings import default_toml
    from rag.embed import BUNDLED, DEFAULT_MODEL
    from rag.errors import InvalidSetting, NotFound

    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder; make it first: mkdir -p {folder}")
    path = folder / "rag.toml"
    if path.exists() and not force:
        raise InvalidSetting(f"{path} is there already; --force overwrites it")
    chosen = model or DEFAULT_MODEL
    path.write_text(default_toml(model=chosen), encoding="utf-8")
    typer.echo(one_line(f"Wrote {path}. Change what you need; a line that you delete has its default."))
    typer.echo(
        one_line(f"The embedding model is {chosen}. Installed, no download ([embedder] model, --model):")
    )
    for name, bundled in BUNDLED.items():
        typer.echo(f"  {name:21s}  {bundled.good_for}")
