"""The prompt library: versions never change, a change is whole or not there, two writers lose nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import pytest

from indexes.library import doctor, labels, review
from indexes.library.store import PromptLibrary
from rag.errors import LabelProtected, NotFound, PromptError, UnknownPrompt
from rag.prompts import PromptTemplate
from rag.prompts.versions import Draft, Facts, checked_name, reference
from rag.types import text_digest

BODY = "---\ndescription: Says hi.\ninputs: [{name: who}]\n---\nuser:\nHi {{ who }}"


def draft(name: str = "hi", text: str = BODY, parts: dict[str, str] | None = None) -> Draft:
    read = (parts or {}).__getitem__
    return Draft.of(PromptTemplate.parse(text, name=name, read=read), name=name)


@pytest.fixture
def library(tmp_path: Path):
    opened = PromptLibrary.open(tmp_path, create=True)
    yield opened
    opened.close()


def test_a_version_gives_back_the_prompt_as_it_was_pushed(library):
    text = BODY + '{% include "_core/rules.md" %}'
    first = draft("team/hi", text, {"_core/rules.md": " Be brief."})
    assert library.push([first], author="ana", message="why").versions == {"team/hi": (0, 1)}
    library.push([draft("team/hi", text, {"_core/rules.md": " Be kind."})], author="berta")
    version = library.version("team/hi", 1)
    assert (version.author, version.message, version.number) == ("ana", "why", 1)
    template = version.template()
    assert (template.name, template.version, template.digest) == ("team/hi", 1, first.digest)
    assert template.render({"who": "you"}).messages[0].content == "Hi you Be brief."
    assert library.of_digest(first.digest) == version
    assert library.of_digest("none") is None
    assert [one.number for one in library.versions("team/hi")] == [1, 2]


def test_pushing_the_same_again_changes_nothing(library):
    library.push([draft()], author="ana", tests={"hi": "tests: []"})
    before = library.log()
    done = library.push([draft()], author="ana", tests={"hi": "tests: []"})
    assert (done.versions, done.tests, library.log()) == ({}, (), before)


def test_going_back_to_an_older_text_is_a_new_version(library):
    for text in (BODY, BODY + "!", BODY):
        library.push([draft(text=text)], author="ana")
    assert [one.source for one in library.versions("hi")] == [BODY, BODY + "!", BODY]


@pytest.mark.parametrize("table", ["versions", "texts", "parts", "tests", "runs", "log"])
def test_what_was_written_cannot_be_changed_by_any_program(library, table):
    parted = draft(text=BODY + '{% include "a.md" %}', parts={"a.md": "a"})
    library.push([parted], author="ana", tests={"hi": "tests: []"})
    library.record_run("hi", 1, "d", 1, 0, 0, {}, "ana")
    db = sqlite3.connect(library.store.database)
    column = db.execute(f"PRAGMA table_info({table})").fetchall()[-1][1]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="are never changed"):
            db.execute(statement)
    db.close()


def test_a_failure_in_the_middle_of_a_push_leaves_nothing(library):
    library.push([draft()], author="ana")
    before = library.log()
    bad = Draft("../evil", "x", {}, "d", Facts())
    with pytest.raises(PromptError):
        library.push([draft("other"), bad], author="ana")
    assert (library.names(), library.log()) == (["hi"], before)


def _killed(folder: Path, point: str) -> None:
    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    library = PromptLibrary.open(folder, create=False, on_point=die)
    library.push([draft("hi", BODY + "!"), draft("new")], author="ana", label="production")


def test_a_kill_before_the_commit_leaves_nothing_half(library, tmp_path):
    library.push([draft()], author="ana", label="production")
    before = (library.heads(), library.entries(), library.log())
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(tmp_path, "library:written"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (library.heads(), library.entries(), library.log()) == before
    library.push([draft("hi", BODY + "!"), draft("new")], author="ana", label="production")
    assert {one.name: (one.latest, one.labels) for one in library.entries()} == {
        "hi": (2, {"production": 2}),
        "new": (1, {"production": 1}),
    }


def test_pushes_at_once_follow_each_other_and_lose_nothing(library, tmp_path):
    def push(writer: int) -> None:
        mine = PromptLibrary.open(tmp_path, create=False)
        for turn in range(5):
            mine.push([draft("hi", f"{BODY} {writer} {turn}"), draft(f"own{writer}")], author=str(writer))
        mine.close()

    threads = [threading.Thread(target=push, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = library.versions("hi")
    assert [one.number for one in versions] == list(range(1, 21))
    assert len({one.source for one in versions}) == 20
    events = [event for event in library.log() if event.name == "hi"]
    assert [(event.before, event.number) for event in events] == [(n - 1, n) for n in range(20, 0, -1)]


def test_a_removed_prompt_is_found_no_more_and_its_history_stays(library):
    library.push([draft()], author="ana", label="production")
    library.remove("hi", author="ana")
    for look in (lambda: library.version("hi", 1), lambda: library.tests("hi"), lambda: library.labels("hi")):
        with pytest.raises(UnknownPrompt, match="was removed"):
            look()
    assert (library.names(), library.entries()) == ([], [])
    assert [event.action for event in library.log("hi")] == ["remove", "label", "push"]
    assert library.push([draft()], author="ana").versions == {"hi": (1, 1)}
    assert library.version("hi").number == 1


def test_tests_must_have_passed_as_they_are_now(library):
    library.push([draft()], author="ana", tests={"hi": "tests: [one]"})
    review.protect(library, "production", approvals=0, tests=True, author="root")

    def refused() -> str:
        with pytest.raises(LabelProtected) as error:
            labels.move(library, "hi", 1, "production", author="ana")
        return str(error.value)

    assert "were never run" in refused()
    digest = text_digest("tests: [one]")
    library.record_run("hi", 1, digest, 1, 1, 0, {"case": "one"}, "ana")
    assert "1 failed" in refused()
    library.record_run("hi", 1, digest, 1, 0, 1, {}, "ana")
    assert "1 not evaluated" in refused()
    library.record_run("hi", 1, digest, 0, 0, 0, {}, "ana")
    assert "0 passed" in refused()
    library.record_run("hi", 1, digest, 2, 0, 0, {}, "ana")
    library.push([], author="ana", tests={"hi": "tests: [two]"})
    assert "changed since they were run" in refused()
    library.record_run("hi", 1, text_digest("tests: [two]"), 2, 0, 0, {}, "ana")
    assert labels.move(library, "hi", 1, "production", author="ana") == (0, 1)
    runs = library.runs("hi", 1)
    assert ([run.passed for run in runs], runs[-1].detail) == ([2, 2, 0, 1, 1], {"case": "one"})
    assert [run.ok for run in runs] == [True, True, False, False, False]


def test_an_approval_is_of_one_version_by_one_person(library):
    for text in (BODY, BODY + "!"):
        library.push([draft(text=text)], author="ana")
    review.protect(library, "production", approvals=2, tests=False, author="root")
    review.propose(library, "hi", 2, "production", author="ana")
    for who in ("berta", "Berta", " berta "):
        last = review.judge(library, "hi", 2, "approve", author=who)
    assert last.missing == ("1 approval by somebody other than ana missing",)
    assert review.judge(library, "hi", 2, "approve", author="carla").state == "ready"
    assert "2 approvals" in review.review_of(library, "hi", 1).missing[0]
    assert labels.move(library, "hi", 2, "production", author="ana") == (0, 2)
    assert review.waiting(library) == []
    with pytest.raises(PromptError, match="already"):
        review.propose(library, "hi", 2, "production", author="ana")


def test_rolling_back_obeys_protection_too(library):
    for text in (BODY, BODY + "!"):
        library.push([draft(text=text)], author="ana", label="production")
    review.protect(library, "production", approvals=1, tests=False, author="root")
    with pytest.raises(LabelProtected):
        labels.roll_back(library, "hi", "production", author="ana")
    review.judge(library, "hi", 1, "approve", author="berta")
    assert labels.roll_back(library, "hi", "production", author="ana") == (2, 1)


def test_a_later_proposal_takes_the_place_of_an_earlier_one(library):
    for text in (BODY, BODY + "!"):
        library.push([draft(text=text)], author="ana")
    review.propose(library, "hi", 1, "production", author="ana")
    review.propose(library, "hi", 2, "production", author="berta", why="shorter")
    (open_one,) = review.waiting(library)
    assert (open_one.number, open_one.proposed_by, open_one.why) == (2, "berta", "shorter")


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "_a", "a@b", "a b", "a\\b", "a\n", "x" * 201]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(PromptError, match="cannot name a prompt"):
        checked_name(name)


def test_names_are_one_however_their_accents_are_written():
    assert checked_name("atencio\u0301n/respuesta") == "atención/respuesta"
    assert reference("atencio\u0301n@3").name == "atención"


def test_there_is_no_library_until_something_is_pushed(tmp_path):
    with pytest.raises(NotFound, match="rag prompts push"):
        PromptLibrary.open(tmp_path, create=False)


# --- the doctor ---------------------------------------------------------------------------------


def findings(library: PromptLibrary) -> list[str]:
    return [one.message for one in doctor.findings(library.store.folder, Counter())]


def test_a_sound_library_is_found_sound_and_told_how_much_was_looked_at(library):
    parted = draft(text=BODY + '{% include "a.md" %}', parts={"a.md": "a"})
    library.push([parted, draft("other")], author="ana", label="production")
    library.push([draft()], author="ana", label="production")
    checked: Counter[str] = Counter()
    assert list(doctor.findings(library.store.folder, checked)) == []
    assert checked == {"library": 1, "versions": 3}
    assert list(doctor.findings(library.store.folder / "nowhere", checked)) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE texts SET text = 'evil'", "is not what its digest says"),
        ("UPDATE versions SET digest = 'd' WHERE number = 2", "hi@2 is not what its digest says"),
        (
            "UPDATE versions SET number = 3 WHERE number = 2; DELETE FROM labels",
            "version 3 stands where 2 should",
        ),
        ("DELETE FROM versions", "missing row"),
        ("UPDATE labels SET number = 1", "the log does not say so"),
    ],
)
def test_a_change_beneath_the_library_is_named(library, statement, told):
    library.push([draft()], author="ana")
    library.push([draft(text=BODY + "!")], author="ana", label="production")
    db = sqlite3.connect(library.store.database)
    for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {trigger}")
    db.executescript(statement)
    db.close()
    assert any(told in message for message in findings(library))


def test_a_file_that_is_no_database_is_told(library):
    library.close()
    library.store.database.write_bytes(b"broken" * 2000)
    assert any("library.db" in message for message in findings(library))
