"""rag index, as a user meets it: what is told, what is done, and the exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app

pytestmark = pytest.mark.model

SUBJECTS = ["harbour", "orchard", "library", "kitchen", "railway", "theatre"]


@pytest.fixture(autouse=True)
def knowledge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve documents in a folder of their own, ingested with the quickest model."""
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "docs"
    folder.mkdir()
    for number, subject in enumerate(SUBJECTS * 2):
        text = f"# The {subject} {number}\n\nThe {subject} opens at {number + 6} in the morning. Nobody pays."
        (folder / f"{subject}-{number}.md").write_text(text, "utf-8")
    rag("ingest", "docs")
    return folder


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def told(*arguments: object, code: int = 0) -> object:
    return json.loads(rag(*arguments, "--json", code=code).stdout)


def found() -> list:
    return [told("search", f"When does the {subject} open?", "-k", 5) for subject in SUBJECTS[:2]]


def test_status_says_what_answers_what_is_wanted_and_why(knowledge):
    lines = rag("index", "status").stdout.splitlines()
    assert lines[0] == "default: 12 chunks of 384 dimensions (all-MiniLM-L6-v2)"
    assert lines[1].startswith("  answers  default/000001: sq8, 12 chunks, ")
    assert lines[2].startswith("  wanted   sq8: exact: looking at all 12 chunks takes about 0.0 ms")
    assert len(lines) == 3
    (state,) = told("index", "status")
    assert (state["answers"], state["newer"], state["dead"], state["due"]) == ("default/000001", 0, 0, "")
    rag("documents", "remove", "harbour-0.md")
    assert "  due      " in rag("index", "status").stdout
    assert "1 deleted one left out of it" in rag("index", "status").stdout
    assert rag("index", "status", "-c", "nope", code=2).stderr.startswith("Error: no collection 'nope'")


def test_another_kind_is_built_told_and_gone_back_from(knowledge):
    before = found()
    result = rag("index", "build", "--kind", "rabitq")
    assert result.stdout == "default/000002 answers: rabitq, 12 chunks, recall@10 1.000\n"
    assert "rag.toml asks for another one" in result.stderr
    assert "wanted" in (status := rag("index", "status").stdout)
    assert "of kind rabitq, and sq8 is wanted" in status
    assert found() == before
    listed = told("index", "list")
    assert [(one["folder"], one["answers"]) for one in listed] == [
        ("default/000002", True),
        ("default/000001", False),
    ]
    assert "kept to go back to" in rag("index", "list").stdout
    assert told("index", "rollback")["answers"]["folder"] == "default/000001"
    assert found() == before
    assert "no generation to go back to" in rag("index", "rollback", code=2).stderr
    rag("index", "remove", "1")
    assert "the catalogue alone" in rag("index", "status").stdout
    assert found() == before
    assert rag("index", "list").stdout == "No index yet: rag index build makes one.\n"
    assert "there are: none" in rag("index", "remove", "1", code=2).stderr
    Path("rag.toml").write_text('[index]\nkind = "hnsw"\n')
    assert rag("index", "build").stderr == ""
    assert found() == before


def test_impossible_kinds_and_backends_are_refused_with_the_possible_ones(knowledge):
    assert "'rabitq'" in rag("index", "build", "--kind", "ivf", code=2).stderr
    assert "'chroma'" in rag("index", "build", "--backend", "qdrant", code=2).stderr
    both = rag("index", "build", "--backend", "chroma", "--kind", "hnsw", code=2)
    assert "leave one of them out" in both.stderr


def test_build_moves_the_collection_to_another_cut_from_what_is_stored(knowledge, monkeypatch):
    for path in knowledge.iterdir():
        path.unlink()  # no source is needed
    monkeypatch.setenv("RAG_CHUNKER__TARGET_TOKENS", "40")
    planned = rag("plan").stdout
    assert "12 documents would be cut and embedded anew" in planned
    made = rag("index", "build").stdout
    assert made.splitlines()[0] == "Documents: 12 cut anew"
    assert "default/000002 answers: sq8" in made
    assert "0 documents" not in rag("plan").stdout
    assert told("index", "status")[0]["due"] == ""
    assert len(found()[0]["hits"]) == 5
    rag("doctor")


def test_audit_measures_and_advises(knowledge, tmp_path):
    result = rag("index", "audit")
    assert "measured with 12 sentences of its own chunks" in result.stdout
    assert "sq8 is exact: it finds what a look at every row finds." in result.stdout
    (tmp_path / "asked.txt").write_text("When does the harbour open?\n\nWho pays?\n")
    rag("index", "build", "--kind", "rabitq")
    report = told("index", "audit", "--questions", "asked.txt")
    assert report["questions"] == 2
    assert [one["effort"] for one in report["tried"]] == [0.25, 0.5, 1, 2, 4, 8]
    assert report["advice"] == 0.25  # so few rows are read whole
    assert "effort = 0.25 is the least tried" in rag("index", "audit").stdout
    assert "there are no traces in" in rag("index", "audit", "--logged", code=2).stderr
    for _ in range(2):
        rag("ask", "When does the harbour open?")
    assert told("index", "audit", "--logged")["questions"] == 1
    assert "two sources" in rag("index", "audit", "--logged", "--questions", "asked.txt", code=2).stderr
    (tmp_path / "empty.txt").write_text("\n")
    assert "holds no question" in rag("index", "audit", "--questions", "empty.txt", code=2).stderr
    assert "cannot be read" in rag("index", "audit", "--questions", "none.txt", code=2).stderr


def test_what_there_is_not_is_told(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rag("index", "status").stdout == "No collection yet.\n"
    assert rag("index", "list").stdout == "No index yet: rag index build makes one.\n"
    for command in ("build", "rollback", "audit"):
        assert "rag ingest PATH" in rag("index", command, code=2).stderr
