"""How many tokens a text costs when the target model's tokenizer is not at hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from rag.words import is_stop_word

TokenCounter: TypeAlias = Callable[[str], int]
"""Tokens of a text for the model that will read it."""

_WORD = re.compile(r"[^\W\d_]+")
# Spaces that most tokenizers give a token of their own: a run of them, one at either end of a line.
_SPACES = re.compile(r"[ \t](?:[ \t]+|(?=[\r\n]))")
_STARTS = re.compile(r"[ \t](?![ \t\r\n])")
_ODD = re.compile(r"[^\w\s\x00-\u07ff]+")
"""Signs of three and four bytes, of which each byte may be a token."""
_LINE = 2_000
_LONG = 40
"""Characters of the longest line, letters of the longest word whose cost is kept, so that no text fills the
memory."""

_ENGLISH = 0.25
"""Share of a line's words that are English function words, from which its other words cost less."""


def estimate_tokens(text: str) -> int:
    """An estimate on the safe side: rarely below what any current model counts, seldom twice as much.

    A word costs one token and one more for every four letters (two in capitals), plus one for each
    letter beyond ASCII (two beyond the two-byte scripts); every digit, sign and line end costs one. In
    a line of English, which every vocabulary knows best, a word in small letters costs one more for
    every six.

    Times the true count, over passages of 700 characters and the tokenizers of GPT-4, GPT-4o, Llama 3,
    Claude 2 and DeepSeek V3, the medians are 1.25 to 1.5 in English prose (1.5 to 1.75 without its own
    rule), 1.15 to 1.5 in Spanish, 1.3 to 1.7 in tables, JSON, Markdown and Python, 1.0 to 1.5 in German
    and Romanian, 1.1 to 3.7 in Russian, Arabic and Chinese. Below the true count fall at most 1 % of
    passages in Spanish and English, by 2 % at most; in German and Romanian up to 29 %, by 4 % at most; of
    contexts of six, Romanian ones by 1 %. XLM-R, made for a hundred languages, needs more tokens for
    English: 1.05 to 1.25. Where a budget is tight, pass the model's own tokenizer.

    >>> estimate_tokens("The answer is 42."), estimate_tokens("¿Qué petición?")
    (7, 7)
    """
    total = 0
    before = ""
    for line in text.splitlines(keepends=True):
        count = _kept_line if len(line) <= _LINE else _line
        total += count(line, before in ("\r", "\n"))
        before = line[-1]
    return total


def _line(line: str, inner: bool) -> int:
    """What one line costs; an ``inner`` one stands after another."""
    words = _WORD.findall(line)
    total = letters = 0
    if words:
        lengths = [len(word) for word in words]
        letters = sum(lengths)
        stop, plain, small = _KEPT if max(lengths) <= _LONG else _COUNTED
        known = sum(map(stop, words))
        english = known > 1 and known >= _ENGLISH * len(words)
        total = sum(map(small if english else plain, words))
    # All but letters and single spaces costs one: digits, signs, line ends, odd spaces.
    single = line.count(" ") + line.count("\t")
    runs = len(_SPACES.findall(line))
    if inner and _STARTS.match(line):
        runs += 1
    total += len(line) - letters - single + runs
    if not line.isascii():
        odd = "".join(_ODD.findall(line))
        total += len(odd.encode("utf-8", "surrogatepass")) - len(odd)
    return total


def _small_word_tokens(word: str) -> int:
    """What a word costs in a line of English."""
    return 1 + len(word) // 6 if word.isascii() and word.islower() else _word_tokens(word)


def _word_tokens(word: str) -> int:
    length = len(word)
    if word.isascii():
        return 1 + length // (2 if length > 3 and word.isupper() else 4)
    plain = sum(letter < "\x80" for letter in word)
    beyond = sum(letter > "\u07ff" for letter in word)
    return 1 + plain // 4 + (length - plain - beyond) + 2 * beyond


def _stop(word: str) -> bool:
    return is_stop_word(word, "en")


_COUNTED = (_stop, _word_tokens, _small_word_tokens)
_KEPT = tuple(lru_cache(maxsize=20_000)(function) for function in _COUNTED)
"""The same, their results kept: few words make up most of any text."""
_kept_line = lru_cache(maxsize=4_000)(_line)
"""A context is counted block by block, as a whole, and again in the message that holds it."""
