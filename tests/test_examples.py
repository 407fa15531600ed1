"""The sample knowledge base: its questions have the answers that they claim."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from ingest.parse import parse

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
KNOWLEDGE = EXAMPLES / "knowledge"
FILES = sorted(path for path in KNOWLEDGE.rglob("*") if path.is_file())
QUESTIONS = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()]
ANSWERABLE = [question for question in QUESTIONS if question["document"]]
IN_PLAIN_TEXT = [question for question in ANSWERABLE if not question["document"].endswith((".docx", ".pdf"))]


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@cache
def documents(name: str) -> dict[str, str]:
    """The texts of the documents of one file, by id."""
    return {found.id: one_line(found.text) for found in parse(name, (KNOWLEDGE / name).read_bytes())}


def language_of(name: str) -> set[str]:
    return {str(found.metadata["language"]) for found in parse(name, (KNOWLEDGE / name).read_bytes())}


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["id"])
def test_evidence_stands_once_in_the_document_it_names(question):
    texts = documents(question["document"].partition("#")[0])
    assert texts[question["document"]].count(one_line(question["quote"])) == 1


@pytest.mark.parametrize("question", IN_PLAIN_TEXT, ids=lambda question: question["id"])
def test_evidence_is_verbatim_in_the_source_file(question):
    path = KNOWLEDGE / question["document"].partition("#")[0]
    assert question["quote"] in path.read_text("utf-8")


def test_questions_are_told_apart_and_complete():
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len({question["question"] for question in QUESTIONS}) == len(QUESTIONS)
    for question in QUESTIONS:
        assert set(question) == {"id", "question", "language", "document", "quote"}
        assert (question["document"] is None) == (question["quote"] is None)
        assert question["language"] in ("es", "en")


def test_some_questions_cross_languages_and_some_have_no_answer():
    crossing = {
        question["language"]
        for question in ANSWERABLE
        if question["document"].startswith(("es/", "en/"))
        and not question["document"].startswith(question["language"])
    }
    assert crossing == {"es", "en"}
    assert {question["language"] for question in QUESTIONS if not question["document"]} == {"es", "en"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_sample_file_is_read_and_its_language_told(path):
    name = path.relative_to(KNOWLEDGE).as_posix()
    expected = {"es": {"es"}, "en": {"en"}}.get(name.split("/")[0], {"es", "en"})
    assert language_of(name) == expected


def test_page_furniture_of_the_web_pages_is_not_knowledge():
    pages = {"es/accesibilidad.html": "cookies", "en/bike-specifications.html": "newsletter"}
    for name, furniture in pages.items():
        assert furniture in (KNOWLEDGE / name).read_text("utf-8").lower()
        assert furniture not in documents(name)[name].lower()


def test_sample_stays_small_enough_to_ship():
    assert 60_000 < sum(path.stat().st_size for path in FILES) < 120_000
