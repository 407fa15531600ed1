"""A question's words: what they weigh over several indexes, the bound of its scores, mistyped words."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.lexical import LexicalIndex
from indexes.question import ask
from indexes.spelling import is_plain, one_edit_away

WORDS = ["apple", "train", "river", "stone", "cloud", "piano", "tiger", "lemon"]


def index_of(rows):
    """An index in memory of (key, text, language) rows."""
    return LexicalIndex.in_memory((key, "", text, language) for key, text, language in rows)


def found(index, text, k=5):
    return index.search(ask(text, [index]), k=k)[0].tolist()


def test_words_weigh_in_several_indexes_what_they_weigh_in_one_of_all_texts():
    old, new = [(key, "river " * (key % 3) + "stone", "en") for key in range(40)], [(99, "river new", "en")]
    whole, parts = index_of(old + new), [index_of(old), index_of(new)]
    for text in ("river", "new stone", "apple river"):
        alone, together = ask(text, [whole]), ask(text, parts)
        assert dict(together.rarity) == dict(alone.rarity)
        assert together.bound == alone.bound


@given(st.lists(st.sampled_from([*WORDS, "zebra", "HTTP_404", "Ríos"]), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_text_scores_more_than_the_bound_of_its_question(words):
    text = " ".join(words)
    rows = [(key, text * 40, language) for key, language in enumerate(["en", "es", "", "en"])]
    index = LexicalIndex.in_memory((key, text, body, language) for key, body, language in rows)
    question = ask(text, [index])
    assert 0 < index.search(question, k=1)[1][0] <= question.bound


def test_words_that_no_text_holds_raise_the_bound_most():
    index = index_of([(key, f"river {word}", "en") for key, word in enumerate(WORDS)])
    common, rare, unknown = (ask(word, [index]) for word in ("river", "tiger", "zebra"))
    assert common.bound < rare.bound < unknown.bound
    assert not unknown.rarity
    both = ask("tiger zebra", [index])
    assert both.bound == pytest.approx(rare.bound + unknown.bound)
    assert both.rarity == rare.rarity


def test_the_bound_of_a_word_is_counted_once_in_an_index_of_many_languages():
    index = index_of([(1, "el radar", "es"), (2, "the radar", "en"), (3, "le radar", "fr")])
    alone = index_of([(key, "radar", "en") for key in range(3)])
    assert ask("radar", [index]).bound == pytest.approx(ask("radar", [alone]).bound)


def edits(one, other):
    """Damerau's distance (optimal string alignment), by the textbook's table."""
    rows = {(i, -1): i + 1 for i in range(-1, len(one))} | {(-1, j): j + 1 for j in range(-1, len(other))}
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            rows[i, j] = min(rows[i - 1, j] + 1, rows[i, j - 1] + 1, rows[i - 1, j - 1] + (a != b))
            if i and j and a == other[j - 1] and one[i - 1] == b:
                rows[i, j] = min(rows[i, j], rows[i - 2, j - 2] + 1)
    return rows[len(one) - 1, len(other) - 1]


def slip(word, chance):
    """``word`` with one random edit."""
    at, letter = chance.randrange(len(word)), chance.choice("abcdefghijklmnopqrstuvwxyz")
    head, tail = word[:at], word[at:]
    swapped = head + tail[1:2] + tail[0] + tail[2:]
    return chance.choice([head + tail[1:], head + letter + tail, head + letter + tail[1:], swapped])


@given(st.text("abcdeñ", min_size=5, max_size=8))
@settings(max_examples=30, deadline=None)
def test_spellings_one_edit_away_are_those_and_each_once(word):
    spellings = one_edit_away(word)
    assert len(spellings) == len(set(spellings))
    assert {edits(word, spelling) for spelling in spellings} == {1}


def test_no_spelling_one_edit_away_is_missed():
    chance = random.Random(5)
    for word in ("tiger", "constitucion", "москва", "αθηνα"):
        letters = "abcdefghijklmnopqrstuvwxyzñ" if word.isascii() else word
        slips = [
            word[:at] + letter + word[at + cut :]
            for at in range(len(word))
            for letter in letters
            for cut in (0, 1)
        ]
        slips += [slip(word, chance) for _ in range(100)] if word.isascii() else []
        assert set(slips) - {word} <= set(one_edit_away(word))


@pytest.mark.parametrize(
    ("text", "language", "query"),
    [
        ("the tiger sleeps", "en", "tigre"),
        ("the University of Oslo", "en", "universiyt"),
        ("running engines", "en", "enginse"),
        ("La Constitución española", "es", "constitusion"),
        ("La Constitución española", "es", "Cosntitución"),
        ("un murciélago", "es", "murcielgo"),
        ("Москва", "ru", "Мосвка"),
        ("Malkovich", "", "Malkovitch"),
    ],
)
def test_a_mistyped_word_finds_what_was_meant(text, language, query):
    assert found(index_of([(1, text, language), (2, "zzz", "en")]), query) == [1]


def test_a_word_that_some_text_holds_is_never_mended():
    index = index_of([(1, "the stone bridge", "en"), *((key, "a stove", "en") for key in range(2, 9))])
    assert found(index, "stone") == [1]
    elsewhere = [index, index_of([(20, "a storm and stork", "en")])]
    assert list(ask("stork", elsewhere).rarity) == ["en:stork"]
    assert found(index, "storm stone") == [1]


def test_of_several_words_one_edit_away_the_commonest_is_taken():
    rows = [(1, "a stone", "en"), (2, "a stone", "en"), (3, "a stove", "en")]
    assert found(index_of(rows), "stoje") == [1, 2]


def test_a_mended_word_weighs_as_the_word_it_is_taken_for_but_counts_in_the_bound_as_unknown():
    index = index_of([(key, f"river {word}", "en") for key, word in enumerate(WORDS)])
    assert ask("tigre", [index]).rarity == ask("tiger", [index]).rarity
    assert ask("tigre", [index]).bound == ask("zebra", [index]).bound > ask("tiger", [index]).bound


@pytest.mark.parametrize(
    "word", ["HTTP_405", "BOE-152", "39/2016", "v1.2.4", "19845", "tige", "response_modle"]
)
def test_numbers_identifiers_and_short_words_are_taken_as_they_are(word):
    index = index_of([(1, "19844 tiger model htpp", "en")])
    assert found(index, word) == []


def test_a_question_of_nothing_but_unknown_words_asks_for_a_bounded_number_of_spellings():
    class Counting(LexicalIndex):
        asked = 0

        def texts_with(self, terms):
            type(self).asked += len(terms)
            return super().texts_with(terms)

    index = Counting.in_memory([(1, "", "zzz", "en")])
    chance = random.Random(2)
    unknown = ["".join(chance.choices("bcdfghjk", k=10)) for _ in range(1_000)]
    assert all(map(is_plain, unknown))
    ask(" ".join(unknown), [index])
    assert 1_000 < Counting.asked < 1_000 + 8 * 600
