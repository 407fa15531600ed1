"""rag eval gate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.common import DataOption, JsonOption, one_line, print_json
from api.cli.evaluate.compare import AlphaOption, ClusterOption, CompareMeasures, MarginOption
from api.cli.evaluate.run import HeldIn, QrelsOption, QueriesOption, SetArgument


def gate(
    judged_set: SetArgument,
    baseline: Annotated[str, typer.Option(metavar="RUN", help="What must not be lost: a run.")],
    system: Annotated[
        str, typer.Option(metavar="NAME[=KEY=VALUE,…]", help="What is to go in, as for rag eval run.")
    ] = "as-set",
    candidate: Annotated[
        str, typer.Option(metavar="RUN", help="A run that was made already, in place of --system.")
    ] = "",
    margin: MarginOption = 0.01,
    alpha: AlphaOption = 0.05,
    measure: CompareMeasures = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COST=RATIO",
            help="The most of a cost as a ratio to the baseline's: cpu_ms=1.2, ms, tokens, index_bytes. For "
            "times the baseline's system is run again beside the candidate.",
        ),
    ] = None,
    cluster: ClusterOption = "",
    queries: QueriesOption = "",
    qrels: QrelsOption = "",
    collection: HeldIn = "",
    junit: Annotated[Path | None, typer.Option(help="File for the result as JUnit XML.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a change pass unless it is worse than a baseline: for CI.

    Exit 0: not worse than the margin, in every measure. 100: worse in one. 3: too few questions to tell.
    The judgements are those of now, for both sides. The runs and the verdict are kept.
    """
    from api.cli.common import assignments, services
    from api.cli.progress import counted, shown
    from api.evaluation import gate as gates
    from api.evaluation.gating import Wanted, gated

    ratios = assignments(at_most, option="--at-most")
    limits = {name: gates.limit(name, text) for name, text in ratios.items()}
    with services(data) as wired, shown(quiet=as_json) as tell:
        compared, checks = gated(
            wired,
            Wanted(
                judged_set,
                baseline,
                system=system,
                candidate=candidate,
                queries=queries,
                qrels=qrels,
                collection=collection,
                measures=tuple(measure or ()),
                margin=margin,
                alpha=alpha,
                cluster=cluster,
                limits=limits,
            ),
            on_ingest=tell,
            on_query=counted(quiet=as_json),
        )
    if junit is not None:
        junit.write_text(gates.junit(compared.runs[0].set_name, checks), "utf-8")
    code = gates.exit_code(checks)
    if as_json:
        print_json({"exit": code, "checks": gates.as_json(checks), **compared.as_json()})
    else:
        for check in checks:
            typer.echo(f"{check.outcome:<11}  {one_line(check.message)}")
    raise typer.Exit(code)
