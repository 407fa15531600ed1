"""What an answer and its feedback teach: a test of the prompt, or a judgement of the retrieval.

Evidence is quoted from the documents as they are now, so that it can be found again after they were cut or
embedded anew. An answer that was judged wrong proves nothing by what it cites: a person says what would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.prompts.files import replace
from api.prompts.passages import shown
from rag.errors import InvalidQuery, StorageError
from rag.prompts.testing.suite import read_suite
from rag.sentences import split_sentences
from rag.words import folded

if TYPE_CHECKING:
    from indexes.catalogue import Catalogue
    from rag.trace import Feedback, Trace

SIMILAR = 0.8
"""The cosine to a right answer from which another one counts as saying the same."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """A sentence that holds evidence: ``document.text[start:end] == text``."""

    collection: str
    document_id: str
    start: int
    end: int
    text: str
    passage: int


def right(said: Sequence[Feedback]) -> bool | None:
    """Whether the answer was judged right, by who said it last; None where nobody did."""
    scores = [each.score for each in said if each.score is not None]
    return scores[-1] >= 0.5 if scores else None


def corrected(said: Sequence[Feedback]) -> str:
    """The last corrected answer, "" without one."""
    return next((each.answer for each in reversed(said) if each.answer), "")


def evidence(
    catalogue: Catalogue, trace: Trace, said: Sequence[Feedback], *, passages: Sequence[int] | None = None
) -> list[Quoted]:
    """The sentence of each passage that says most of what the answer (a corrected one, if there is one) says.

    ``passages`` are the numbers of those that hold the evidence; None: those that the answer cites. Raises
    InvalidQuery for numbers of none, for an answer judged wrong where none are named, and for passages whose
    text is no longer there.
    """
    _asked(trace)
    if passages is None:
        if right(said) is False:
            raise InvalidQuery(
                "the answer was judged wrong, so what it cites is no evidence: name the passages that are "
                "with --evidence 2 (rag traces show numbers them), or say --nothing"
            )
        passages = trace.citations
    chunks = shown(catalogue, trace)
    numbers = {chunk.passage for chunk in chunks}
    if unknown := [number for number in passages if number not in numbers]:
        there = ", ".join(map(str, sorted(numbers))) or "none"
        raise InvalidQuery(f"there is no passage {unknown[0]} in {trace.id}; its passages: {there}")
    words = _words(corrected(said) or trace.answer)
    found: list[Quoted] = []
    for number in dict.fromkeys(passages):
        there_now = [chunk for chunk in chunks if chunk.passage == number and chunk.text]
        best: tuple[float, Quoted] | None = None
        for chunk in there_now:
            for start, end in split_sentences(chunk.text):
                text = chunk.text[start:end]
                weight = (
                    len(words & _words(text)) - len(text) / 10_000
                )  # of two that say as much, the shorter
                if not text.startswith("#") and (best is None or weight > best[0]):
                    place = (chunk.collection, chunk.document_id, chunk.start + start, chunk.start + end)
                    best = weight, Quoted(*place, text, number)
        if best is None:
            raise InvalidQuery(f"passage {number} of {trace.id} is no longer there: its document has changed")
        found.append(best[1])
    return found


def as_test(trace: Trace, said: Sequence[Feedback], quoted: Sequence[Quoted]) -> dict[str, Any]:
    """A test in promptfoo's shape: the question, what has to be among the passages, and what has to be said.

    Without evidence the right answer is that there is none. Raises InvalidQuery for a trace whose question
    was not kept.
    """
    _asked(trace)
    asserted: list[dict[str, Any]] = [{"type": "context-contains", "value": each.text} for each in quoted]
    answer = corrected(said) or (trace.answer if right(said) and trace.found else "")
    if quoted:
        asserted += [{"type": "cites"}, {"type": "cites-only-retrieved"}]
        if answer and trace.model != "extractive":
            asserted.append({"type": "similar", "value": answer, "threshold": SIMILAR})
    elif answer and trace.found:
        asserted.append({"type": "similar", "value": answer, "threshold": SIMILAR})
    else:
        asserted.append({"type": "not-found"})
    comment = next((each.comment for each in reversed(said) if each.comment), "")
    options: dict[str, Any] = {}
    if len(trace.collections) == 1:
        options["collection"] = trace.collections[0]
    return {
        "description": f"from trace {trace.id}" + (f": {' '.join(comment.split())}" if comment else ""),
        "vars": {**trace.variables, "question": trace.question},
        **({"options": options} if options else {}),
        "assert": asserted,
    }


def as_judgement(trace: Trace, quoted: Sequence[Quoted]) -> dict[str, Any]:
    """A line for ``rag calibrate``: the question and the documents that answer it (null: none does), with the
    evidence quoted. Raises InvalidQuery for a trace without a question."""
    _asked(trace)
    documents = list(dict.fromkeys(each.document_id for each in quoted))
    return {
        "question": trace.question,
        "document": documents or None,
        "evidence": [
            {"doc_id": each.document_id, "start": each.start, "end": each.end, "text": each.text}
            for each in quoted
        ],
        "trace": trace.id,
    }


def append_test(path: Path, test: Mapping[str, Any]) -> None:
    """Write a test at the end of a file of tests, which is made if it is not there. What stands in it stays
    as it is, comments too. Raises PromptError for a file that is none, InvalidQuery where its end is not its
    list of tests, StorageError."""
    import yaml

    before = _read(path) if path.exists() else "tests:\n"
    known = list(read_suite(before, name=path.name).cases) if path.exists() else []
    lists = isinstance(yaml.safe_load(before), list)
    lines = before.rstrip().splitlines()
    last = next((line for line in reversed(lines) if line.lstrip().startswith("- ")), "")
    first = next((line for line in lines if line.lstrip().startswith("- ")), last)
    indent = " " * (len(first) - len(first.lstrip())) if known else "" if lists else "  "
    written = yaml.safe_dump([dict(test)], allow_unicode=True, sort_keys=False, width=100)
    added = "\n".join(f"{indent}{line}" if line else line for line in written.splitlines())
    after = f"{before.rstrip()}\n{added}\n" if before.strip() else f"tests:\n{added}\n"
    try:
        now = list(read_suite(after, name=path.name).cases)
        whole = len(now) == len(known) + 1 and [case.vars for case in now[:-1]] == [c.vars for c in known]
    except Exception:
        whole = False
    if not whole:
        raise InvalidQuery(
            f"{path}: the test cannot be put at its end: let `tests:` be the last key, one test an item"
        )
    _write(path, after)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record at the end of a JSONL file, which is made if it is not there. Raises StorageError."""
    before = _read(path) if path.exists() else ""
    start = before if not before or before.endswith("\n") else f"{before}\n"
    _write(path, f"{start}{json.dumps(record, ensure_ascii=False)}\n")


def _asked(trace: Trace) -> None:
    if trace.kept == "hashes":
        raise InvalidQuery(f'the question of {trace.id} was not kept ([traces] keep = "hashes")')


def _words(text: str) -> set[str]:
    return set(folded(text))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def _write(path: Path, text: str) -> None:
    replace(path.resolve(), text.encode())  # what is behind a link is written, and the link stays
