"""rag eval: how good retrieval and prompts are, and whether a change helped."""

from __future__ import annotations

import typer

from api.cli.evaluate import compare, gate, prompts, report, run, runs, sets, synth

app = typer.Typer(no_args_is_help=True, help="How good it is, by people's judgements, and what helped.")


@app.callback()
def group() -> None:
    """How good it is, by people's judgements, and what helped."""


app.command("run")(run.run)
app.command("runs")(runs.runs)
app.command("remove")(runs.remove)
app.command("compare")(compare.compare)
app.command("gate")(gate.gate)
app.command("report")(report.report)
app.command("import")(sets.import_)
app.command("export")(sets.export)
app.command("sets")(sets.sets)
app.command("status")(sets.status)
app.command("synth")(synth.synth)
app.command("prompts")(prompts.prompts)
