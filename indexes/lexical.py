"""Finding chunks by their words: BM25 over tantivy.

One field holds the terms of every text (:mod:`indexes.terms`: stemmed in the text's own language and
marked with it). A field for each language would look simpler, but tantivy's mean length of a field
counts all documents, which makes every text of a small language look long.

A word weighs the same in whatever language and index it stands: :func:`indexes.question.ask` counts its
texts in all of them together. By themselves the few texts of a rare language, or of an index of what is
new, would make every word of theirs look rare or common: with 1.5 % of the texts in doubt about their
language, nDCG@10 on 1,216 passages of contracts fell from 0.387 to 0.214.

tantivy's BM25 has k1 = 1.2 and b = 0.75, fixed. User text never reaches tantivy's query parser.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from indexes.question import Question, rarity
from indexes.terms import STEMMED, text_terms
from rag.errors import IndexDamaged, StorageError
from rag.types import Keys

__all__ = ["LexicalIndex", "LexicalRow"]

LexicalRow: TypeAlias = tuple[int, str, str, str]
"""Key, title (with the headings that stand over the text; "" for none), text, language ("" if unknown)."""

Scores = npt.NDArray[np.float32]

_FORMAT = 2
_ABOUT = "lexical.json"
_HEAP = 64_000_000  # bytes; past it tantivy starts another segment, which costs a search little
_SMALL_HEAP = 15_000_000  # the least that tantivy accepts
_SPARE = 64
"""Results asked for beyond k: dozens may tie with the last of them, and a second search costs more."""

_TITLE_WEIGHT = 5
"""How often a word of the title counts (BM25F, Robertson et al. 2004, without a length of its own). With
1, 3, 5 and 9, nDCG@10 is .675 .674 .678 .675 on scifact, .941 .945 .946 .952 on clapnq, .388 .508 .548 .574
and (whole contracts) .781 .858 .883 .902 on legalbench, whose questions name the document, .724 .735 .742
.740 on 2wiki, .873 .871 .872 .872 and (whole articles) .979 .980 .979 .980 on xquad-es."""


class LexicalIndex:
    """An immutable set of texts under keys, searched by BM25.

    >>> import numpy as np
    >>> from indexes.question import ask
    >>> index = LexicalIndex.in_memory(
    ...     [(7, "", "La Constitución española", "es"), (9, "History", "The constitution", "en")]
    ... )
    >>> index.search(ask("constitucion", [index]), k=5)[0].tolist()
    [7]
    >>> index.search(ask("constitution", [index]), k=5, allowed=np.array([7]))[0].tolist()
    []
    """

    def __init__(self, index: Any, *, languages: Iterable[str], name: str) -> None:
        """Use :meth:`open` or :meth:`in_memory`."""
        index.config_reader("manual")  # nothing may change beneath a search
        index.reload()
        self._schema = index.schema
        self._searcher = index.searcher()
        self.languages = tuple(sorted(languages))
        self._name = name

    @classmethod
    def build(cls, folder: Path, rows: Iterable[LexicalRow]) -> None:
        """Write an index of the rows to ``folder``, which must not hold one.

        Keys are distinct. The folder never changes afterwards. Raises StorageError.
        """
        import tantivy

        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StorageError(f"{folder} is not empty; an index is built in a new folder and never changed.")
        index = tantivy.Index(_schema(), str(folder))
        languages = _write(index, rows, heap=_HEAP)
        del index
        files = {}
        for path in sorted(folder.iterdir()):
            if path.suffix == ".lock":
                path.unlink()
            else:
                files[path.name] = _checksum(path)
        about = {"format": _FORMAT, "languages": languages, "files": files}
        (folder / _ABOUT).write_text(json.dumps(about, indent=1), "utf-8")

    @classmethod
    def open(cls, folder: Path) -> LexicalIndex:
        """Open what :meth:`build` wrote, after checking every byte of it. Raises IndexDamaged."""
        import tantivy

        with _damage(str(folder)):
            about = json.loads((folder / _ABOUT).read_text("utf-8"))
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {about['format']}, this version reads {_FORMAT}")
            for name, checksum in about["files"].items():
                if _checksum(folder / name) != checksum:
                    raise ValueError(f"{name} is not as it was written")
            with _lockable(folder, about["files"]) as home:
                return cls(tantivy.Index.open(str(home)), languages=about["languages"], name=str(folder))

    @classmethod
    def in_memory(cls, rows: Iterable[LexicalRow]) -> LexicalIndex:
        """The same, without files: for what is newer than the newest generation."""
        import tantivy

        index = tantivy.Index(_schema())
        return cls(index, languages=_write(index, rows, heap=_SMALL_HEAP), name="the index in memory")

    @property
    def count(self) -> int:
        """How many texts it holds."""
        return int(self._searcher.num_docs)

    def texts_with(self, terms: Sequence[str]) -> list[int]:
        """How many texts hold each of the terms."""
        with _damage(self._name):
            return [self._searcher.doc_freq("terms", term) for term in terms]

    def search(self, question: Question, *, k: int, allowed: Keys | None = None) -> tuple[Keys, Scores]:
        """The k best texts that hold a word of the question: keys and BM25 scores, best first.

        Equal scores stand in the order of their keys. ``allowed`` leaves other keys out before k are
        taken. Fewer than k, or none, when no more match.
        """
        import tantivy

        k = min(k, self.count)
        if k <= 0 or (allowed is not None and not len(allowed)):
            return _empty()
        with _damage(self._name):
            parts = []
            for term, weight in question.rarity.items():
                if texts := self._searcher.doc_freq("terms", term):
                    part = tantivy.Query.term_query(self._schema, "terms", term, "freq")
                    if (boost := weight / rarity(texts, self.count)) != 1.0:  # tantivy counts its own texts
                        part = tantivy.Query.boost_query(part, boost)
                    parts.append((tantivy.Occur.Should, part))
            if not parts:
                return _empty()
            query = tantivy.Query.boolean_query(parts)
            limit = k + _SPARE
            if allowed is not None:
                # Two exact ways: so many more results that k of them are likely to be allowed, or a set
                # of the allowed keys, which costs about as much for one key as eight more results.
                limit += 2 * k * self.count // len(allowed)
                if 8 * len(allowed) <= limit:
                    among = tantivy.Query.term_set_query(self._schema, "key", allowed.tolist())
                    both = [query, tantivy.Query.const_score_query(among, 0.0)]
                    query = tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in both])
                    limit, allowed = k + _SPARE, None
            return self._best(query, k=k, limit=limit, allowed=allowed)

    def _best(self, query: Any, *, k: int, limit: int, allowed: Keys | None) -> tuple[Keys, Scores]:
        """Fetch ever more results until k are allowed and none beyond could tie with the last of them."""
        while True:
            hits = self._searcher.search(query, limit, count=False).hits
            found = self._searcher.fast_field_values("key", [address for _, address in hits])
            keys = np.array(found, dtype=np.int64)
            scores = np.array([score for score, _ in hits], dtype=np.float32)
            lowest = scores[-1] if len(hits) == limit else -np.inf
            if allowed is not None:
                inside = np.isin(keys, allowed)
                keys, scores = keys[inside], scores[inside]
            if len(hits) < limit or (len(keys) >= k and lowest < scores[k - 1]):
                order = np.lexsort((keys, -scores))[:k]
                return keys[order], scores[order]
            limit *= 4


@contextmanager
def _lockable(folder: Path, files: Iterable[str]) -> Iterator[Path]:
    """Where tantivy can open the folder: even to read it locks a file in it. Where that may not be written
    links to the files are opened in its stead, which may go as soon as they are."""
    if os.access(folder, os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="promptwell-") as links:
        for name in files:
            (Path(links) / name).symlink_to((folder / name).absolute())
        yield Path(links)


def _empty() -> tuple[Keys, Scores]:
    return np.empty(0, np.int64), np.empty(0, np.float32)


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("key", indexed=True, fast=True)
    # Terms are made here, in Python, and only split at spaces there: the index needs no tokenizer of ours.
    builder.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def _write(index: Any, rows: Iterable[LexicalRow], *, heap: int) -> list[str]:
    """Write the rows, one writer, one commit; the languages met."""
    import tantivy

    languages = set()
    writer = index.writer(heap, 1)
    for key, title, text, code in rows:
        language = code if code in STEMMED else ""
        languages.add(language)
        document = tantivy.Document()
        document.add_integer("key", key)
        heading = text_terms(title, language)
        document.add_text("terms", " ".join([heading] * _TITLE_WEIGHT + [text_terms(text, language)]))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    return sorted(languages)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever reading a damaged index may raise, as IndexDamaged. tantivy also panics."""
    try:
        yield
    except Exception as error:
        problem: BaseException = error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        problem = error
    else:
        return
    raise IndexDamaged(
        f"The lexical index {name} cannot be read ({problem}). Rebuild it: rag doctor --repair."
    ) from problem
