"""rag prompts"""

from __future__ import annotations

import typer

from api.cli.prompts import (
    exchange,
    labels,
    library,
    lint,
    lock,
    render,
    review,
    show,
    similar,
    stats,
    testing,
)

app = typer.Typer(
    no_args_is_help=True, help="The prompt library: write, version, review, test and share prompts."
)
app.command("push")(library.push)
app.command("pull")(library.pull)
app.command("list")(library.list_prompts)
app.command("show")(show.show)
app.command("render")(render.render)
app.command("diff")(library.diff)
app.command("log")(library.log)
app.command("remove")(library.remove)
app.command("label")(labels.label)
app.command("unlabel")(labels.unlabel)
app.command("rollback")(labels.rollback)
app.command("test")(testing.run_tests)
app.command("lint")(lint.lint)
app.command("propose")(review.propose)
app.command("comment")(review.comment)
app.command("approve")(review.approve)
app.command("reject")(review.reject)
app.command("reviews")(review.reviews)
app.command("protect")(review.protect)
app.command("unprotect")(review.unprotect)
app.command("import")(exchange.import_)
app.command("export")(exchange.export)
app.command("pack")(exchange.pack)
app.command("unpack")(exchange.unpack)
app.command("search")(similar.search)
app.command("clusters")(similar.clusters)
app.command("stats")(stats.stats)
app.command("lock")(lock.lock)
app.command("verify")(lock.verify)
