"""How many tokens a text costs when the target model's tokenizer is not at hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

TokenCounter: TypeAlias = Callable[[str], int]
"""Tokens of a text for the model that will read it."""

# Letters together; everything that most tokenizers give a token of its own apart: each digit, line
# end, run of spaces, space at either end of a line, odd space (NBSP) and any other character.
_PIECE = re.compile(
    r"(?P<word>[^\W\d_]+)"
    r"|(?P<one>\d|[\r\n]|[ \t]{2,}|(?<=[\r\n])[ \t]|[ \t](?=[\r\n])|[^\S \t\r\n])"
    r"|(?P<other>\S)"
)


def estimate_tokens(text: str) -> int:
    """An estimate on the safe side: rarely below what any current model counts, seldom twice as much.

    A word costs one token and one more for every four letters (two in capitals), plus one for each
    letter beyond ASCII (two beyond the two-byte scripts); every digit, sign and line end costs one.
    Measured on passages in Spanish and English, Python, JSON and HTML against the tokenizers of GPT-4
    and GPT-4o, Qwen, Mistral (SentencePiece and Tekken) and BERT: 1.1 to 1.8 times the true count at
    the median; of single passages at most 2 % fall below the true count of a GPT, Qwen or Mistral tokenizer
    and none by more than 20 %; of contexts of six passages none does. Where a budget is tight, pass the
    model's own tokenizer.

    >>> estimate_tokens("The answer is 42."), estimate_tokens("¿Qué petición?")
    (7, 7)
    """
    total = 0
    for match in _PIECE.finditer(text):
        piece = match.group()
        if match.lastgroup == "word":
            total += _word_tokens(piece)
        elif match.lastgroup == "other" and piece > "\u07ff":
            total += len(piece.encode("utf-8", "surrogatepass"))
        else:
            total += 1
    return total


def _word_tokens(word: str) -> int:
    length = len(word)
    if word.isascii():
        return 1 + length // (2 if length > 3 and word.isupper() else 4)
    plain = sum(letter < "\x80" for letter in word)
    beyond = sum(letter > "\u07ff" for letter in word)
    return 1 + plain // 4 + (length - plain - beyond) + 2 * beyond
