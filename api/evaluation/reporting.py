"""Reports of runs that are kept: with the judgements, titles and texts that are still at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from api.evaluation.comparing import MAIN, clusters
from api.evaluation.runs import documents_at_hand, find_run, judged_at_hand, measured_again
from rag.errors import EvaluationError
from rag.evaluate.report import Report, html, markdown, overview, report
from rag.evaluate.together import alike

if TYPE_CHECKING:
    from api.services import Services

Format: TypeAlias = Literal["html", "md", "png"]
SUFFIXES: Mapping[str, Format] = {
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".markdown": "md",
    ".png": "png",
}
"""What the end of a file's name asks for."""


def report_runs(
    services: Services,
    references: Sequence[str],
    *,
    baseline: str = "",
    measures: Sequence[str] = (),
    margin: float = 0.0,
    cluster: str = "",
    again: str = "",
) -> Report:
    """What there is to say of these runs; references as :func:`api.evaluation.runs.find_run` reads them.

    They are compared with the first one, or with ``baseline``, in ``measures`` (none: the main ones that all
    have). ``again`` is a set by whose judgements of now all are measured; ``cluster`` as in
    :func:`api.evaluation.comparing.compare_runs`. Raises NotFound, and EvaluationError as
    :func:`rag.evaluate.report.report`.
    """
    named = list(references)
    if baseline:
        named = [baseline, *(reference for reference in named if reference != baseline)]
    runs = [find_run(services, reference) for reference in named]
    if baseline:  # it may be meant by number here and by system there
        runs = [runs[0], *(run for run in runs[1:] if not run.id or run.id != runs[0].id)]
    if again:
        runs = measured_again(services, runs, again)
    alike(runs)
    shared = [measure for measure in MAIN if all(run.by_query.get(measure) for run in runs)]
    return report(
        runs,
        measures=tuple(measures) or shared,
        margin=margin,
        clusters=clusters(runs[0], cluster),
        judged=judged_at_hand(services, runs[0]),
        documents=documents_at_hand(services, runs[0]),
    )


def rendered(made: Report, format: Format) -> bytes:
    """The report as a file's bytes, text in UTF-8."""
    if format == "png":
        return overview(made)
    return (html(made) if format == "html" else markdown(made)).encode("utf-8")


def format_of(name: str, format: str = "") -> Format:
    """What to make: ``format``, else what the file's name ends with, Markdown without a name.

    Raises EvaluationError.

    >>> format_of("out/Report.HTML"), format_of(""), format_of("notes.txt", "md")
    ('html', 'md', 'md')
    """
    for known in SUFFIXES.values():
        if known == format:
            return known
    if format:
        raise EvaluationError(f"no format {format!r}; there are html, md and png")
    if not name:
        return "md"
    for suffix, known in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return known
    raise EvaluationError(f"{name}: end it with .html, .md or .png, or say --format")
