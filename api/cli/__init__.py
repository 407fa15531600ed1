"""The command line. One file per command: it parses, calls, prints.

Exit codes: 0 all well, 1 something failed, 2 the request itself was wrong. Heavy libraries are
imported inside the commands, so that ``rag --help`` answers at once.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli import (
    ask,
    backup,
    calibrate,
    collections,
    doctor,
    documents,
    evaluate,
    feedback,
    index,
    ingest,
    init,
    judge,
    plan,
    prompts,
    replay,
    search,
    serve,
    status,
    traces,
    whynot,
)
from api.cli.common import fail


class _Group(TyperGroup):
    """Turns promptwell's own errors, and the system's refusals, into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from rag.errors import RagError, StorageError

        try:
            return super().invoke(ctx)
        except RagError as error:
            fail(error)
        except OSError as error:
            if error.filename is None:  # not about a file: a closed pipe, say, which typer knows
                raise
            fail(StorageError(f"{os.fsdecode(error.filename)}: {error.strerror}"))


app = typer.Typer(
    name="rag",
    cls=_Group,
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init")(init.init)
app.command("ingest")(ingest.ingest)
app.command("plan")(plan.plan)
app.command("search")(search.search)
app.command("why-not")(whynot.why_not)
app.command("ask")(ask.ask)
app.command("feedback")(feedback.feedback)
app.command("replay")(replay.replay)
app.command("diff")(replay.diff)
app.command("calibrate")(calibrate.calibrate)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(traces.app, name="traces")
app.add_typer(documents.app, name="documents")
app.add_typer(collections.app, name="collections")
app.add_typer(evaluate.app, name="eval")
app.command("judge")(judge.judge)
app.add_typer(index.app, name="index")
app.add_typer(prompts.app, name="prompts")
app.command("serve")(serve.serve)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Keep knowledge bases, search them, and answer from them with cited context."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"promptwell {installed('promptwell')}")
        raise typer.Exit


def main() -> None:
    """The console script ``rag``."""
    app()
