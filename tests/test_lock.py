"""The lock of prompts: what decides, what only informs, and that it is the same wherever a project lies."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from indexes.catalogue import Catalogue
from indexes.contents import contents
from rag.errors import PromptError
from rag.prompts.lock import Lock, LockedCollection, LockedPrompt, changes
from rag.protocols import Space
from rag.sketch import Difference, Sketch, name_hash
from rag.testing import HashEmbedder, put_texts

# --- what differs between two sets ------------------------------------------------------------------


def documents(count: int) -> list[tuple[str, bytes]]:
    return [(f"docs/{number}.md", f"text {number}".encode()) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 60, 3000])
def test_a_sketch_tells_what_was_changed_added_and_removed_whatever_the_size(count: int):
    before = documents(count)
    after = [("docs/new.md", b"new"), *before[1:-1], *((name, text + b"!") for name, text in before[-1:])]
    found = Sketch.of(after).since(Sketch.of(before))
    if count < 2:
        after = after if count else after[:1]
    changed = {name_hash(name) for name, _ in before[-1:]}
    removed = {name_hash(before[0][0])} - changed if count else set()
    assert found == Difference(frozenset(changed), frozenset({name_hash("docs/new.md")}), frozenset(removed))


def test_the_order_of_a_set_makes_no_difference_and_its_lines_are_read_again():
    some = documents(50)
    sketch = Sketch.of(some)
    assert sketch.lines() == Sketch.of(some[::-1]).lines()
    again = Sketch.from_lines(sketch.lines())
    assert again.lines() == sketch.lines()
    assert again.since(sketch) == Difference(frozenset(), frozenset(), frozenset())
    with pytest.raises(ValueError, match="no sketch"):
        Sketch.from_lines(sketch.lines()[:3])


def test_too_many_differences_are_none_and_never_a_wrong_answer():
    told = 0
    for many in range(1, 60):
        before, after = (
            documents(80),
            [(name, b"x") for name, _ in documents(80)[:many]] + documents(80)[many:],
        )
        found = Sketch.of(after).since(Sketch.of(before))
        assert found is None or len(found.changed) == many
        told += found is not None
    assert 10 <= told <= 30


# --- the file ---------------------------------------------------------------------------------------


def locked(**about: object) -> Lock:
    held = documents(3)
    collection = {
        "content": "c1",
        "chunker": "blocks-1",
        "embedder": "mini " + "ab" * 32,
        "documents": 3,
        "generation": "handbook/000001",
        "sketch": Sketch.of(held),
        **{key: value for key, value in about.items() if key in LockedCollection.__dataclass_fields__},
    }
    prompt = {
        "source": "s1",
        "parts": {"_core/rules.md": "p1"},
        "tests": "t1",
        "collections": ("handbook",),
        "examples": "",
        "digest": "d1",
        "origin": "library",
        "version": 3,
        **{key: value for key, value in about.items() if key in LockedPrompt.__dataclass_fields__},
    }
    settings = {"retrieval": {"k": about.get("k", 8), "mode": "hybrid"}, "llm": {"model": 'a "b" \x7f'}}
    return Lock(settings, {"handbook": LockedCollection(**collection)}, {"a/b.c": LockedPrompt(**prompt)})


def test_a_lock_is_read_as_it_was_written_and_written_the_same():
    lock = locked()
    text = lock.text()
    again = Lock.parse(text, name="rag.lock")
    assert again == lock
    assert again.text() == text
    assert '[prompts."a/b.c".parts]' in text
    assert max(map(len, text.splitlines())) < 120


def told(was: Lock, now: Lock, **options: object) -> list[tuple[str, bool]]:
    found = changes(was, now, **{"documents": {}, "missing": {}, **options})
    return [(str(one), one.decides) for one in found]


def test_nothing_differs_from_itself():
    assert told(locked(), locked()) == []


@pytest.mark.parametrize(
    ("about", "line", "decides"),
    [
        ({"k": 12}, "retrieval.k was 8, is 12", True),
        ({"source": "s2"}, "prompt a/b.c: its file changed", True),
        ({"source": "s2", "version": 4}, "prompt a/b.c: its file changed (version 3, now 4)", True),
        ({"version": 4}, "prompt a/b.c: version was 3, is 4, with the same file", False),
        ({"origin": "file"}, "prompt a/b.c: it comes from the file, came from the library", False),
        ({"tests": ""}, "prompt a/b.c: it has no tests any more", True),
        ({"tests": "t2"}, "prompt a/b.c: its tests changed", True),
        ({"parts": {"_core/rules.md": "p2"}}, "prompt a/b.c: _core/rules.md changed", True),
        ({"parts": {}}, "prompt a/b.c: _core/rules.md is no longer used", True),
        (
            {"collections": ("handbook", "faq")},
            "prompt a/b.c: collections was handbook, is handbook, faq",
            True,
        ),
        ({"chunker": "blocks-2"}, "collection handbook: chunker was blocks-1, is blocks-2", True),
        (
            {"embedder": "e5 " + "cd" * 32},
            "collection handbook: embedder was mini abababababab, is e5 cdcdcdcdcdcd",
            True,
        ),
        (
            {"generation": "handbook/000002"},
            "collection handbook: generation was handbook/000001, is handbook/000002",
            False,
        ),
    ],
)
def test_each_thing_that_differs_is_one_line_and_content_alone_decides(about, line, decides):
    assert told(locked(), locked(**about)) == [(line, decides)]


def test_documents_that_differ_are_named():
    now = [("docs/0.md", b"other"), *documents(3)[1:], *((f"docs/{n}.md", b"new") for n in range(10, 17))]
    lock = locked(content="c2", documents=10, sketch=Sketch.of(now))
    (found,) = told(locked(), lock, documents={"handbook": [name for name, _ in now]})
    assert found[0] == (
        "collection handbook: 1 document changed (docs/0.md), 7 documents added (docs/10.md, docs/11.md, "
        "docs/12.md, docs/13.md, docs/14.md, …)"
    )
    many = Sketch.of((name, b"x") for name, _ in documents(100))
    (found,) = told(locked(), locked(content="c2", documents=100, sketch=many))
    assert found[0].endswith("very many documents changed, or were added or removed (3 documents, now 100)")


def test_what_is_gone_is_a_difference_with_its_reason():
    nothing = Lock(locked().settings, {}, {})
    missing = {"collection handbook": "no such collection", "prompt a/b.c": "no such prompt"}
    assert told(locked(), nothing, missing=missing) == [
        ("collection handbook: cannot be looked at: no such collection", True),
        ("prompt a/b.c: cannot be read: no such prompt", True),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "x", "format = 2", "format = 1\n[prompts.x]\nsource = 3", "format = 1\n[collections.x]\na = 1"],
)
def test_a_file_that_is_no_lock_is_told_with_what_mends_it(text: str):
    with pytest.raises(PromptError, match=r"^rag\.lock"):
        Lock.parse(text, name="rag.lock")


def test_contents_leave_out_the_address_and_nothing_else(tmp_path: Path):
    embedder = HashEmbedder()
    texts = {"a": "Boil the water.", "b": "Leaves at noon."}
    held = []
    for name in ("one", "two"):
        with Catalogue.open(tmp_path / name, create=True) as catalogue:
            with catalogue.writer("notes", Space("whole", embedder.info)) as writer:
                put_texts(writer, texts, embedder.embed(list(texts.values()), input_type="document"))
            if name == "two":
                with sqlite3.connect(tmp_path / "two" / "catalogue.db") as db:
                    db.execute("UPDATE documents SET uri = 'file:///elsewhere'")
            held.append(dict(contents(catalogue, "notes")))
            assert list(contents(catalogue, "none")) == []
    assert held[0] == held[1]
    assert set(held[0]) == {"a", "b"}
    for column in ("title", "text"):
        with sqlite3.connect(tmp_path / "two" / "catalogue.db") as db:
            db.execute(f"UPDATE documents SET {column} = {column} || '!' WHERE id = 'a'")
        with Catalogue.open(tmp_path / "two", create=False) as catalogue:
            now = dict(contents(catalogue, "notes"))
        assert (now["a"] == held[0]["a"], now["b"] == held[0]["b"]) == (False, True)


# --- through the product ---------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    for name in ("tea", "train", "tower"):
        (project / "docs" / f"{name}.md").write_text(f"# The {name}\n\nThe {name} is open at noon.\n")
    (project / "prompts" / "_core").mkdir(parents=True)
    (project / "prompts" / "_core" / "rules.md").write_text("Be brief.\n")
    (project / "prompts" / "house.prompty").write_text(
        "---\ninputs: [{name: question}, {name: context}]\n---\nsystem:\n{% include '_core/rules.md' %}\n"
        "user:\n{{ context }}\n{{ question }}\n"
    )
    monkeypatch.chdir(project)
    return project


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_variants_are_parts_of_their_prompt_and_not_locked_by_themselves(home: Path):
    (home / "prompts" / "reply.prompty").write_text(
        "---\nmetadata: {variants: {gpt: ./reply.gpt.prompty}}\ninputs: [{name: question}]\n---\n"
        "user:\n{{ question }}\n"
    )
    (home / "prompts" / "reply.gpt.prompty").write_text("user:\nBriefly: {{ question }}\n")  # no header
    assert rag("prompts", "lock", "--without-collections").stdout == "rag.lock: 3 prompts\n"
    locked = Lock.parse(Path("rag.lock").read_text("utf-8"), name="rag.lock")
    assert list(locked.prompts) == ["answer", "house", "reply"]
    assert list(locked.prompts["reply"].parts) == ["reply.gpt.prompty"]


@pytest.mark.model
def test_a_lock_holds_wherever_the_project_lies_and_fails_with_what_changed(
    home: Path, monkeypatch, tmp_path
):
    rag("ingest", "docs")
    assert rag("prompts", "lock").stdout == "rag.lock: 2 prompts, default with 3 documents\n"
    assert rag("prompts", "lock").stdout.endswith("; as it was\n")
    assert rag("prompts", "verify").stdout == "2 prompts as in rag.lock.\n"
    other = tmp_path / "elsewhere" / "deep"
    shutil.copytree(home, other, ignore=shutil.ignore_patterns(".rag"))
    monkeypatch.chdir(other)
    gone = rag("prompts", "verify", code=1).stdout
    assert "collection default: cannot be looked at: " in gone
    assert "1 difference from rag.lock." in gone
    told = rag("prompts", "verify", "--without-collections").stdout
    assert told == "2 prompts as in rag.lock. Collections were not looked at.\n"
    rag("ingest", "docs")
    rag("prompts", "verify")
    (other / "docs" / "tea.md").write_text("# The tea\n\nThe tea is open at nine.\n")
    (other / "docs" / "train.md").unlink()
    rag("ingest", "docs")
    (other / "prompts" / "_core" / "rules.md").write_text("Be very brief.\n")
    monkeypatch.setenv("RAG_RETRIEVAL__K", "12")
    found = json.loads(rag("prompts", "verify", "--json", code=1).stdout)
    assert [f"{one['about']}: {one['text']}" for one in found["differences"]] == [
        ": retrieval.k was 8, is 12",
        "collection default: 1 document changed (docs/tea.md), 1 document removed",
        "prompt house: _core/rules.md changed",
    ]
    assert [one["about"] for one in found["told"]] == ["collection default"]
    rag("prompts", "lock")
    rag("prompts", "verify")


@pytest.mark.model
def test_prompts_of_the_library_are_locked_by_reference_and_examples_with_them(home: Path):
    rag("ingest", "docs")
    (home / "prompts" / "sort.prompty").write_text(
        "---\nmetadata: {examples: {collection: cases}}\n"
        "inputs: [{name: question}, {name: examples, kind: array, required: false}]\n---\n"
        "user:\n{% for e in examples %}{{ e.input }}: {{ e.output }}\n{% endfor %}{{ question }}\n"
    )
    assert "no collection 'cases'" in rag("prompts", "lock", "sort", code=2).stderr
    (home / "cases.jsonl").write_text('{"text": "hi", "output": "greeting"}\n')
    rag("ingest", "cases.jsonl", "-c", "cases")
    rag("prompts", "push", "prompts")
    rag("prompts", "label", "sort", "production")
    told = rag("prompts", "lock", "sort@production", "-f", "one.lock").stdout
    assert told == "one.lock: 1 prompt, cases with 1 document\n"
    text = (home / "prompts" / "sort.prompty").read_text()
    (home / "prompts" / "sort.prompty").write_text(text.replace("}}: {{", "}} => {{"))
    rag("prompts", "push", "prompts")
    rag("prompts", "verify", "-f", "one.lock")
    rag("prompts", "label", "sort", "production")
    (home / "cases.jsonl").write_text('{"text": "hi", "output": "salute"}\n')
    rag("ingest", "cases.jsonl", "-c", "cases")
    lines = rag("prompts", "verify", "-f", "one.lock", code=1).stdout.splitlines()
    assert lines[0] == "collection cases: 1 document changed (cases.jsonl#1)"
    assert lines[1] == "prompt sort@production: its file changed (version 1, now 2)"
    rag("prompts", "remove", "sort")
    (home / "prompts" / "sort.prompty").unlink()
    assert "cannot be read" in rag("prompts", "verify", "-f", "one.lock", code=1).stdout
    rag("prompts", "lock", "house", "sort", "-f", "two.lock", code=2)
    rag("prompts", "lock", "house", "answer", "-f", "two.lock")
    (home / "prompts" / "house.prompty").unlink()
    assert "left out: house" in rag("prompts", "lock", "-f", "two.lock").stderr
    assert "there is no none.lock" in rag("prompts", "verify", "-f", "none.lock", code=2).stderr
