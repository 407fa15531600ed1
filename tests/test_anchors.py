"""Judgements outlive every cut, every embedder and the edits of their documents; what is lost is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.catalogue import Catalogue
from ingest import job
from ingest.chunk import Chunker
from ingest.decide import texts_source
from rag.errors import EvaluationError
from rag.evaluate import JudgedSet, Judgement
from rag.evaluate.anchors import anchored, gold, locate, locate_all, mended, resolved
from rag.evaluate.evidence import Span, evidence
from rag.evaluate.judgements import quoted
from rag.evaluate.plainly import Plain
from rag.evaluate.sets import read_set
from rag.protocols import Space
from rag.testing import HashEmbedder
from rag.types import Document, Query

EXAMPLES = Path(__file__).parents[1] / "examples"
TEXT = """# Tarifas

El abono anual cuesta 48,00 €. El abono mensual cuesta 9,50 €.

Dejar la bicicleta **fuera de la zona** cuesta 25,00 €, y dejarla en una estación llena no cuesta nada.

# Multas

Circular por la acera cuesta 100 €. Circular sin luces de noche cuesta 80 €.
"""


def judgement(words: str, text: str = TEXT, nth: int = 0, **more: object) -> Judgement:
    """A judgement of the nth place of ``words``."""
    at = -1
    for _ in range(nth + 1):
        at = text.index(words, at + 1)
    return quoted("q", "d", text, at, at + len(words), **more)


def status(words: str, text: str, nth: int = 0) -> str:
    return locate(judgement(words, nth=nth), text).status


# --- one document -------------------------------------------------------------------------------


def test_the_same_words_in_the_same_place_are_intact():
    one = judgement("El abono mensual cuesta 9,50 €.")
    told = locate(one, TEXT + "\nMás.")
    assert (told.status, told.now, told.span) == ("intact", one, Span("d", one.start, one.start + 31))


@given(st.text(max_size=60), st.sampled_from(["El abono anual", "cuesta", "acera cuesta 100 €"]))
def test_words_that_were_pushed_down_are_found_with_their_surroundings(added, words):
    for nth in range(TEXT.count(words)):
        one = judgement(words, nth=nth, grade=2, judge="ana", at="2026-01-01", note="sure")
        told = locate(one, added + TEXT)
        assert told.span == Span("d", one.start + len(added), one.start + len(added) + len(words))
        assert told.now == quoted(
            *("q", "d", added + TEXT, told.span.start, told.span.end),
            **{"grade": 2, "judge": "ana", "at": "2026-01-01", "note": "sure"},
        )


@pytest.mark.parametrize(
    "changed",
    [
        TEXT.replace("**fuera de la zona**", "fuera de la zona"),
        TEXT.replace("la bicicleta **fuera", "la\nbicicleta  **fuera"),
        TEXT.replace("Dejar la bicicleta", "DEJAR LA BICICLETA"),
        TEXT.replace("bicicleta", "bici\u00adcleta"),
        TEXT.replace("25,00 €", "25,00\u00a0€"),
        TEXT.replace("**", "__"),
    ],
    ids=["emphasis", "white space", "capitals", "soft hyphen", "hard blank", "other marks"],
)
def test_words_that_are_only_written_otherwise_have_moved(changed):
    told = locate(judgement("Dejar la bicicleta **fuera de la zona** cuesta 25,00 €"), changed)
    assert told.status == "moved"
    there = changed[told.span.start : told.span.end]
    assert there.lower().startswith("dejar")
    assert there.endswith("€")
    assert told.now.quotation == there


@pytest.mark.parametrize(
    ("old", "new"),
    [("25,00", "26,00"), ("cuesta 25", "no cuesta 25"), ("bicicleta", "moto"), ("fuera de", "dentro de")],
)
def test_words_that_changed_are_lost_and_what_reads_most_alike_is_shown(old, new):
    changed = TEXT.replace(old, new)
    told = locate(judgement("Dejar la bicicleta **fuera de la zona** cuesta 25,00 €"), changed)
    assert (told.status, told.span, told.now) == ("lost", None, None)
    assert told.alike.startswith("Dejar la")
    assert 0.5 < told.likeness < 1


def test_a_figure_that_was_taken_out_is_not_found_beside_other_words():
    one = judgement("100 €")
    assert (
        locate(one, TEXT.replace("acera cuesta 100 €", "acera cuesta 120 €") + "\nUn casco: 100 €.").status
        == "lost"
    )
    assert locate(one, TEXT.replace("la acera cuesta", "la acera siempre cuesta")).status == "moved"
    bare = Judgement("q", "d", quotation="100 €", start=one.start)
    assert locate(bare, "Un casco: 100 €.").status == "moved", "nothing is known that speaks against it"


def test_a_figure_is_not_found_inside_another_one():
    text = "Hubo 308 puntos."
    one = quoted("q", "d", text, 5, 8)
    assert locate(one, "Hubo 1308 puntos.").status == "lost"
    assert locate(Judgement("q", "d", quotation="308", start=5), "Hubo 1308 puntos.").status == "lost"
    inside = quoted("q", "d", "abcdef", 2, 4)
    assert locate(inside, "x abcdef").span == Span("d", 4, 6)
    assert locate(quoted("q", "d", "贾里德擒杀", 1, 3), "在贾里德擒杀").span == Span("d", 2, 4)


def test_of_several_places_that_read_alike_the_nearest_is_taken():
    text = "Yes, we do. " * 5
    one = quoted("q", "d", text, 24, 35)
    assert locate(one, "Oh! " + text).span == Span("d", 28, 39)


def test_a_judgement_of_a_whole_document_is_intact_while_the_document_is_there():
    whole = Judgement("q", "d", 2)
    assert locate(whole, "anything").status == "intact"
    assert [each.status for each in locate_all([whole], {"e": "x"})] == ["lost"]


@given(st.text(alphabet="aé *_`“”’—\n\t\u00ad\u200bİ2", max_size=40))
def test_every_character_of_a_levelled_text_leads_back_to_its_own(text):
    plain = Plain.of(text)
    same = {"’": "'", "“": '"', "”": '"', "—": "-"}
    for at, character in enumerate(plain.text):
        there = text[plain.place(at)]
        assert same.get(there, there).lower() == character.lower() or (
            character == " " and (there.isspace() or there in "*_`\u00ad\u200b")
        )
    assert "  " not in plain.text
    assert (
        Plain.of(plain.text.replace("İ", "x")).text == plain.text.replace("İ", "x")
        or "*" in plain.text
        or "_" in plain.text
        or "`" in plain.text
    )


# --- documents that are gone --------------------------------------------------------------------

BREAD = "Knead the dough for ten minutes. Let it rest for an hour. Bake it at 220 degrees."


def test_what_was_quoted_from_a_renamed_document_moved_to_its_new_name():
    said = [
        quoted("q", "old", BREAD, 0, 32, judge="ana"),
        quoted("q", "old", BREAD, 69, 72),  # 220: too short to look for by itself
        Judgement("r", "old", 2),
    ]
    texts = {"new": "# Bread\n\n" + BREAD, "other": TEXT + " 220"}
    found = locate_all(said, texts)
    assert [each.status for each in found] == ["moved"] * 3
    assert [each.now.document_id for each in found] == ["new"] * 3
    assert found[1].span == Span("new", 78, 81)
    assert found[0].now.judge == "ana"
    assert found[2].why == "'old' is gone, and 'new' has what was quoted from it"


def test_what_stands_in_several_others_is_lost_and_says_where():
    [told] = locate_all([quoted("q", "old", BREAD, 0, 32)], {"a": BREAD, "b": BREAD, "c": TEXT})
    assert told.status == "lost"
    assert told.why == "'old' is gone; the words stand in 2 others, such as 'a' and 'b'"


def test_a_copy_does_not_keep_the_rest_of_a_document_from_being_found():
    said = [
        quoted("q", "old", BREAD, 0, 32),
        quoted("q", "old", BREAD, 33, 57),
        quoted("q", "old", BREAD, 58, 81),
    ]
    texts = {"new": BREAD, "copy": BREAD[:32]}
    assert [each.now.document_id for each in locate_all(said, texts)] == ["new"] * 3
    changed = {"new": BREAD.replace("ten", "five"), "copy": TEXT}
    lost, *moved = locate_all(said, changed)
    assert (lost.status, lost.alike) == ("lost", "Knead the dough for five minutes.")
    assert {each.status for each in moved} == {"moved"}


def test_documents_are_named_by_the_end_of_their_ids():
    texts = {"file:///kb/es/tea.md": TEXT, "file:///kb/en/tea.md": BREAD}
    one = Judgement("q", "es/tea.md", quotation="El abono anual")
    [told] = locate_all([one], texts)
    assert (told.status, told.span, told.now) == ("intact", Span("file:///kb/es/tea.md", 11, 25), one)
    [told] = locate_all([Judgement("q", "tea.md")], texts)
    assert (told.status, told.why[:27]) == ("lost", "'tea.md' may be any of file")
    judged = JudgedSet.of("set", [Query("q", "?")], [one, Judgement("q", "gone.md")])
    heard: list[tuple[int, str]] = []
    whole = resolved(judged, texts, tell=lambda *told: heard.append(told))
    assert whole.qrels == {"q": {"file:///kb/es/tea.md": 1, "gone.md": 1}}
    assert heard == [(1, "gone.md")]
    with pytest.raises(EvaluationError, match="may be any of"):
        resolved(JudgedSet.of("set", [Query("q", "?")], [Judgement("q", "tea.md")]), texts)
    with pytest.raises(EvaluationError, match="none of its 1 judged documents"):
        resolved(JudgedSet.of("set", [Query("q", "?")], [Judgement("q", "x")]), texts)


# --- sets ---------------------------------------------------------------------------------------


def test_gold_are_the_places_of_the_words_quoted_from_relevant_documents():
    said = [
        judgement("El abono anual"),
        judgement("cuesta 100 €", judge="ana"),
        judgement("El abono mensual", grade=0),
        Judgement("q", "d", quotation="not there at all"),
        Judgement("r", "d"),
    ]
    judged = JudgedSet.of("set", [Query("q", "?"), Query("r", "?")], said)
    found = gold(judged, {"d": TEXT})
    assert {TEXT[start:end] for _, start, end in found["q"]} == {"El abono anual", "cuesta 100 €"}
    assert set(found) == {"q"}
    with pytest.raises(EvaluationError, match="none of its 3 quotations stands in these documents"):
        gold(judged, {"d": BREAD})
    assert gold(JudgedSet.of("set", [Query("r", "?")], said), {"d": TEXT}) == {}


def test_what_is_mended_is_intact_and_counts_once():
    said = [judgement("El abono anual", grade=2, judge="ana"), judgement("cuesta 100 €", judge="leo")]
    said += [quoted("q", "old", BREAD, 0, 32), Judgement("q", "old", 3)]
    texts = {"d": "Nuevo.\n\n" + TEXT, "new": BREAD}
    added = mended(locate_all(said, texts))
    after = JudgedSet.of("set", [Query("q", "?")], [*said, *added])
    assert {each.status for each in locate_all(after.judgements, texts)} == {"intact"}
    assert [(each.grade, each.judge) for each in after.judgements] == [
        (2, "ana"),
        (1, "leo"),
        (1, ""),
        (3, ""),
    ]
    assert after.qrels == {"q": {"d": 1, "new": 3}}
    assert gold(after, texts) == gold(JudgedSet.of("set", [Query("q", "?")], said), texts)


def test_bare_quotations_are_given_their_places_and_surroundings():
    bare = Judgement("q", "d", quotation="cuesta 100 €", judge="ana")
    other, whole = Judgement("q", "d", quotation="gone"), Judgement("q", "d")
    assert anchored([bare, other, whole], {"d": TEXT}) == [
        judgement("cuesta 100 €", judge="ana"),
        other,
        whole,
    ]


def test_the_evidence_of_the_sample_stands_in_its_documents():
    judged = read_set(EXAMPLES / "questions.jsonl")
    knowledge = EXAMPLES / "knowledge"
    texts = {
        f"file:///somewhere/knowledge/{path.relative_to(knowledge)}": path.read_text("utf-8")
        for path in sorted(knowledge.rglob("*.md"))
    }
    mine = [each for each in judged.judgements if each.document_id.endswith(".md")]
    assert len(mine) > 20
    assert {each.status for each in locate_all(mine, texts)} == {"intact"}


# --- through the real ingest --------------------------------------------------------------------


def test_judgements_survive_another_cut_another_embedder_and_an_edit(tmp_path):
    judged = JudgedSet.of(
        "set",
        [Query("q", "What does the pavement cost?")],
        [judgement("Circular por la acera cuesta 100 €.")],
    )
    edited = TEXT.replace("# Tarifas", "# Tarifas de 2027\n\nEstas tarifas son nuevas.").replace(
        "luces", "frenos"
    )
    with Catalogue.open(tmp_path, create=True) as catalogue:
        cuts = []
        for text, tokens, seed in ((TEXT, 60, 0), (TEXT, 20, 0), (TEXT, 20, 1), (edited, 30, 1)):
            embedder = HashEmbedder(seed=seed)
            chunker = Chunker(embedder.tokenizer, max_tokens=64, target_tokens=tokens, tokenizer_name="words")
            space = Space(chunker.fingerprint, embedder.info)
            with catalogue.writer("docs", space) as writer:
                source = texts_source([Document("d", text)])
                job.run([source], writer, space=space, chunker=chunker, embedder=embedder)
            stored = {
                info.id: catalogue.document("docs", info.id).text for info in catalogue.documents("docs")
            }
            [told] = locate_all(judged.judgements, stored)
            assert told.status == ("intact" if text == TEXT else "moved")
            spans = gold(judged, stored)["q"]
            assert [stored["d"][start:end] for _, start, end in spans] == [
                "Circular por la acera cuesta 100 €."
            ]
            chunks = catalogue.chunks("docs", "d")
            cuts.append([(chunk.start, chunk.end) for chunk in chunks])
            holding = [Span("d", chunk.start, chunk.end) for chunk in chunks if "acera" in chunk.text]
            assert evidence(spans, holding).recall == 1.0
        assert cuts[0] != cuts[1]


def test_thousands_of_judgements_on_a_hundred_long_documents_take_about_a_second():
    texts = {
        f"d{n}": "\n\n".join(
            f"Line {k} of {n} says that {k * n % 97} is the sum of {k * k}." for k in range(900)
        )
        for n in range(100)
    }
    said = []
    for n in range(100):
        text = texts[f"d{n}"]
        for k in range(0, 900, 30):
            start = text.index(f"Line {k} of {n} ")
            said.append(quoted("q", f"d{n}", text, start, text.index("\n\n", start)))
    changed = {
        id if int(id[1:]) % 10 else f"{id}.renamed": text.replace("says that", "says  that", 400)
        for id, text in texts.items()
    }
    started = time.process_time()
    found = locate_all(said, changed)
    took = time.process_time() - started
    assert len(found) == 3000
    assert {each.status for each in found} == {"moved"}
    assert took < 6, "about one second where nothing else runs"
