"""Groundedness without a model: what an answer claims, and whether the passages shown say it."""

from __future__ import annotations

import pytest

from rag.context import Context
from rag.evaluate.claims import claims
from rag.evaluate.facts import facts
from rag.evaluate.grounded import SUPPORTED, Groundedness, grounded
from rag.prompts.testing.runs import given_context
from rag.prompts.testing.suite import Given
from rag.testing import HashEmbedder

SHOP = Given(
    "The shop in Calle Mayor opens at nine in the morning and closes at 20:00. Returns are not free: each "
    "costs 4 euros. Ana Ruiz founded it in March 1985. It sells more than 1,200 kinds of tea.",
    "The shop",
)
TIENDA = Given(
    "La tienda de la calle Mayor abre a las nueve de la mañana. Las devoluciones no son gratuitas. La fundó "
    "Ana Ruiz en marzo de 1985. Vende más de 1.200 clases de té.",
    "La tienda",
)
OTHER = Given("The library lends books for 21 days. Fines are 10 cents a day.", "The library")


def context(*given: Given) -> Context:
    return given_context(given, budget=10_000)


def seen(answer: str, *given: Given, **more: tuple[str, ...]) -> Groundedness:
    return grounded(answer, context(*(given or (SHOP, OTHER))), embedder=HashEmbedder(), **more)


def held(answer: str, *given: Given) -> list[bool]:
    return [one.support >= SUPPORTED for one in seen(answer, *given).sentences]


# --- claims ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            "It opens at nine [1]. It costs four euros.",
            [("It opens at nine.", (1,)), ("It costs four euros.", ())],
        ),
        ("It opens at nine. [1] It costs four euros. [2][3]", [(None, (1,)), (None, (2, 3))]),
        ("[1] says it opens at nine. [2] says it closes.", [(None, (1,)), (None, (2,))]),
        ("“The shop opens at nine.” [1]\n\n“Returns cost money.” [2]", [(None, (1,)), (None, (2,))]),
        ("- Opens at nine [1]\n- Closes at eight [2]", [("Opens at nine", (1,)), ("Closes at eight", (2,))]),
        ("Hello! What else? I could not find this in the knowledge base.", []),
        ("# Opening hours\n\n```\nopens at nine\n```\n", []),
        ("", []),
    ],
)
def test_claims_are_cut_with_the_citations_that_are_theirs(answer, found):
    made = claims(answer)
    assert [one.cited for one in made] == [cited for _, cited in found]
    assert all(text is None or one.text == text for one, (text, _) in zip(made, found, strict=True))
    assert all(0 <= one.start < one.end <= len(answer) for one in made)


def test_the_prompts_own_words_for_nothing_found_claim_nothing():
    assert claims("The documents hold nothing about it.", not_found=["hold nothing about it"]) == []


# --- facts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language", "values"),
    [
        ("twenty-five people, two hundred and six cats", "en", [{25}, {206}]),
        ("dos mil quinientos euros y veintidós céntimos", "es", [{2500}, {22}]),
        ("at 9:00 or 8 pm", "en", [{9}, {8, 20}]),
        ("2.5 million in 1990-2020", "en", [{2.5e6}, {1990}, {2020}]),
        ("1,5 mil millones", "es", [{1.5e9}]),
        ("1.200 or 1,200,000.50 or 0.125", "en", [{1200, 1.2}, {1200000.5}, {0.125}]),
        ("el siglo XIX, Juan Carlos I", "es", [{19}]),
        ("one of them went once to B12", "en", []),
    ],
)
def test_numbers_are_read_in_digits_words_and_roman_numerals(text, language, values):
    assert [set(one.readings) for one in facts(text, language=language).numbers] == values


def test_negation_reaches_the_words_behind_it_and_stops_at_the_clause():
    told = facts("The fee isn't refundable, but the deposit is not only safe.", language="en")
    assert told.negated == {"refund"}
    assert {"fee", "deposit", "safe"} <= told.affirmed


# --- support ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "The shop opens at 9 in the morning.",
        "Ana Ruiz founded the shop in Calle Mayor in March of 1985.",
        "Returns cost 4 euros each; they are not free.",
        "The shop sells more than 1200 kinds of tea.",
    ],
)
def test_what_the_passage_says_in_about_its_words_is_supported(answer):
    assert all(held(answer))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("The shop opens at ten in the morning.", "ten is not in the passage"),
        ("Ana Ruiz founded it in May 1985.", "month 5 is not in the passage"),
        ("Ana López founded it in March 1985.", "López is not in the passage"),
        ("Returns are free.", "“free” is negated in one and not in the other"),
        ("The shop does not open at nine in the morning.", "is negated in one and not in the other"),
        ("It sells less than 1,200 kinds of tea.", "one of them says the opposite by a direction"),
        ("Returns cost 1985 euros each.", "1985 is not in these sentences, but elsewhere in the passage"),
    ],
)
def test_one_changed_fact_makes_a_claim_unsupported_and_is_named(answer, why):
    (one,) = seen(answer).sentences
    assert one.support < SUPPORTED
    assert why in one.why


def test_a_number_of_the_same_sentence_that_is_another_things_is_seen():
    text = "Ana Ruiz founded the shop in 1985, and Leo Gil of Bilbao took over its three branches in 2004."
    (one,) = seen("Ana Ruiz founded the shop in 2004.", Given(text, "The shop")).sentences
    assert one.support < SUPPORTED
    assert one.why == "2004: beside other words there"


def test_spanish_is_held_against_spanish_alike():
    assert held("La tienda abre a las 9 de la mañana. Vende más de 1200 clases de té.", TIENDA) == [
        True,
        True,
    ]
    wrong = (
        "La tienda abre a las diez de la mañana. Las devoluciones son gratuitas. La fundó Ana Ruiz en mayo."
    )
    assert held(wrong, TIENDA) == [False, False, False]


def test_a_claim_too_short_to_tell_its_language_is_read_in_the_passages():
    passage = Given("Gift cards expire after two years.", "Gifts")
    assert seen("Gift cards never expire.", passage).unsupported[0].why.startswith("“expire” is negated")
    assert held("Gift cards expire in two years.", passage) == [True]


def test_another_language_is_held_by_vectors_numbers_and_months():
    (one,) = seen("The shop in calle Mayor sells more than 1,300 kinds of tea.", TIENDA).sentences
    assert "1,300 is not in the passage" in one.why
    (one,) = seen("Ana Ruiz founded the shop in March 1985.", TIENDA).sentences
    assert "not in the passage" not in one.why


def test_what_the_passages_do_not_speak_of_is_unsupported():
    assert held("The moon is made of rock and dust.") == [False]
    assert held("The shop opens at nine in the morning.", OTHER) == [False]


def test_the_quotation_is_a_part_of_the_passage_that_it_names():
    shown = context(SHOP, OTHER)
    for one in grounded(
        "Books are lent for 21 days. It opens at nine.", shown, embedder=HashEmbedder()
    ).sentences:
        assert one.quotation
        assert one.quotation in shown.passages[one.passage - 1].text


def test_nothing_shown_supports_nothing():
    (one,) = grounded("It opens at nine.", context(), embedder=HashEmbedder()).sentences
    assert (one.support, one.passage, one.quotation, one.why) == (0.0, 0, "", "no passage was shown")


# --- citations, as ALCE counts them ----------------------------------------------------------------


def test_citation_recall_is_the_share_of_claims_that_their_citations_support():
    told = seen(
        "The shop opens at nine in the morning [1]. Fines are 10 cents a day [1]. It sells tea of all kinds."
    )
    assert told.citation_recall == pytest.approx(1 / 3)
    assert told.supported >= 2


def test_citation_precision_counts_a_passage_that_adds_nothing_against_it():
    told = seen("The shop opens at nine in the morning [1][2].")
    assert told.citation_recall == 1.0
    assert told.citation_precision == 0.5


def test_two_passages_that_are_needed_together_are_both_precise():
    answer = "The shop sells 1,200 kinds of tea and the library lends books for 21 days [1][2]."
    told = seen(answer)
    assert (told.citation_recall, told.citation_precision) == (1.0, 1.0)


def test_a_citation_of_a_passage_that_is_not_there_is_unknown_and_not_precise():
    told = seen("The shop opens at nine in the morning [7].")
    assert told.unknown_citations == (7,)
    assert (told.citation_recall, told.citation_precision) == (0.0, 0.0)
    assert told.share == 1.0


def test_an_answer_that_claims_nothing_has_no_shares():
    told = seen("I could not find this in the knowledge base.")
    assert (told.share, told.citation_recall, told.citation_precision) == (None, None, None)
    assert told.as_json()["claims"] == 0
