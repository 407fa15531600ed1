"""rag prompts import, export, pack and unpack, as a user meets them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.prompts.exchange import write
from rag.errors import UsageError

GREET = """---
model: gemini-flash
input: {schema: {place: string, guest-name?: string}}
---
{{role "system"}}
You work at {{place}}. {{history}}
{{role "user"}}
{{#if guest-name}}I am {{guest-name}}.{{else}}Hello.{{/if}}
"""
SUM = """name: Summarizer
messages: [{role: user, content: "Summarize: {{input}}"}]
testData: [{input: A fox jumped.}]
evaluators: [{name: fox, string: {contains: fox}}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("greet.prompt").write_text(GREET, "utf-8")
    Path("sum.prompt.yml").write_text(SUM, "utf-8")
    return tmp_path


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["prompts", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_import_writes_prompts_and_tests_and_tells_what_is_lost():
    result = rag("import", "greet.prompt", "sum.prompt.yml", "--into", "prompts")
    assert result.stdout.splitlines()[0] == "greet.prompt (dotprompt) -> greet.prompty"
    assert "not carried over: greet.prompt: line 6: {{history}}" in result.stderr
    assert "the variable 'guest-name' is called guest_name here" in result.stderr
    written = sorted(path.name for path in Path("prompts").iterdir())
    assert written == ["greet.prompty", "sum.prompty", "sum.tests.yaml"]
    assert (
        "3 files there already" in rag("import", "greet.prompt", "sum.prompt.yml", "--into", "prompts").stdout
    )


def test_a_file_that_cannot_be_read_is_told_and_the_others_go_in():
    Path("bad.json").write_text('{"a":', "utf-8")
    Path("binary.prompt").write_bytes(b"\xff\xfe")
    result = rag("import", "bad.json", "binary.prompt", "none.prompt", "greet.prompt", "--into", "p", code=1)
    assert "failed: bad.json: line 1: not JSON" in result.stderr
    assert "failed: binary.prompt: cannot be read" in result.stderr
    assert "failed: none.prompt: there is no such file" in result.stderr
    assert Path("p/greet.prompty").is_file()


def test_import_keeps_what_differs_unless_forced():
    rag("import", "greet.prompt", "--into", "prompts")
    Path("prompts/greet.prompty").write_text("mine", "utf-8")
    refused = rag("import", "greet.prompt", "sum.prompt.yml", "--into", "prompts", code=2)
    assert "greet.prompty (--force replaces them)" in refused.stderr
    assert not Path("prompts/sum.prompty").exists()
    rag("import", "greet.prompt", "--into", "prompts", "--force")
    assert Path("prompts/greet.prompty").read_text("utf-8") != "mine"


def test_import_by_another_name_or_format():
    Path("messages.txt").write_text('[{"role": "user", "content": "{{a}}"}]', "utf-8")
    told = rag("import", "messages.txt", "--into", "p", "--json", code=1).stdout
    assert "does not tell its format" in json.loads(told)["files"][0]["error"]
    rag("import", "messages.txt", "--into", "p", "--format", "openai", "--name", "team/hello")
    assert Path("p/team/hello.prompty").is_file()
    bad = rag("import", "greet.prompt", "--into", "p", "--name", "../x", code=1)
    assert "cannot name a prompt" in bad.stderr
    twice = rag("import", "greet.prompt", "sum.prompt.yml", "--into", "p", "--name", "x", code=2)
    assert "one by one" in twice.stderr


def test_files_that_a_configuration_names_are_read_from_beside_it_alone(tmp_path):
    config = tmp_path / "promptfoo" / "promptfooconfig.yaml"
    config.parent.mkdir()
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    (config.parent / "ask.txt").write_text("Ask {{q}}", "utf-8")
    config.write_text("prompts: [file://ask.txt]\n", "utf-8")
    rag("import", config, "--into", "p")
    assert "Ask {{ q }}" in Path("p/promptfooconfig.prompty").read_text("utf-8")
    (config.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    for path in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "none.txt"):
        config.write_text(f"prompts: [file://{path}]\n", "utf-8")
        assert "cannot be read" in rag("import", config, "--into", "p", code=1).stderr


def test_export_prints_one_file_and_writes_several():
    rag("import", "greet.prompt", "sum.prompt.yml", "--into", "prompts")
    result = rag("export", "sum", "--format", "github")
    assert result.stdout.startswith("name: Summarizer\n")
    assert "contains: fox" in result.stdout
    assert "no model is named" in result.stderr
    assert "{{#if guest_name}}" in rag("export", "greet", "--format", "dotprompt").stdout
    assert "name a folder with --out" in rag("export", "sum", "--format", "promptfoo", code=2).stderr
    rag("export", "sum", "answer", "--format", "promptfoo", "--out", "out")
    assert len(list(Path("out").iterdir())) == 4
    assert rag("export", "sum", "--format", "openai", "--out", "m.json").stdout == "Wrote m.json.\n"
    assert json.loads(Path("m.json").read_text("utf-8"))[0]["role"] == "user"
    assert "line 16: a condition cannot" in rag("export", "greet", "--format", "github", code=2).stderr
    assert "there is no format" in rag("export", "sum", "--format", "word", code=2).stderr


def test_a_version_of_the_library_is_exported_and_packed_with_its_origin():
    rag("import", "sum.prompt.yml", "--into", "prompts")
    rag("push", "prompts", "--author", "Ana")
    Path("prompts/sum.prompty").unlink()
    assert "Summarize" in rag("export", "sum@1", "--format", "langchain").stdout
    result = rag("pack", "sum@1", "answer", "--out", "s.promptpack", "--licence", "MIT", "--author", "Leo")
    assert "2 prompts in 3 files, by Leo, MIT." in result.stdout
    held = json.loads(rag("unpack", "s.promptpack", "--list", "--json").stdout)["manifest"]
    assert [(each["name"], each["origin"], each["version"], each["author"]) for each in held["prompts"]] == [
        ("answer", "shipped", 0, ""),
        ("sum", "library", 1, "Ana"),
    ]
    first = Path("s.promptpack").read_bytes()
    rag("pack", "answer", "sum@1", "--out", "s.promptpack", "--licence", "MIT", "--author", "Leo")
    assert Path("s.promptpack").read_bytes() == first
    other = rag("pack", "answer", "--out", "s.promptpack", "--licence", "MIT", code=2)
    assert "--force writes over it" in other.stderr


def test_a_folder_goes_into_a_pack_and_comes_out_the_same(tmp_path):
    rag("import", "greet.prompt", "sum.prompt.yml", "--into", "prompts")
    Path("prompts/sum.recorded.jsonl").write_text("{}\n", "utf-8")
    Path("prompts/run.py").write_text("evil", "utf-8")
    Path("prompts/.git").mkdir()
    Path("prompts/.git/config.md").write_text("x", "utf-8")
    Path("prompts/link.md").symlink_to(tmp_path / "greet.prompt")
    result = rag("pack", "prompts", "--out", "p.promptpack", "--licence", "CC0-1.0")
    assert "not in it: run.py" in result.stderr
    assert "not in it: link.md: a symbolic link" in result.stderr
    rag("unpack", "p.promptpack", "--into", "other")
    names = sorted(path.name for path in Path("other").iterdir())
    assert names == ["greet.prompty", "sum.prompty", "sum.recorded.jsonl", "sum.tests.yaml"]
    assert all((Path("prompts") / name).read_bytes() == (Path("other") / name).read_bytes() for name in names)
    assert "4 files there already" in rag("unpack", "p.promptpack", "--into", "other").stdout
    Path("other/sum.prompty").write_text("mine", "utf-8")
    assert "sum.prompty" in rag("unpack", "p.promptpack", "--into", "other", code=2).stderr
    assert Path("other/sum.prompty").read_text("utf-8") == "mine"
    Path("p.promptpack").write_bytes(Path("p.promptpack").read_bytes()[:-1])
    assert "is no pack" in rag("unpack", "p.promptpack", "--into", "third", code=2).stderr
    assert not Path("third").exists()
    assert "--list to look" in rag("unpack", "p.promptpack", code=2).stderr


def test_the_list_of_a_pack_names_prompts_and_files():
    rag(
        "pack",
        "answer",
        "--out",
        "a.promptpack",
        "--licence",
        "MIT",
        "--name",
        "Answers",
        "--pack-version",
        "7",
    )
    lines = rag("unpack", "a.promptpack", "--list").stdout.splitlines()
    assert lines[0].startswith("Answers 7, by ")
    assert lines[2].split()[:2] == ["answer", "shipped"]
    assert any(line.startswith("answer.prompty ") for line in lines)


def test_nothing_is_written_through_a_link_or_in_place_of_a_folder(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.md").write_text("theirs", "utf-8")
    target = tmp_path / "in"
    target.mkdir()
    (target / "sub").symlink_to(outside)
    with pytest.raises(UsageError, match="leads out of"):
        write(target, {"b.md": "x", "sub/a.md": "mine"}, force=True)
    (target / "a.md").symlink_to(outside / "a.md")
    with pytest.raises(UsageError, match="symbolic link"):
        write(target, {"b.md": "x", "a.md": "mine"}, force=True)
    (target / "c.md").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write(target, {"b.md": "x", "c.md": "mine"}, force=True)
    (target / "file").write_text("x", "utf-8")
    with pytest.raises(UsageError, match="where a folder is needed"):
        write(target, {"b.md": "x", "file/d.md": "mine"}, force=True)
    assert not (target / "b.md").exists()
    assert (outside / "a.md").read_text("utf-8") == "theirs"
    assert write(target, {"b.md": "x", "n/e.md": "y"}).written == ("b.md", "n/e.md")
