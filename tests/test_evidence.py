"""The evidence measure, against a slow oracle of sets of characters and by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.context import fit
from rag.errors import EvaluationError
from rag.evaluate import read_beir
from rag.evaluate.anchors import gold as gold_of
from rag.evaluate.evidence import (
    Evidence,
    Shown,
    Span,
    blocks,
    evidence,
    first_tokens,
    mean,
    union,
)
from rag.tokens import estimate_tokens
from rag.types import Chunk, Hit

SHARED = Path(__file__).parents[2] / "shared" / "data"

spans = st.builds(
    lambda document, start, length: Span(document, start, start + length),
    st.sampled_from("abc"),
    st.integers(0, 40),
    st.integers(1, 15),
)


def characters(some: list[Span]) -> set[tuple[str, int]]:
    return {(span.document_id, place) for span in some for place in range(span.start, span.end)}


@given(st.lists(spans, min_size=1, max_size=6), st.lists(spans, max_size=8))
def test_the_shares_are_those_of_the_sets_of_characters(gold, shown):
    wanted, found = characters(gold), characters(gold) & characters(shown)
    paid = sum(span.end - span.start for span in shown)
    told = evidence(gold, shown)
    assert told.recall == len(found) / len(wanted)
    assert told.precision == (len(found) / paid if paid else 0.0)
    assert told.iou == len(found) / (paid + len(wanted - found))


@given(st.lists(spans, max_size=8))
def test_a_union_holds_the_same_characters_in_spans_that_do_not_touch(some):
    apart = union(some)
    assert characters(list(apart)) == characters(some)
    assert all(a.document_id < b.document_id or a.end < b.start for a, b in pairwise(apart))


def test_what_is_shown_twice_is_paid_twice_and_found_once():
    gold, shown = [Span("d", 0, 10)], Span("d", 0, 20)
    assert evidence(gold, [shown]) == Evidence(1.0, 0.5, 0.5)
    assert evidence(gold, [shown, shown]) == Evidence(1.0, 0.25, 0.25)


def test_nothing_shown_is_nothing_found_and_nothing_wanted_is_refused():
    assert evidence([Span("d", 0, 10)], []) == Evidence(0.0, 0.0, 0.0)
    with pytest.raises(EvaluationError, match="without gold"):
        evidence([], [Span("d", 0, 10)])
    with pytest.raises(EvaluationError, match="no queries"):
        mean([])


def test_means_are_over_queries():
    assert mean([Evidence(1.0, 0.5, 0.5), Evidence(0.0, 0.0, 0.25)]) == Evidence(0.5, 0.25, 0.375)


# --- the first tokens of a context --------------------------------------------------------------


def words(text: str) -> int:
    return len(text.split())


def test_a_context_fitted_to_a_budget_is_shown_whole_and_read_further_only_in_part():
    text = "Boil the water first. Then wait for a minute. Pour it over the leaves."
    hits = [Hit(Chunk("d", text, 0, len(text), title="Tea", key=1), 0.9)]
    hits += [Hit(Chunk("e", "Use small cups for it.", 0, 22, title="Cups", key=2), 0.5)]
    context = fit(hits, budget=200)
    both = [Span("d", 0, len(text)), Span("e", 0, 22)]
    assert first_tokens(blocks(context), context.tokens + 8) == both
    assert "".join(shown.before + shown.text + shown.after for shown in blocks(context)) == context.text
    fence = estimate_tokens(blocks(context)[-1].after)
    for tokens in range(context.tokens - fence):
        read = first_tokens(blocks(context), tokens)
        assert read == [] or read[-1] != both[-1]
        assert all(span.start == 0 for span in read)


def test_the_last_span_is_cut_where_the_tokens_end():
    shown = [
        Shown(Span("d", 10, 17), "one two", "a:", ":z"),
        Shown(Span("d", 20, 37), "three four  five", "b:"),
    ]
    assert first_tokens(shown, 2, count_tokens=words) == [Span("d", 10, 17)]
    assert first_tokens(shown, 4, count_tokens=words) == [Span("d", 10, 17), Span("d", 20, 30)]
    assert first_tokens(shown, 5, count_tokens=words) == [Span("d", 10, 17), Span("d", 20, 37)]
    assert first_tokens(shown, 0, count_tokens=words) == []


# --- the spans of the judged sets ----------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["chunking-eval", "clapnq-dev", "legalbench-contractnli", "xquad-es-wiki-dev"]
)
def test_the_spans_of_the_judged_sets_quote_their_documents(name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("needs the judged sets beside the project")
    judged = read_beir(folder)
    texts = {document.id: document.text for document in judged.documents()}
    gold = gold_of(judged, texts)
    assert len(gold) > 0.99 * len(judged.queries)
    for query_id, found in gold.items():
        assert {span.document_id for span in found} <= judged.qrels[query_id].keys()
        assert estimate_tokens("".join(texts[d][start:end] for d, start, end in found)) > 0
