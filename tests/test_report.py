"""Reports agree with the runs, show what comes from outside as text, and are the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from rag.errors import EvaluationError, ModelError
from rag.evaluate import Evaluation, Found, JudgedSet, Judgement, Run, compare, evaluate
from rag.evaluate.evidence import Span
from rag.evaluate.report import Report, html, markdown, overview, report
from rag.evaluate.report.drawing import THEME
from rag.evaluate.report.telling import sentence
from rag.types import Document, Query

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y> `a|b` @all $\\frac{ {{ 7*7 }} --> \u202egnp\x00"
ANSWERABLE, WITHOUT, FEW = 40, 12, 4
ROOT = Path(__file__).resolve().parent.parent


def asked() -> JudgedSet:
    questions = [
        Query(
            f"q{n:02}",
            HOSTILE if n == 3 else f"¿Cuánto cuesta el billete {n}?" if n % 2 else f"How much is ticket {n}?",
            metadata={
                "language": "es" if n % 2 else "en",
                "kind": "rare" if n < FEW else "price" if n % 3 else "a $ | <b>",
            },
        )
        for n in range(ANSWERABLE)
    ]
    judgements = [
        Judgement(query.id, f"doc{n}.{'pdf' if n % 3 else 'md'}", 1 + n % 2, quotation=HOSTILE, start=4)
        for n, query in enumerate(questions)
    ]
    none = [Query(f"n{n:02}", f"Who is {n}?") for n in range(WITHOUT)]
    texts = [
        Document(each.document_id, f"The {HOSTILE} stands here.", title=f"Title {HOSTILE}")
        for each in judgements
    ]
    return JudgedSet.of("tickets", questions, judgements, unanswerable=none, corpus=lambda: iter(texts))


def system(judged: JudgedSet, skill: int, *, fails: str = ""):
    """Ranks the answer ``n % skill`` places below the top, n the question's number."""

    def ask(query: Query) -> Found:
        if query.id == fails:
            raise ModelError(f"no answer in 30 s: {HOSTILE}")
        n = int(query.id[1:])
        others = [f"other{n}-{place}.md" for place in range(12)]
        others.insert((n * 7) % skill, next(iter(judged.qrels.get(query.id, {"nothing.md": 0}))))
        spans = (Span(others[0], 0, 30),)
        strength = float(n % 10 + (skill < 5) - 4 * (query.id[0] == "n"))
        ranking = [(document, float(-place)) for place, document in enumerate(others)]
        return Found(ranking, {1000: spans}, {"tokens": 100.0 + skill}, strength)

    return ask


def runs() -> list[Evaluation]:
    judged = asked()
    found = evaluate(
        {"old": system(judged, 9), "new": system(judged, 2), "newer": system(judged, 3, fails="q07")},
        judged.queries,
        judged.qrels,
        measures=["nDCG@10", "RR@10", "Judged@10"],
        unanswerable=judged.unanswerable,
    )
    return [
        replace(
            one,
            set_name=judged.name,
            set_digest=judged.digest,
            at=f"2026-03-02T10:2{place}:00+00:00",
            id=place + 7,
            costs={"cpu_ms": {"q01": 2.5 + place}, "tokens": one.costs["tokens"]},
            facts={"index_bytes": 1e6 * (1 + place)},
            settings={"retrieval": {"mode": one.system, "k": 10}, "note": HOSTILE},
        )
        for place, one in enumerate(found)
    ]


@pytest.fixture(scope="module")
def made() -> Report:
    return report(runs(), margin=0.01, judged=asked())


@pytest.fixture(scope="module")
def page(made: Report) -> str:
    return html(made)


class Elements(HTMLParser):
    """Every element with its attributes, every id, and the text outside of styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


# --- what it says -------------------------------------------------------------------------------


def test_verdicts_are_those_of_compare_over_the_same_measures(made):
    values = {one.system: one.by_query for one in runs()}
    measures = ["nDCG@10", "RR@10", "FalseAnswers"]
    assert made.tested == tuple(measures)  # Judged@10 describes, and is no aim
    assert made.comparisons == compare(values, baseline="old", measures=measures, margin=0.01)
    assert made.of("new", "nDCG@10").verdict == "better"
    assert made.of("new", "Judged@10") is None
    assert made.cells["nDCG@10"]["new"].mean == pytest.approx(runs()[1].scores["nDCG@10"])


def test_baseline_is_named_by_system_or_number_and_unknown_ones_are_told_what_there_is():
    assert report(runs(), baseline="new").candidates == ("old", "newer")
    assert report(runs(), baseline="9").baseline == "newer"
    with pytest.raises(EvaluationError, match=r"no run 'best' .* 7 \(old\), 8 \(new\), 9 \(newer\)"):
        report(runs(), baseline="best")
    with pytest.raises(EvaluationError, match=r"no measure 'AP' that all runs have; there are nDCG@10"):
        report(runs(), measures=["AP"])


def test_runs_judged_otherwise_are_refused_by_name():
    old, new, _ = runs()
    with pytest.raises(EvaluationError, match=r"run 7 \(old\) and run 8 \(new\) were judged differently"):
        report([old, replace(new, set_digest="0" * 64)])
    with pytest.raises(
        EvaluationError, match=r"run 7 \(old\) is of the set 'tickets', run 8 \(new\) of 'faq'"
    ):
        report([old, replace(new, set_name="faq", set_digest="0" * 64)])
    with pytest.raises(EvaluationError, match=r"run 7 \(old\) is named twice"):
        report([old, old])
    with pytest.raises(EvaluationError, match="no runs to report"):
        report([])


def test_two_runs_of_one_system_are_told_apart_by_their_numbers():
    old, new, _ = runs()
    again = replace(new, run=Run("old", new.run.results))
    assert report([old, again]).systems == ("old (7)", "old (8)")


def test_a_cost_that_is_asked_for_gets_a_verdict_of_its_own(made):
    found = report(runs()[:2], measures=["tokens"])
    assert [(each.measure, each.verdict) for each in found.comparisons] == [("tokens", "better")]
    assert found.moved["new"].lower_is_better
    assert found.moved["new"].gained == ANSWERABLE + WITHOUT


def test_groups_are_compared_together_and_small_ones_are_said_to_be_too_few(made):
    by_name = {(group.key, group.value): group for group in made.groups}
    assert by_name["kind", "rare"].too_few
    assert by_name["language", "es"].questions == ANSWERABLE // 2 - 1  # one failed
    assert ("document type", "pdf") in by_name
    compared = [one for group in made.groups for one in group.comparisons.values()]
    assert len(compared) == 2 * sum(not group.too_few for group in made.groups)
    smallest = min(compared, key=lambda one: one.p)
    assert smallest.p_holm == pytest.approx(min(1, smallest.p * len(compared)))


def test_curve_counts_what_each_threshold_lets_through(made):
    for curve, one in zip(made.curves, runs(), strict=True):
        having = [one.strengths[query] for query in one.by_query["nDCG@10"]]
        without = [one.strengths[f"n{n:02}"] for n in range(WITHOUT)]
        slow = {
            (sum(s >= t for s in having) / len(having), sum(s >= t for s in without) / WITHOUT)
            for t in (*having, *without)
        }
        assert {(round(x, 9), round(y, 9)) for x, y in curve.points[1:]} == {
            (round(x, 9), round(y, 9)) for x, y in slow
        }
        assert curve.false_answers.value == pytest.approx(one.scores["FalseAnswers"])


def test_moved_questions_come_with_both_rankings_grades_titles_and_quotations(made):
    moved = made.moved["new"]
    assert list(moved.differences) == sorted(moved.differences, reverse=True)
    assert moved.gained + moved.lost <= ANSWERABLE
    first = moved.questions[0]
    assert first.difference == max(moved.differences)
    assert first.after.first_relevant < first.before.first_relevant
    assert first.after.documents[0].grade in (1, 2)
    assert first.after.documents[0].title.startswith("Title")
    assert first.after.documents[0].passage.startswith("The <script>")
    assert first.quotations
    assert first.before.documents[0].grade is None


def test_judgements_that_changed_since_are_not_shown(made):
    changed = JudgedSet.of("tickets", asked().queries, [Judgement("q01", "doc1.pdf")])
    found = report(runs()[:2], judged=changed)
    assert found.judged is None
    assert found.moved["new"].questions[0].after.documents[0].grade is None
    assert found.moved["new"].questions[0].after.first_relevant is None


def test_sentences_say_what_the_figures_say(made):
    better = made.of("new", "nDCG@10")
    assert sentence(better).startswith(
        f"new is better than old in nDCG@10: {better.candidate_mean:.3f} against"
    )
    unsure = replace(better, verdict="cannot tell", more_queries=1200)
    assert sentence(unsure).startswith("It cannot be told whether new is better or worse than old in nDCG@10")
    assert sentence(unsure).endswith("on; about 1,200 more would tell.")
    same = replace(better, verdict="equivalent", low=0.0, high=0.0)
    assert "give the same nDCG@10" in sentence(same)
    alike = replace(better, verdict="equivalent", margin=0.02)
    assert "lies within the margin of 0.02" in sentence(alike)


# --- the page -----------------------------------------------------------------------------------


def test_page_shows_what_comes_from_outside_as_text_only(page):
    elements = Elements(page)
    assert (
        Counter(tag for tag, _ in elements.tags)
        .keys()
        .isdisjoint(
            {
                "script",
                "img",
                "iframe",
                "object",
                "embed",
                "link",
                "form",
                "base",
                "audio",
                "video",
                "foreignobject",
            }
        )
    )
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert elements.text.count("<script>alert(1)</script>\"'><img src=x onerror=y>") >= 4
    assert "{{ 7*7 }}" in elements.text
    assert "49" not in re.findall(r"\{\{|\}\}|\b49\b", elements.text)
    assert not set("\x00\u202e") & set(page)


def test_page_asks_for_nothing_and_forbids_it(page):
    elements = Elements(page)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in elements.values("content")[0]
    links = elements.values("href") + elements.values("xlink:href")
    assert links
    assert not [link for link in links if not link.startswith("#")]
    assert elements.values("src") == []
    assert not re.search(r"@import|url\((?!#)", page)
    addresses = set(re.findall(r"https?://[^\"' ]+", page))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not requests


def test_page_leads_from_every_reference_to_one_place(page):
    elements = Elements(page)
    ids = Counter(elements.values("id"))
    assert max(ids.values()) == 1
    wanted = [name for value in elements.values("aria-labelledby") for name in value.split()]
    wanted += [value[1:] for value in elements.values("href") + elements.values("xlink:href")]
    wanted += re.findall(r"url\(#([^)]+)\)", page)
    assert set(wanted) <= set(ids)


def test_page_tells_every_picture_in_words_and_every_column_its_heading(page):
    elements = Elements(page)
    tags = Counter(tag for tag, _ in elements.tags)
    assert tags["svg"] == tags["title"] - 1 == tags["desc"] > 10
    scopes = [attributes.get("scope") for tag, attributes in elements.tags if tag == "th"]
    assert set(scopes) == {"col", "row", "rowgroup"}
    assert '<html lang="en">' in page
    assert 'lang="es"' in page


def test_page_says_the_verdict_before_any_figure(page, made):
    text = Elements(page).text
    assert text.index("new is better than old in nDCG@10") < text.index("Measures by system")
    assert "too few to compare" in text
    assert "no answer in 30 s" in text
    assert "rag eval report 7 8 9 --baseline 7 --margin 0.01" in text


def test_every_colour_stands_out_light_and_dark():
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for column in (0, 1):
        papers = [light(THEME[name][column]) for name in ("paper", "band")]
        for name, colours in THEME.items():
            if name in ("paper", "band", "grid"):
                continue
            for paper in papers:
                high, low = sorted((light(colours[column]), paper), reverse=True)
                wanted = 4.5 if name in ("ink", "muted", "up", "down") else 3  # text, graphics (WCAG 2.2)
                assert (high + 0.05) / (low + 0.05) >= wanted, (name, column)


def test_one_run_alone_is_shown_and_compared_with_nothing():
    alone = report(runs()[:1])
    text = Elements(html(alone)).text
    assert "compared with nothing" in text
    assert "Differences to" not in text
    assert alone.comparisons == ()
    assert markdown(alone).startswith("# `old` on `tickets`")
    assert overview(alone).startswith(b"\x89PNG")


def test_a_run_in_which_everything_failed_is_still_reported():
    judged = asked()

    def broken(query: Query) -> Found:
        raise ModelError("unreachable")

    found = evaluate(
        {"works": system(judged, 2), "broken": broken}, judged.queries, judged.qrels, measures=["RR@10"]
    )
    made = report(found)
    assert made.comparisons == ()
    assert "have no measure in common" in html(made)
    assert "| `broken` | 40 | `unreachable` |" in markdown(made)
    assert overview(made).startswith(b"\x89PNG")


# --- Markdown, and the same bytes ------------------------------------------------------------------


def test_markdown_keeps_what_comes_from_outside_in_code(made):
    text = markdown(made)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    for sign in ("<script", "<img", "@all", "{{", "\u202e", "\x00"):
        assert sign not in outside
    assert "<script>alert(1)</script>" in text


def test_markdown_tables_have_as_many_cells_in_every_row(made):
    blocks = re.findall(r"(?:^\|.*\n)+", markdown(made), re.MULTILINE)
    assert len(blocks) >= 7
    for block in blocks:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block


def digests(runs: list[Evaluation]) -> str:
    """Of the page and of the picture."""
    made = report(runs, measures=["RR@10"])
    return " ".join(hashlib.sha256(each).hexdigest() for each in (html(made).encode(), overview(made)))


def test_the_same_runs_give_the_same_bytes_in_any_process():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_report import digests, runs;"
        "print(digests(runs()[:2]))"
    )
    here = digests(runs()[:2])
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    assert done.stdout.strip() == here


# --- rag eval report -----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs as `rag eval export` writes them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for one in runs()[:2]:
        Path(f"{one.system}.json").write_text(json.dumps(one.as_json()), "utf-8")
    return ["old.json", "new.json"]


def rag(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["eval", "report", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_command_writes_what_the_file_is_named_after(files):
    assert rag(*files, "--measure", "RR@10", "--to", "out/report.html").startswith(
        "out/report.html: 2 runs, "
    )
    assert "<!DOCTYPE html>" in Path("out/report.html").read_text("utf-8")
    rag(*files, "--to", "out/plot.png")
    assert Path("out/plot.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(rag(*files, "--to", "notes.txt", "--format", "md", "--json", "--measure", "RR@10"))
    assert (told["file"], told["format"], len(told["comparisons"])) == ("notes.txt", "md", 1)
    assert Path("notes.txt").read_text("utf-8").startswith("# `old` and `new` on `tickets`")


def test_command_prints_markdown_without_a_file_and_takes_any_run_as_the_baseline(files):
    assert rag(*files, "--baseline", "new.json").startswith("# `new` and `old` on `tickets`")


def test_command_refuses_what_it_cannot_do_in_one_line(files):
    assert (
        rag(*files, "--to", "x.pdf", code=2)
        == "Error: x.pdf: end it with .html, .md or .png, or say --format\n"
    )
    assert "there are html, md and png" in rag(*files, "--format", "docx", code=2)
    assert "is a folder: name a file in it" in rag(*files, "--to", ".", "--format", "html", code=2)
    assert rag("old.json", "nothing", code=2).startswith("Error: ")
