"""The estimate of tokens: quick, and the same as counting piece by piece."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.tokens import estimate_tokens
from rag.words import is_stop_word

PIECE = re.compile(
    r"(?P<word>[^\W\d_]+)"
    r"|(?P<one>\d|[\r\n]|[ \t]{2,}|(?<=[\r\n])[ \t]|[ \t](?=[\r\n])|[^\S \t\r\n])"
    r"|(?P<other>\S)"
)


def piece_by_piece(text: str) -> int:
    """The estimate as its docstring says it, without any haste."""
    total = at = 0
    for line in text.splitlines(keepends=True):
        words = re.findall(r"[^\W\d_]+", line)
        known = sum(is_stop_word(word, "en") for word in words)
        english = known > 1 and known >= 0.25 * len(words)
        for match in PIECE.finditer(text, at, at + len(line)):
            piece = match.group()
            if match.lastgroup == "word":
                small = english and piece.isascii() and piece.islower()
                total += 1 + len(piece) // 6 if small else of_word(piece)
            elif match.lastgroup == "other" and piece > "\u07ff":
                total += len(piece.encode("utf-8", "surrogatepass"))
            else:
                total += 1
        at += len(line)
    return total


def of_word(word: str) -> int:
    if word.isascii():
        return 1 + len(word) // (2 if len(word) > 3 and word.isupper() else 4)
    plain, beyond = sum(c < "\x80" for c in word), sum(c > "\u07ff" for c in word)
    return 1 + plain // 4 + (len(word) - plain - beyond) + 2 * beyond


SIGNS = list("abXY áéñß字한α \t\n\r\x0b\x0c\x85\u2028_-.,¿“—0123٠²½ª\u0301\u00a0\u2003😀\ud800")
WORDS = ["the", "of", "and", "THE", "running", "áé", " ", " ", "\n", ". ", "\t", "  ", "a" * 50, "x" * 2_100]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=40).map("".join))
def test_any_text_is_estimated_as_piece_by_piece(text):
    assert estimate_tokens(text) == piece_by_piece(text)


@pytest.mark.parametrize("name", ["README.md", "README.es.md", "rag/tokens.py", "docs/ask.md"])
def test_whole_files_are_estimated_as_piece_by_piece_first_and_again(name):
    text = Path(__file__).parents[1].joinpath(name).read_text("utf-8")
    assert estimate_tokens(text) == piece_by_piece(text) == estimate_tokens(text)


def test_a_text_that_was_counted_is_counted_again_at_once():
    text = "\n".join(f"A line of {number} words that stands in a passage." for number in range(200))
    estimate_tokens(text)
    start = time.process_time()
    for _ in range(20):
        estimate_tokens(text)
    assert time.process_time() - start < 0.2
