"""Judged sets from whatever they were written as: a BEIR folder, TREC topics and qrels, JSONL."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rag.errors import EvaluationError
from rag.evaluate.formats.beir import SHAPE, read_beir, write_beir
from rag.evaluate.formats.lines import Tell, quiet, write_text
from rag.evaluate.formats.qrels import write_qrels
from rag.evaluate.formats.questions import FORM, read_questions, write_questions
from rag.evaluate.formats.trec import read_run, read_trec, write_run, write_topics
from rag.evaluate.judged import JudgedSet
from rag.evaluate.run import Evaluation

__all__ = [
    "read_evaluation",
    "read_run",
    "read_set",
    "write_beir",
    "write_evaluation",
    "write_questions",
    "write_run",
    "write_trec",
]


def read_set(
    path: Path, *, queries: str = "", qrels: str = "", split: str = "test", tell: Tell = quiet
) -> JudgedSet:
    """The judged set at ``path``, which tells its shape.

    A folder is BEIR's: ``queries`` names another file of questions in it, ``split`` another file of qrels,
    ``qrels`` one that lies elsewhere. A file with ``qrels`` is TREC topics (or ``queries`` are, and the file
    is left out). A file alone is questions in JSONL. A file that is named is looked for as written, then
    beside ``path``. Raises EvaluationError naming the file and line, and what mends it; ``tell`` hears of
    judgements that stand twice.
    """
    judged = _read(path, queries=queries, qrels=qrels, split=split, tell=tell)
    return replace(judged, source=str(path.resolve()))


def _read(path: Path, *, queries: str, qrels: str, split: str, tell: Tell) -> JudgedSet:
    if path.is_dir():
        return read_beir(
            path,
            split=split,
            queries=_in(path, queries) if queries else "queries.jsonl",
            qrels=_beside(path, qrels) if qrels else None,
            tell=tell,
        )
    if not path.exists():
        raise EvaluationError(
            f"{path} is not there; a judged set is a folder (BEIR), topics with --qrels, or JSONL"
        )
    if qrels:
        return read_trec(
            _beside(path.parent, queries) if queries else path, _beside(path.parent, qrels), tell=tell
        )
    if queries:
        raise EvaluationError(f"{path}: {queries} has questions, and what judges them? name it with --qrels")
    if not _holds_objects(path):
        raise EvaluationError(f"{path}: topics need --qrels FILE; questions in JSONL are {FORM}; {SHAPE}")
    return read_questions(path, tell=tell)


def write_trec(judged: JudgedSet, folder: Path) -> None:
    """``topics.tsv`` and ``qrels.txt`` of a set. Raises EvaluationError where one is there, and for an id
    with a blank in it."""
    topics, qrels = folder / "topics.tsv", folder / "qrels.txt"
    for path in (topics, qrels):
        if path.exists():
            raise EvaluationError(f"{path} is there already: choose another folder, or remove it")
    write_topics(judged.questions, topics)
    write_qrels(judged.qrels, qrels, trec=True)


def read_evaluation(path: Path) -> Evaluation:
    """A run that was exported as JSON. Raises EvaluationError."""
    try:
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: not JSON as `rag eval export RUN --format json` writes it") from error
    try:
        return Evaluation.from_json(data)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """A run, whole, as JSON. Raises EvaluationError."""
    write_text(path, json.dumps(evaluation.as_json(), ensure_ascii=False, indent=1) + "\n")


def _holds_objects(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error


def _beside(folder: Path, name: str) -> Path:
    return Path(name) if Path(name).exists() else folder / name


def _in(folder: Path, name: str) -> str:
    """A file of questions as the folder sees it; one that is named from where the person is, absolute."""
    return name if (folder / name).exists() or not Path(name).exists() else str(Path(name).absolute())
