"""rag prompts, as a user meets it: push, pull, list, show, diff, labels, the log, review."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app

ANSWER = """---
name: whatever
description: Answers customers from the handbook.
metadata:
  category: support
  tags: [answer, tone]
  language: en
  context_budget: 1500
  variants: {gpt: ./answer.gpt.prompty}
model: {id: gpt-5-mini, options: {temperature: 0}}
inputs: [{name: question}, {name: context}, {name: tone, default: kind}]
---
system:
Be {{ tone }}. {% include "_core/rules.md" %}

user:
{{ context }}
{{ question }}
"""
VARIANT = "---\nname: answer\n---\nuser:\nAnswer {{ question }} from {{ context }}\n"
SUM = "---\ndescription: Sums up.\ninputs: [{name: text}]\n---\nuser:\nSum up {{ text }}\n"
TESTS = """tests:
  - vars: {question: hi, context: [We open at nine]}
    assert: [{type: contains, value: nine}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two prompts, one with a part, a variant and tests; nothing of the user's own settings."""
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_AUTHOR", "ana")
    monkeypatch.chdir(tmp_path)
    prompts = tmp_path / "prompts"
    put("support/answer.prompty", ANSWER)
    put("support/answer.gpt.prompty", VARIANT)
    put("support/answer.tests.yaml", TESTS)
    put("_core/rules.md", "Be brief.\n")
    put("sum.prompty", SUM)
    return prompts


def put(path: str, text: str) -> None:
    file = Path("prompts") / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["prompts", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def told(*arguments: object, code: int = 0) -> object:
    return json.loads(rag(*arguments, "--json", code=code).stdout)


def test_push_makes_versions_of_what_changed_alone(folder):
    assert rag("push", "prompts", "-m", "first").stdout.splitlines() == [
        "new: sum",
        "new: support/answer",
        "tests: support/answer",
        "Pushed: 2 new",
    ]
    assert rag("push", "prompts").stdout == "Pushed: 2 unchanged\n"
    put("_core/rules.md", "Be brief and kind.\n")
    assert rag("push", "prompts", "--dry-run").stdout.splitlines() == [
        "changed: support/answer 1 -> 2",
        "Would push: 1 changed, 1 unchanged",
    ]
    assert told("push", "prompts", "--dry-run")["written"] is False
    assert "1 -> 2" in rag("push", "prompts").stdout
    put("support/answer.gpt.prompty", VARIANT + "Now.\n")
    assert told("push", "prompts")["versions"] == {"support/answer": [2, 3]}
    put("support/answer.tests.yaml", TESTS + "# more\n")
    assert told("push", "prompts")["versions"] == {}
    assert [event["action"] for event in told("log", "support/answer")] == [
        "tests", "push", "push", "tests", "push",
    ]  # fmt: skip


def test_line_ends_and_a_byte_order_mark_are_no_change(folder):
    rag("push", "prompts")
    for path in folder.rglob("*.*"):
        if path.suffix in (".prompty", ".md", ".yaml"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert rag("push", "prompts").stdout == "Pushed: 2 unchanged\n"


def test_a_file_that_fails_is_one_line_and_the_others_go_in(folder):
    put("broken.prompty", "---\ninputs: [\n---\nuser:\nx")
    put("bad name.prompty", SUM)
    put("latin.prompty", "")
    (folder / "latin.prompty").write_bytes("user:\nAdiós".encode("latin-1"))
    put("sum.tests.yaml", "tests: [{asert: []}]")
    put("lost.tests.yaml", TESTS)
    result = rag("push", "prompts", code=1)
    lines = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "bad name.prompty", "broken.prompty", "latin.prompty", "lost.tests.yaml", "sum.tests.yaml",
    ]  # fmt: skip
    assert "use letters, digits" in lines[0]
    assert "line 3" in lines[1]
    assert "UTF-8" in lines[2]
    assert "no lost.prompty beside it" in lines[3]
    assert "did you mean assert?" in lines[4]
    assert result.stdout.endswith("Pushed: 2 new, 5 failed\n")


def test_tests_without_a_file_beside_them_are_the_librarys_or_stay_in_the_folder(folder):
    rag("push", "prompts")
    (folder / "sum.prompty").unlink()
    put("sum.tests.yaml", TESTS)
    put("strict.tests.yaml", TESTS)  # of a shipped prompt: what `rag feedback --to-test` may have written
    pushed = rag("push", "prompts").output
    assert "tests: sum\n" in pushed
    assert "strict" not in pushed
    put("lost.tests.yaml", TESTS)
    assert "there is no lost.prompty beside it, nor in the library" in rag("push", "prompts", code=1).output


def test_links_that_lead_elsewhere_are_told_and_never_written_through(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.prompty").write_text(SUM)
    (folder / "link.prompty").symlink_to(outside / "x.prompty")
    (folder / "sum.tests.yaml").symlink_to(outside / "gone.yaml")
    pushed = rag("push", "prompts", code=1)
    assert "failed: link.prompty: is no file of this folder: a link leads elsewhere" in pushed.output
    assert "failed: sum.tests.yaml: is no file of this folder" in pushed.output
    assert "Pushed: 2 new" in pushed.output
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "support").symlink_to(outside)
    assert "leads out of" in rag("pull", "copy", code=2).output
    assert sorted(path.name for path in outside.iterdir()) == ["x.prompty"]


def test_prompts_that_the_folder_lacks_are_told_and_removed_by_command_alone(folder):
    rag("push", "prompts")
    (folder / "sum.prompty").unlink()
    assert "only in the library: sum" in rag("push", "prompts").stdout
    rag("remove", "sum", "-m", "unused")
    assert "was removed" in rag("show", "sum@1", code=2).stderr
    assert "sum" not in [one["name"] for one in told("list")]
    assert "only in the library" not in rag("push", "prompts").stdout
    assert told("log", "sum")[0]["why"] == "unused"
    put("sum.prompty", SUM)
    assert "restored: sum 1" in rag("push", "prompts").stdout
    assert rag("show", "sum@1", "--source").stdout == SUM


def test_pull_gives_back_what_was_pushed_and_overwrites_nothing(folder, tmp_path):
    rag("push", "prompts")
    put("sum.prompty", SUM + "Shorter.\n")
    rag("push", "prompts")
    rag("pull", "copy")
    for path in folder.rglob("*.*"):
        assert (tmp_path / "copy" / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert "0 files written, 5 unchanged" in rag("pull", "copy").stdout
    (tmp_path / "copy" / "sum.prompty").write_text("user:\nmine")
    (tmp_path / "copy" / "_core" / "rules.md").unlink()
    refused = rag("pull", "copy", code=1)
    assert "differs: copy/sum.prompty" in refused.stderr
    assert not (tmp_path / "copy" / "_core" / "rules.md").exists()
    assert told("pull", "copy", "sum@1", "--force")["written"] == ["sum.prompty"]
    assert (tmp_path / "copy" / "sum.prompty").read_text() == SUM
    rag("label", "sum@1", "production")
    assert told("pull", "other", "--label", "production")["versions"] == {"sum": 1}
    assert "no prompt has the label" in rag("pull", "other", "--label", "staging", code=2).stderr


def test_pull_never_mixes_two_texts_of_one_part(folder):
    rag("push", "prompts")
    put("sum.prompty", SUM + '{% include "_core/rules.md" %}\n')
    put("_core/rules.md", "Other.\n")
    rag("push", "prompts")
    result = rag("pull", "copy", "sum", "support/answer@1", code=1)
    assert "left: " in result.stderr
    assert "its _core/rules.md is another than that of" in result.stderr
    assert told("pull", "fresh")["left"] == []


def test_list_filters_and_says_where_each_is_from(folder):
    put("answer.prompty", SUM)
    put("own.prompty", SUM)
    rag("push", "prompts", "--label", "production")
    put("sum.prompty", SUM + "Shorter.")
    put("draft.prompty", SUM)
    put("broken.prompty", "---\n")
    found = {one["name"]: one for one in told("list")}
    assert {name: found[name]["working"] for name in ("own", "sum", "draft", "broken", "support/answer")} == {
        "own": "same",
        "sum": "changed",
        "draft": "new",
        "broken": "broken",
        "support/answer": "same",
    }
    assert found["answer"]["shipped"]
    assert found["answer"]["versions"] == 1
    assert found["summary"]["versions"] == 0
    assert found["support/answer"]["labels"] == {"production": 1}
    line = next(line for line in rag("list").stdout.splitlines() if line.startswith("sum "))
    assert "library, file (changed)" in line
    for option, value in (
        ("--tag", "tone"), ("--category", "Support"), ("--model", "gpt-5"),
    ):  # fmt: skip
        assert [one["name"] for one in told("list", option, value)] == ["support/answer"], option
    assert "support/answer" in [one["name"] for one in told("list", "--label", "production")]
    assert "answer-es" in [one["name"] for one in told("list", "--language", "es")]
    assert rag("list", "--tag", "nothing").stdout == "No prompt passes these filters.\n"


def test_show_tells_a_version_a_file_and_a_shipped_prompt(folder):
    rag("push", "prompts", "-m", "first")
    lines = rag("show", "support/answer@1").stdout.splitlines()
    assert lines[0] == "support/answer@1, of 1 in the library"
    assert any(line.startswith("pushed ") and line.endswith("by ana: first") for line in lines)
    assert any(line.split() == ["variables", "question,", "context,", "tone?"] for line in lines)
    assert lines[-1] == "{{ question }}"
    mine = rag("show", "support/answer").stdout
    assert mine.startswith("support/answer, a file, as version 1 in the library\n")
    put("support/answer.prompty", ANSWER + "\nNow.\n")
    changed = rag("show", "support/answer").stdout
    assert changed.startswith("support/answer, a file, changed since version 1 in the library\n")
    assert rag("show", "prompts/sum.prompty", "--source").stdout == SUM
    assert rag("show", "hyde").stdout.startswith("hyde, shipped\n")
    assert told("show", "support/answer@latest")["version"] == 1
    for wrong, why in (
        ("nope", "no prompt 'nope'"),
        ("sum@7", "its versions are 1 to 1"),
        ("sum@staging", "has no label 'staging'"),
        ("sum@0", "after @ stands a version"),
        ("../x", "cannot name a prompt"),
        ("none.prompty", "there is no file none.prompty"),
    ):
        assert why in rag("show", wrong, code=2).stderr


def test_a_path_is_that_file_whatever_its_name_and_wherever_it_lies(folder, tmp_path):
    put("_draft.prompty", "user:\ndraft")
    (tmp_path / "answer.prompty").write_text("user:\nmine")
    assert rag("show", "prompts/_draft.prompty", "--source").stdout.strip() == "user:\ndraft"
    assert rag("show", "answer.prompty", "--source").stdout.strip() == "user:\nmine"
    assert told("show", "prompts/support/answer.prompty")["tests"] is True
    put("latin.prompty", "")
    (folder / "latin.prompty").write_bytes("user:\nAdiós".encode("latin-1"))
    assert "cannot be read" in rag("show", "latin", code=2).stderr


def test_diff_tells_the_header_then_the_texts(folder):
    rag("push", "prompts")
    put("_core/rules.md", "Be kind.\n")
    changed = ANSWER.replace("temperature: 0", "temperature: 0.5").replace(
        "{name: tone, default: kind}", "{name: tone}"
    )
    put("support/answer.prompty", changed)
    rag("push", "prompts")
    lines = rag("diff", "support/answer@1", "support/answer@2").stdout.splitlines()
    assert lines[:2] == [
        "variable tone: string, default 'kind' -> string, required",
        "model.options.temperature: 0 -> 0.5",
    ]
    assert "-Be brief." in lines
    assert "+Be kind." in lines
    assert rag("diff", "support/answer@2", "support/answer").stdout.endswith("are the same.\n")
    assert list(told("diff", "sum", "hyde")["files"]) == ["prompt"]


def test_labels_move_and_go_back_and_the_log_says_so(folder):
    rag("push", "prompts")
    put("sum.prompty", SUM + "Shorter.\n")
    rag("push", "prompts")
    assert rag("label", "sum", 1, "production").stdout == "production of sum: nowhere -> 1\n"
    assert rag("label", "sum", "production").stdout == "production of sum: 1 -> 2\n"
    assert "stands on version 2 already" in rag("label", "sum@latest", "production").stdout
    assert rag("label", "sum@production", "staging").stdout == "staging of sum: nowhere -> 2\n"
    assert rag("rollback", "sum", "-m", "worse").stdout == "production of sum: 2 -> 1\n"
    assert "Shorter" not in rag("show", "sum@production", "--source").stdout
    assert rag("rollback", "sum").stdout == "production of sum: 1 -> 2\n"
    assert "stood nowhere before" in rag("rollback", "sum", "staging", code=2).stderr
    assert rag("unlabel", "sum", "staging").stdout == "staging of sum: 2 -> nowhere\n"
    assert "always the highest version" in rag("label", "sum", 1, "latest", code=2).stderr
    assert "cannot be a label" in rag("label", "sum", 1, "2", code=2).stderr
    assert "no version 9" in rag("label", "sum", 9, "production", code=2).stderr
    events = told("log", "sum")
    assert [(one["action"], one["before"], one["number"]) for one in events[:3]] == [
        ("unlabel", 2, 0),
        ("rollback", 1, 2),
        ("rollback", 2, 1),
    ]
    assert {one["who"] for one in events} == {"ana"}
    assert "production: 2 -> 1" in rag("log").stdout


def test_plain_name_is_the_file_then_production_then_the_shipped_prompt(folder):
    put("answer.prompty", SUM)
    rag("push", "prompts")
    assert told("show", "answer")["origin"] == "file"
    (folder / "answer.prompty").unlink()
    assert told("show", "answer")["origin"] == "shipped"
    rag("label", "answer", 1, "production")
    assert told("show", "answer")["origin"] == "library"
    (folder / "sum.prompty").unlink()
    assert "has no label 'production'" in rag("show", "sum", code=2).stderr


def test_a_protected_label_moves_to_an_approved_version_alone(folder):
    rag("push", "prompts", "--author", "ana")
    rag("protect", "production", "--no-tests")
    assert (
        "1 approval by somebody other than ana missing" in rag("label", "sum", 1, "production", code=1).stderr
    )
    assert "waiting" not in rag("reviews").stdout
    assert "1 approval" in rag("propose", "sum", "-m", "please").stdout
    assert rag("reviews").stdout.splitlines()[1].startswith("sum@1")
    assert told("reviews")[0]["state"] == "waiting"
    assert "somebody else approves it" in rag("approve", "sum", "--author", "Ana ", code=2).stderr
    assert rag("comment", "sum", "-m", "why not?").stdout == "Noted on sum@1.\n"
    assert "rag prompts label sum@1 production" in rag("approve", "sum", "--author", "berta").stdout
    rag("reject", "sum", "--author", "carla", "-m", "too long")
    assert "carla rejected it" in rag("label", "sum", 1, "production", code=1).stderr
    assert told("reviews")[0]["state"] == "rejected"
    rag("approve", "sum", "--author", "carla")
    rag("label", "sum", 1, "production")
    assert rag("reviews").stdout.startswith("Nothing waits for a review.\nprotected: production")
    assert "unprotect production" in rag("unlabel", "sum", "production", code=1).stderr
    assert "unprotect production" in rag("remove", "sum", code=1).stderr
    put("sum.prompty", SUM + "Shorter.\n")
    assert "sum@2" in rag("push", "prompts", "--label", "production", code=1).stderr
    assert told("show", "sum@latest")["version"] == 1  # nothing was written
    rag("unprotect", "production")
    assert "not protected" in rag("unprotect", "production", code=2).stderr
    rag("push", "prompts", "--label", "production")
    assert told("show", "sum@production")["version"] == 2


def test_self_approval_is_a_setting(folder, monkeypatch):
    monkeypatch.setenv("RAG_PROMPTS__SELF_APPROVAL", "true")
    rag("push", "prompts")
    rag("protect", "production", "--no-tests")
    rag("approve", "sum")
    rag("label", "sum", "production")


def test_without_a_library_each_command_says_how_to_make_one(folder):
    for command in (["pull", "x"], ["log"], ["remove", "sum"], ["label", "sum", "production"], ["reviews"]):
        assert "run `rag prompts push DIR` to make one" in rag(*command, code=2).stderr
    assert "there is no folder nowhere" in rag("push", "nowhere", code=2).stderr
    assert not Path(".rag").exists()
