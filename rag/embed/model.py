"""What is known of an embedding model before it is loaded, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from rag import token_codes
from rag.types import EmbedderInfo

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

Array: TypeAlias = npt.NDArray[np.float32]

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
"""The arithmetic of the encoder's matrix products. Pooling and normalisation are float32 in all of them."""

_ARITHMETIC = 1
"""Raise when the same files and settings begin to give other vectors: collections are then re-embedded."""


class Rows(Protocol):
    """A table of which a few rows are read at a time, by an array of row numbers of any shape."""

    def __getitem__(self, rows: npt.NDArray[np.int64], /) -> Array: ...


class Weights(Protocol):
    """The tensors of a model under BERT's own names, read from disk on use."""

    def __getitem__(self, name: str, /) -> Array: ...

    def rows(self, name: str) -> Rows:
        """A tensor of two dimensions that is too large to be held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(ABC):
    """What every model says of itself, whichever way it is kept on disk.

    ``pooling`` is "mean" or "cls" for the plain chain Transformer, Pooling (, Normalize), which the
    fast path can run, and "other" for any other chain. ``config`` has the keys of a config.json.
    """

    name: str
    path: Path
    dim: int
    max_tokens: int
    pooling: Literal["mean", "cls", "other"]
    query_prefix: str
    document_prefix: str
    config: dict[str, Any]

    @abstractmethod
    def files(self) -> Mapping[str, Path]:
        """Every file that shapes a vector, under a name that does not depend on where the model lies."""

    @abstractmethod
    def tokenizer(self) -> RustTokenizer:
        """The model's tokenizer, with the model's special tokens. Raises EmbedderError."""

    def ids_of_one(self, text: str) -> list[int] | None:
        """What the model reads of one short text, where that is had cheaper than by ``tokenizer``."""
        return None

    def around(self, prefix: str) -> tuple[int, int] | None:
        """How many tokens stand before a text with this prefix and how many after it, where that is had
        cheaper than by ``tokenizer``."""
        return None

    @abstractmethod
    def weights(self) -> Weights:
        """The tensors of a model with a pooling other than "other". Raises EmbedderError."""


def info_of(
    model: Model,
    *,
    precision: Precision,
    tokens: bool = False,
    hashes: MutableMapping[str, str] | None = None,
) -> EmbedderInfo:
    """The fingerprint covers every file that shapes a vector, and the settings that are not in files.

    ``hashes`` keeps the SHA-256 of each file under its path, size and time of change, so that a caller
    who stores the mapping pays for reading the weights once.
    """
    known: MutableMapping[str, str] = {} if hashes is None else hashes
    about: dict[str, Any] = {
        "arithmetic": _ARITHMETIC,
        "files": {name: _sha256(path, known) for name, path in model.files().items()},
        "pooling": model.pooling,
        "normalize": True,
        "prefixes": [model.query_prefix, model.document_prefix],
        "dim": model.dim,
        "max_tokens": model.max_tokens,
        "precision": precision,
    }
    if tokens:
        about["tokens"] = token_codes.FORMAT
    text = json.dumps(about, sort_keys=True, ensure_ascii=True)
    return EmbedderInfo(
        name=model.name,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        dim=model.dim,
        max_tokens=model.max_tokens,
        tokens=tokens,
    )


def _sha256(path: Path, known: MutableMapping[str, str]) -> str:
    facts = path.stat()
    key = f"{path}|{facts.st_size}|{facts.st_mtime_ns}"
    digest = known.get(key)
    if digest is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known[key] = digest
    return digest
