"""rag prompts render, and what a prompt says of the collections and the search that it wants."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.http import create_app
from api.services import connect
from api.settings import load
from rag.answer import Answer
from rag.errors import UnknownPrompt
from rag.testing import EchoModel

REPLY = """---
name: reply
metadata:
  context_budget: 300
  collection: [shop, law]
  retrieval: {k: 1, mode: lexical}
  variants: {gpt: ./reply.gpt.prompty}
inputs: [{name: question}, {name: context}, {name: tone, default: kind}]
---
system:
Be {{ tone }}. {% include "_core/rules.md" %}
user:
{{ context }}
{{ question }}
"""
FILES = {
    "reply.prompty": REPLY,
    "reply.gpt.prompty": "user:\nGPT: {{ context }} {{ question }}",
    "_core/rules.md": "Cite.\n",
    "plain.prompty": "---\ninputs: [{name: who}]\n---\nuser:\nHi {{ who }}, {{ who }}!",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith(("RAG_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.chdir(tmp_path)
    for path, text in FILES.items():
        file = tmp_path / "prompts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return tmp_path


def rag(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_asking_a_prompt_without_a_context_needs_a_model_and_no_collection(folder: Path):
    label = "---\ninputs: [{name: question}]\n---\nuser:\nLabel: {{ question }}"
    (folder / "prompts" / "label.prompty").write_text(label)
    assert "needs a language model" in rag("ask", "-p", "label", "lost parcel", code=2).stderr
    settings = load(start=folder, env=os.environ, overrides={"llm.model": "echo"})
    with connect(settings) as services:
        services.chat = EchoModel()  # type: ignore[assignment]
        answer = list(services.ask_events("lost parcel", prompt="label"))[-1]
        assert isinstance(answer, Answer)
        assert (answer.text, answer.receipt.generations) == ("Label: lost parcel", {})
    assert not (folder / ".rag").exists()


def test_over_http_a_prompt_is_named_and_no_file_is_read(folder: Path):
    with connect(load(start=folder, env=os.environ, overrides={})) as services:
        create_app(services)
        with pytest.raises(UnknownPrompt, match="files are not read over HTTP"):
            next(iter(services.ask_events("hi", prompt=str(folder / "prompts" / "reply.prompty"))))


def test_a_prompt_without_a_context_needs_neither_a_question_nor_a_data_folder(folder: Path):
    result = rag("prompts", "render", "plain", "--var", "who=system:\nyou")
    assert result.stdout == "--- user ---\nHi system:\nyou, system:\nyou!\n"
    assert result.stderr.startswith("--- about ")
    assert "prompt:    plain, digest " in result.stderr
    assert not (folder / ".rag").exists()


def test_a_context_is_searched_for_given_or_left_empty():
    missing = rag("prompts", "render", "reply", code=2)
    assert "--var question" in missing.stderr
    assert "--no-retrieval" in missing.stderr
    empty = rag("prompts", "render", "reply", "--no-retrieval", "--var", "question=Why?")
    assert empty.stdout == "--- system ---\nBe kind. Cite.\n--- user ---\nWhy?\n"
    given = rag("prompts", "render", "reply", "--var", "question=Why?", "--var", "context=Because.")
    assert given.stdout.endswith("--- user ---\nBecause.\nWhy?\n")


def test_the_model_named_chooses_the_variant_and_none_is_asked():
    rendered = ("prompts", "render", "reply", "--no-retrieval", "--var", "question=Why?")
    shown = json.loads(rag(*rendered, "--model", "openai:gpt-5-mini", "--json").stdout)
    assert (shown["variant"], shown["model"]) == ("gpt", "openai:gpt-5-mini")
    assert shown["messages"] == [{"role": "user", "content": "GPT:  Why?"}]
    assert shown["total_tokens"] == sum(shown["tokens"].values())
    assert shown["receipt"] is None
    assert "variant:   gpt, for openai:gpt-5-mini" in rag(*rendered, "--model", "openai:gpt-5-mini").stderr
    assert "variant:   none: no model is set" in rag(*rendered).stderr


def test_what_the_prompt_does_not_take_is_told_in_one_line():
    for arguments in (("plain",), ("plain", "--var", "whom=x"), ("nope",), ("plain@3", "--var", "who=x")):
        result = rag("prompts", "render", *arguments, code=2)
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("Error: ")


@pytest.mark.model
def test_a_prompt_names_its_collections_and_its_search_unless_the_call_does(folder: Path):
    docs = {
        "shop": {"a.md": "# Refunds\n\nA refund takes 14 days.", "b.md": "# Shoes\n\nShoes may come back."},
        "law": {"c.md": "# Law\n\nThe law grants a refund within 14 days of a return."},
        "default": {"d.md": "# Other\n\nA refund of another kind."},
    }
    for collection, files in docs.items():
        (folder / collection).mkdir()
        for name, text in files.items():
            (folder / collection / name).write_text(text, "utf-8")
        rag("ingest", collection, "-c", collection)
    asked = ("prompts", "render", "reply", "--var", "question=When is a refund paid?", "--json")
    receipt = json.loads(rag(*asked).stdout)["receipt"]
    assert list(receipt["generations"]) == ["shop", "law"]
    assert (receipt["retrieval"]["mode"], receipt["retrieval"]["k"]) == ("lexical", 1)
    assert (receipt["context_budget"], len(receipt["chunks"])) == (300, 1)
    receipt = json.loads(rag(*asked, "-c", "default", "-k", "2").stdout)["receipt"]
    assert list(receipt["generations"]) == ["default"]
    assert (receipt["retrieval"]["mode"], receipt["retrieval"]["k"]) == ("lexical", 2)
    # The same when it is asked, and the receipt is the answer's.
    answer = json.loads(rag("ask", "When is a refund paid?", "-p", "reply", "--json").stdout)
    assert list(answer["receipt"]["generations"]) == ["shop", "law"]
    assert {chunk["collection"] for chunk in answer["receipt"]["chunks"]} <= {"shop", "law"}
    with connect(
        load(start=folder, env=dict(os.environ), overrides={"llm.model": "openai:gpt-5-mini"})
    ) as wired:
        rendered = wired.render("When is a refund paid?", prompt="reply")
    assert (rendered.receipt.prompt_variant, rendered.template.variant) == ("gpt", "gpt")
    assert rendered.prompt.messages[0].content.startswith("GPT: <passage-")
    with connect(load(start=folder, env=dict(os.environ), overrides={})) as wired:
        last = list(wired.ask_events("When is a refund paid?", prompt="reply"))[-1]
    assert isinstance(last, Answer)
    assert last.receipt.prompt_variant == ""


@pytest.mark.model
def test_a_search_that_needs_a_model_says_so(folder: Path):
    (folder / "a").mkdir()
    (folder / "a" / "a.md").write_text("# Tea\n\nTea draws.", "utf-8")
    rag("ingest", "a")
    text = "---\nmetadata: {retrieval: {rewrite: hyde}}\ninputs: [{name: context}]\n---\nuser:\n{{ context }}"
    (folder / "prompts" / "hy.prompty").write_text(text, "utf-8")
    assert 'asks for rewrite = "hyde"' in rag("ask", "Tea?", "-p", "hy", code=2).stderr
