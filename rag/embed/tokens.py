"""A model's own tokenizer, without torch or transformers: exact offsets, ids cut to what the model reads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rag.protocols import Offsets

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PIECE = 8_000
"""Characters tokenised at once: the library takes more time a character in longer texts."""

_SHORT = 1_000
"""Characters of a text that is taken for a question."""

_SAFE = re.compile(r"(?<=[^\W_]) (?=[^\W_])")
"""A single space between two letters or digits: no word, no normalisation and no merge reaches across it."""

_PROBE = "Where do tokens end? En la señal 42 no se ve nada"


class HubTokenizer:
    """A model's tokenizer, built by ``load`` when it is first used. Truncation and padding are switched off.

    Counts as the model counts: ``offsets`` gives the character span of every token, special tokens
    left out. A lone surrogate counts as U+FFFD. ``first`` may give the ids of the first text, if it is a
    short one and asked for alone: a command that embeds one question then builds no large vocabulary.
    """

    def __init__(
        self,
        load: Callable[[], RustTokenizer],
        *,
        max_tokens: int,
        first: Callable[[str], list[int] | None] | None = None,
    ) -> None:
        self._load = load
        self._first = first
        self._max_tokens = max_tokens
        self._rust: RustTokenizer | None = None
        self._loading = threading.Lock()

    def offsets(self, text: str) -> Offsets:
        """Shape (tokens, 2), int32: where each token starts and ends in ``text``, without truncation."""
        pieces = list(self._pieces(clean(text)))
        encodings = self._whole.encode_batch([piece for _, piece in pieces], add_special_tokens=False)
        parts = [
            np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) + np.int32(start)
            for (start, _), encoding in zip(pieces, encodings, strict=True)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int32)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """What the model reads of each text: ids with special tokens, at most ``max_tokens`` of them."""
        if len(texts) == 1 and (found := self._ids_of_first(texts[0])) is not None:
            return [found]
        whole = self._whole
        encodings = whole.encode_batch_fast(
            [self._head(clean(text)) for text in texts], add_special_tokens=False
        )
        for encoding in encodings:
            encoding.truncate(self._room)
        return [whole.post_process(encoding).ids for encoding in encodings]

    def _ids_of_first(self, text: str) -> list[int] | None:
        with self._loading:
            first, self._first = self._first, None
            return first(clean(text)) if first and self._rust is None and len(text) <= _SHORT else None

    def ids_after(self, prefix: str, text: str) -> tuple[list[int], list[bool]]:
        """What the model reads of ``prefix + text``, and which of these tokens are of ``text`` itself."""
        encoding = self._whole.encode(self._head(clean(prefix + text)), add_special_tokens=False)
        encoding.truncate(self._room)
        encoding = self._whole.post_process(encoding)
        return encoding.ids, [end > len(prefix) for _, end in encoding.offsets]  # special tokens end at 0

    def around(self, prefix: str) -> tuple[int, int]:
        """How many tokens stand before a text with this prefix, and how many after it."""
        _, own = self.ids_after(prefix, "a")
        return own.index(True), own[::-1].index(True)

    @property
    def _room(self) -> int:
        """How many tokens of a text the model reads beside its special ones."""
        return self._max_tokens - self._whole.num_special_tokens_to_add(is_pair=False)

    @property
    def _whole(self) -> RustTokenizer:
        with self._loading:
            if self._rust is None:
                self._rust = self._load()
                self._rust.no_truncation()
                self._rust.no_padding()
            return self._rust

    def _head(self, text: str) -> str:
        """A start of ``text`` that holds all the tokens the model will read of it."""
        if len(text) <= _PIECE:
            return text
        count = 0
        for start, piece in self._pieces(text):
            count += len(self._whole.encode(piece, add_special_tokens=False).ids)
            if count >= self._max_tokens:
                return text[: start + len(piece)]
        return text

    def _pieces(self, text: str) -> Iterator[tuple[int, str]]:
        start = 0
        while len(text) - start > _PIECE and (skip := self._space_belongs_to) is not None:
            place = _SAFE.search(text, start + _PIECE)
            if place is None:
                break
            yield start, text[start : place.start()]
            start = place.start() + skip
        yield start, text[start:]

    @cached_property
    def _space_belongs_to(self) -> int | None:
        """How many characters to leave out at a cut, tried on this very tokenizer.

        0: the space opens the next piece (WordPiece, byte-level BPE). 1: the tokenizer puts a space
        of its own in front of every text (SentencePiece). None: it cannot be cut.
        """
        whole = self._whole.encode(_PROBE, add_special_tokens=False).ids
        places = [match.start() for match in _SAFE.finditer(_PROBE)]
        for skip in (0, 1):
            cuts = [0, *(place + skip for place in places)]
            ends = [*places, len(_PROBE)]
            pieces = [_PROBE[a:b] for a, b in zip(cuts, ends, strict=True)]
            encodings = self._whole.encode_batch(pieces, add_special_tokens=False)
            if [i for encoding in encodings for i in encoding.ids] == whole:
                return skip
        return None


def clean(text: str) -> str:
    """``text`` with each lone surrogate replaced by U+FFFD: the same length, so that offsets stay true."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
