"""SentenceTransformerEmbedder: texts in, unit vectors out, in whichever arithmetic was chosen."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar, cast

from rag.embed.engines import OnnxEngine, open_engine, precisions, runs_fast
from rag.embed.locate import DEFAULT_MODEL, open_model
from rag.embed.model import Precision, info_of
from rag.embed.queue import BatchQueue, Engine
from rag.embed.tokens import HubTokenizer
from rag.errors import EmbedderError
from rag.token_codes import encode
from rag.types import Vectors

T = TypeVar("T")


class SentenceTransformerEmbedder:
    """A bundled model, a local sentence-transformers folder, or a name on the model hub.

    ``info`` and ``tokenizer`` cost no model; it is loaded by the first ``embed``. Any number of threads
    may call ``embed``: they share one queue, in which questions go ahead of documents between batches.
    ``threads`` is the number of CPUs to use (all that this process may use by default). With ``tokens`` it
    codes token vectors too, where the fast path can run the model: ``info.tokens`` says so.

    Raises ModelNotFound, and EmbedderError where the model cannot run in ``precision``.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        precision: Precision = "float32",
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        tokens: bool = False,
        threads: int | None = None,
        hashes: MutableMapping[str, str] | None = None,
    ) -> None:
        self._model = open_model(model, query_prefix=query_prefix, document_prefix=document_prefix)
        if precision not in precisions(self._model):
            valid = ", ".join(precisions(self._model))
            raise EmbedderError(
                f"{model} cannot run in precision {precision!r}. Valid for it: {valid}, auto."
            )
        self.info = info_of(
            self._model,
            precision=precision,
            tokens=tokens and runs_fast(self._model, precision),
            hashes=hashes,
        )
        self.precision = precision
        self.tokenizer = HubTokenizer(
            self._model.tokenizer, max_tokens=self._model.max_tokens, first=self._model.ids_of_one
        )
        self._threads = threads
        self._frames: dict[str, tuple[int, int]] = {}
        self._running: tuple[Engine, BatchQueue] | None = None
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str], *, input_type: Literal["query", "document"]) -> Vectors:
        """Shape (len(texts), info.dim), float32, unit rows, in the order of ``texts``.

        A text longer than ``info.max_tokens`` is read up to there. Raises EmbedderError.
        """
        prefix = self._prefix(input_type)
        with self._failing_by_name(len(texts)):
            queue = self._loaded()[1]
            return queue.run([prefix + text for text in texts], ahead=input_type == "query")

    def embed_coded(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """Vectors of documents as ``embed`` gives them, and the codes of each one's tokens
        (:mod:`rag.token_codes`): those that ``token_vectors`` shows. Raises EmbedderError."""
        head, tail = self._around("document")

        def coded(tokens: Vectors) -> bytes:
            return encode(tokens[head : len(tokens) - tail])

        return self._run_whole(texts, coded, input_type="document")

    def embed_question(self, text: str) -> tuple[Vectors, Vectors]:
        """The vector of a question, shape (dim,), and those of its tokens, rotated, shape (tokens, dim).
        Raises EmbedderError."""
        head, tail = self._around("query")
        vectors, [tokens] = self._run_whole(
            [text], lambda tokens: tokens[head : len(tokens) - tail], input_type="query"
        )
        return vectors[0], tokens

    def _run_whole(
        self, texts: Sequence[str], keep: Callable[[Vectors], T], *, input_type: Literal["query", "document"]
    ) -> tuple[Vectors, list[T]]:
        if not self.info.tokens:  # they would be given as they are, and taken for rotated ones
            raise EmbedderError(f"{self.info.name} was opened without tokens, or gives none.")
        prefix = self._prefix(input_type)
        with self._failing_by_name(len(texts)):
            queue = self._loaded()[1]
            return queue.run_whole([prefix + text for text in texts], keep, ahead=input_type == "query")

    @contextmanager
    def _failing_by_name(self, count: int) -> Iterator[None]:
        try:
            yield
        except EmbedderError:
            raise
        except Exception as error:
            raise EmbedderError(f"{self.info.name} could not embed {count} texts: {error}.") from error

    def _around(self, input_type: Literal["query", "document"]) -> tuple[int, int]:
        """How many tokens stand before a text's own ones, and how many after them."""
        if input_type not in self._frames:
            prefix = self._prefix(input_type)
            self._frames[input_type] = self._model.around(prefix) or self.tokenizer.around(prefix)
        return self._frames[input_type]

    def token_vectors(self, text: str, *, input_type: Literal["query", "document"]) -> Vectors:
        """Shape (tokens, info.dim), float32, unit rows: what the encoder makes of each token, in its context;
        rotated where ``info.tokens``.

        Special tokens and the prefix are left out, and what is beyond ``info.max_tokens``. It runs in the
        caller's thread. Raises EmbedderError, also for a model that the fast path cannot run.
        """
        if not runs_fast(self._model, self.precision):
            raise EmbedderError(
                f"{self.info.name} in precision {self.precision} gives no token vectors: that needs a BERT or"
                " RoBERTa encoder in precision float32 or int8."
            )
        engine = cast("OnnxEngine", self._loaded()[0])
        try:
            ids, own = self.tokenizer.ids_after(self._prefix(input_type), text)
            return engine.tokens(ids)[own]
        except Exception as error:
            raise EmbedderError(f"{self.info.name} could not embed the tokens of a text: {error}.") from error

    @property
    def prefix_tokens(self) -> int:
        """What of ``info.max_tokens`` a document's prefix takes: so much less is left for its text."""
        return len(self.tokenizer.offsets(self._prefix("document")))

    def load(self) -> None:
        """Load the model now instead of at the first ``embed``."""
        self._loaded()

    def _prefix(self, input_type: Literal["query", "document"]) -> str:
        return self._model.query_prefix if input_type == "query" else self._model.document_prefix

    def _loaded(self) -> tuple[Engine, BatchQueue]:
        with self._loading:
            if self._running is None:
                engine = open_engine(
                    self._model,
                    self.tokenizer,
                    precision=self.precision,
                    tokens=self.info.tokens,
                    threads=self._threads,
                )
                queue = BatchQueue(engine, dim=self.info.dim)
                weakref.finalize(self, queue.close)
                self._running = engine, queue
            return self._running
