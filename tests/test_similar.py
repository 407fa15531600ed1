"""Prompts looked for by what they are for, grouped by likeness, and given categories."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.prompts.similar import Shelf
from api.services import connect
from api.settings import load
from indexes.lexical import LexicalIndex
from indexes.question import ask
from indexes.shelf import TermShelf
from indexes.terms import text_terms
from rag.prompts.similar import Group, groups, placed, suggestions, windows
from rag.testing import WordTokenizer

# --- groups and categories -------------------------------------------------------------------------


def rows(*points: tuple[float, float, float]) -> np.ndarray:
    found = np.array(points, np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_of_a_group_every_two_are_alike_so_that_a_chain_is_not_one_group():
    chain = rows(*((np.cos(a), np.sin(a), 0.0) for a in np.linspace(0, 1.2, 7)))
    found = groups(chain, twins={}, at=0.9)
    assert len(found) > 1
    for group in found:
        assert all(chain[a] @ chain[b] >= 0.9 - 1e-6 for a in group.members for b in group.members)
    assert sorted(place for group in found for place in group.members) == sorted(
        {place for group in found for place in group.members}
    )


def test_words_make_a_group_where_meaning_does_not():
    apart = rows((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert groups(apart, twins={}) == []
    assert groups(apart, twins={(0, 2): 0.93}) == [Group((0, 2), 0.93)]


def test_the_largest_group_comes_first_and_its_most_typical_member_too():
    some = rows((1, 0, 0), (0, 1, 0), (1, 0.1, 0), (1, -0.1, 0), (0, 1, 0.1))
    assert [group.members for group in groups(some, twins={})] == [(0, 2, 3), (1, 4)]


def test_thousands_of_the_same_are_one_group():
    many = np.tile(rows((1, 0, 0)), (1500, 1))
    (group,) = groups(many, twins={})
    assert len(group.members) == 1500


def test_a_category_is_suggested_only_where_those_alike_agree():
    points = rows((1, 0, 0), (1, 0.1, 0), (0, 1, 0), (1, 0.05, 0), (1, 1.2, 0), (0, 0, 1))
    told = suggestions(points, ["a", "a", "b", "", "", ""])
    assert [one.category for one in told] == ["a", "", ""]
    torn = suggestions(rows((1, 0, 0), (0, 1, 0), (1, 1, 0)), ["a", "b", ""])
    assert torn[0].category == ""
    assert suggestions(points, [""] * 6)[0].like == ()


def test_prompts_are_seen_from_the_centre():
    near = [rows((1, 0.1, 0)), rows((1, -0.1, 0))]
    (a, b) = placed(near, centre=rows((1, 0, 0))[0])
    assert a @ b < -0.9
    assert placed([], centre=a).shape == (0, 3)


def test_windows_hold_the_text_up_to_a_bound():
    text = " ".join(f"word{n}" for n in range(100))
    assert "".join(windows(text, WordTokenizer(), room=30)) == text
    assert len(windows(text, WordTokenizer(), room=7)) == 4
    assert windows("", WordTokenizer(), room=7) == ("",)


def test_words_score_as_the_lexical_index_scores_them():
    texts = [
        "The tiger sleeps in the shade.",
        "Tigers eat, and tigers sleep. A tiger eats alone.",
        "El tigre duerme",
        "Nothing of the kind",
    ]
    languages = ["en", "en", "es", "en"]
    index = LexicalIndex.in_memory(
        [(n, "", text, language) for n, (text, language) in enumerate(zip(texts, languages, strict=True))]
    )
    terms = [text_terms(text, language) for text, language in zip(texts, languages, strict=True)]
    shelf = TermShelf(terms, languages=languages)
    for asked in ("sleeping tigers", "tigre", "tigres sleping"):
        question, other = ask(asked, [shelf]), ask(asked, [index])
        assert question == other
        keys, scores = index.search(other, k=4)
        expected = dict(zip(keys.tolist(), scores.tolist(), strict=True))
        for place, score in enumerate(shelf.scores(question).tolist()):
            # tantivy keeps a text's length in one byte
            assert score == pytest.approx(expected.get(place, 0.0), rel=0.05)


MODEL = {"RAG_EMBEDDER__MODEL": "all-MiniLM-L6-v2", "RAG_EMBEDDER__PRECISION": "float32"}

# --- through the product ---------------------------------------------------------------------------

PROMPT = """---
description: {description}
{metadata}inputs: [{{name: question}}]
---
system:
{text}
user:
{{{{ question }}}}
"""


def write(folder: Path, name: str, description: str, text: str, *, metadata: str = "") -> None:
    path = folder / f"{name}.prompty"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PROMPT.format(description=description, text=text, metadata=metadata), "utf-8")


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the shipped prompts are embedded already."""
    folder = tmp_path_factory.mktemp("remembered")
    with connect(load(start=folder, env=MODEL, overrides={})) as services:
        Shelf(services).clusters()
    return folder / ".rag"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: Path) -> Path:
    shutil.copytree(remembered, tmp_path / ".rag")
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    for name, value in MODEL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "prompts"
    rule = "You write a haiku, a poem of three lines, about the weather that the user names. No title."
    write(folder, "fun/haiku", "Writes a haiku about the weather.", rule)
    write(
        folder, "fun/haiku-2", "Writes a haiku on the weather.", rule.replace("No title", "Without a title")
    )
    write(
        folder, "sql", "Turns a question into a SQL query.", "Write one SQL query that answers the question."
    )
    return tmp_path


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.model
def test_prompts_of_the_folder_the_library_and_the_shipped_ones_are_found_by_what_they_do(home: Path):
    found = json.loads(rag("prompts", "search", "poem about rain and sun", "--json").stdout)
    assert {one["prompt"] for one in found[:2]} == {"fun/haiku", "fun/haiku-2"}
    assert found[0]["from"] == "file"
    found = json.loads(rag("prompts", "search", "answer an angry customer", "--json", "-k", 2).stdout)
    assert "support-reply" in [one["prompt"] for one in found]
    assert len(found) == 2
    rag("prompts", "push", "prompts")
    for path in (home / "prompts").rglob("*.prompty"):
        path.unlink()
    (first, *_) = json.loads(rag("prompts", "search", "database query", "--json").stdout)
    assert (first["prompt"], first["from"]) == ("sql@1", "library")
    rag("prompts", "label", "sql", 1, "production")
    (first, *_) = json.loads(rag("prompts", "search", "database query", "--json").stdout)
    assert first["prompt"] == "sql"
    text = rag("prompts", "search", "database query").stdout.splitlines()
    assert text[0].split() == ["prompt", "from", "score", "category", "description"]
    assert text[1].startswith("sql ")
    assert "say what the prompt is for" in rag("prompts", "search", " ", code=2).stderr
    assert "k = 0" in rag("prompts", "search", "x", "-k", 0, code=2).stderr


@pytest.mark.model
def test_near_duplicates_are_grouped_and_categories_suggested(home: Path):
    answer = (Path(__file__).parent.parent / "rag/prompts/shipped/answer.prompty").read_text("utf-8")
    copy = "\n".join(line for line in answer.split("\n") if "category:" not in line)
    (home / "prompts" / "house.prompty").write_text(copy.replace("Be brief", "Be short"), "utf-8")
    told = json.loads(rag("prompts", "clusters", "--json").stdout)
    made = [{one["prompt"] for one in group["prompts"]} for group in told["clusters"]]
    assert {"fun/haiku", "fun/haiku-2"} in made
    assert {"answer", "house"} in made
    assert len(made) == 2
    advice = {one["prompt"]: one["suggested"] for one in told["categories"]}
    assert advice["house"] == "question answering"
    assert advice["fun/haiku"] == ""
    text = rag("prompts", "clusters").stdout
    assert "2 prompts, every two alike by 0.9" in text
    assert "no suggestion" in text
    assert "alike by 1 or more" in rag("prompts", "clusters", "--at", 1).stdout
    assert "a likeness of 2" in rag("prompts", "clusters", "--at", 2, code=2).stderr


@pytest.mark.model
def test_a_file_that_cannot_be_read_is_told_and_its_mending_is_seen(home: Path):
    (home / "prompts" / "odd.prompty").write_text("---\nname: odd\n---\nuser:\n{% include 'part.md' %}")
    result = rag("prompts", "search", "haiku")
    assert result.stderr.startswith("left out: odd: ")
    (home / "prompts" / "part.md").write_text("A sonnet about love.")
    assert rag("prompts", "search", "haiku").stderr == ""


@pytest.mark.model
def test_what_is_remembered_of_prompts_follows_their_content(home: Path):
    with connect(load(start=home, env=MODEL, overrides={})) as services:
        first = Shelf(services).search("poem")
        assert Shelf(services).search("poem") == first
        write(home / "prompts", "fun/haiku", "Sums up a contract.", "List what the parties owe each other.")
        changed = Shelf(services).search("what do the parties of a contract owe each other?")
        assert changed[0].card.name == "fun/haiku"
        assert changed[0].card.facts.description == "Sums up a contract."
