"""Reranking: the best of the first stage, read once more together with the question.

A cross-encoder (Nogueira and Cho 2019, "Passage Re-ranking with BERT") reads question and passage as one
text, which finds what two separate vectors cannot hold and costs a model run for each pair. So only a
pool of the first stage's best is read, and only as much of it as the time allows.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rag.embed.folder import position_offset
from rag.embed.tokens import clean
from rag.errors import EmbedderError, ModelNotFound
from rag.protocols import Reranker
from rag.types import Hit

BLOCK = 4
"""Pairs scored between two looks at the clock. Larger ones gain nothing on a CPU: a model of 6 layers took
1.4 CPU-s for 30 passages of mixed lengths in blocks of 4, 1.5 in blocks of 8, 1.7 in one batch (padding)."""

_HUB_FILES = ["*.json", "*.txt", "*.safetensors", "*/config.json", "*/model.safetensors"]
_CHARACTERS_PER_TOKEN = 16
"""More than any language's average: a text is cut here before it is tokenised, which takes 5 s a megabyte."""


def rerank(
    question: str,
    hits: Sequence[Hit],
    reranker: Reranker,
    *,
    pool: int = 30,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> list[Hit]:
    """All of ``hits`` (best first), the first ``pool`` of them in the reranker's order with its scores.

    They are scored from the top down in blocks of BLOCK, and no block is begun that would, at the pace so
    far, end after ``seconds``; the first always is. Hits that were not scored, beyond the pool or for want
    of time, follow in their old order. Their scores go on below the lowest of the reranker's, by the same
    steps as in the first stage, so that scores fall from the first hit to the last. Equal scores keep the
    first stage's order. Raises what the reranker raises.

    >>> from rag.types import Chunk
    >>> class Shorter:
    ...     def score(self, question, passages):
    ...         return [1 / len(passage) for passage in passages]
    >>> hits = [Hit(Chunk(t, t, 0, len(t)), s) for t, s in [("tea pot", 9.0), ("tea", 8.5), ("pot", 8.0)]]
    >>> [(hit.chunk.text, round(hit.score, 2)) for hit in rerank("tea", hits, Shorter(), pool=2)]
    [('tea', 0.33), ('tea pot', 0.14), ('pot', 0.14)]
    """
    began = clock()
    scored: list[Hit] = []
    for start in range(0, min(pool, len(hits)), BLOCK):
        spent = clock() - began
        if start and spent + spent / start * BLOCK > seconds:
            break
        block = hits[start : min(start + BLOCK, pool)]
        scores = reranker.score(question, [hit.chunk.embedded_text for hit in block])
        scored += [Hit(hit.chunk, score) for hit, score in zip(block, scores, strict=True)]
    rest = hits[len(scored) :]
    scored.sort(key=lambda hit: -hit.score)
    if not scored or not rest:
        return [*scored, *rest]
    lowest, highest = scored[-1].score, rest[0].score
    return [*scored, *(Hit(hit.chunk, lowest + (hit.score - highest)) for hit in rest)]


class CrossEncoderReranker:
    """A sentence-transformers ``CrossEncoder``: a local folder, or a name on the model hub.

    A name without an owner is one of sentence-transformers' own: ``ms-marco-MiniLM-L6-v2``. The model is
    loaded by the first ``score``, or by ``load``; before that only its files are looked at. Weights are
    read from safetensors and no code of the model's is run. Any number of threads may call ``score``: they
    take turns, because a tokenizer serves one caller at a time.

    Raises ModelNotFound, also for a model that is no cross-encoder, and EmbedderError where the folder holds
    weights of another kind.
    """

    def __init__(self, model: str) -> None:
        self.name = model
        self._path = _locate(model)
        self._model: Any = None
        self._turn = threading.Lock()

    def score(self, question: str, passages: Sequence[str]) -> list[float]:
        """One score a passage, between 0 and 1: the sigmoid of the model's logit.

        For most models this is how likely the passage answers the question; for all of them only the order
        of the passages of one question is certain. A pair longer than the model reads is cut, the longer
        of the two texts first. Raises EmbedderError.
        """
        if not passages:
            return []
        with self._turn:
            model = self._loaded()
            enough = model.max_seq_length * _CHARACTERS_PER_TOKEN
            asked = clean(question[:enough])
            pairs = [(asked, clean(passage[:enough])) for passage in passages]
            try:
                logits = model.predict(pairs, batch_size=BLOCK, show_progress_bar=False)
            except Exception as error:
                raise EmbedderError(f"{self.name} could not score {len(pairs)} passages: {error}.") from error
        if not np.isfinite(logits).all():
            raise EmbedderError(
                f"{self.name} gave a score that is no number: its weights are damaged or too coarse."
            )
        # In float64: in float32 every logit above 17 would give 1.0.
        scores: list[float] = np.exp(-np.logaddexp(0, -logits.astype(np.float64))).tolist()
        return scores

    def load(self) -> None:
        """Load the model now instead of at the first ``score``. Raises EmbedderError."""
        with self._turn:
            self._loaded()

    def _loaded(self) -> Any:
        if self._model is None:
            import torch
            from sentence_transformers import CrossEncoder

            try:
                model = CrossEncoder(
                    str(self._path),
                    device="cpu",
                    local_files_only=True,
                    trust_remote_code=False,
                    activation_fn=torch.nn.Identity(),
                    model_kwargs={"use_safetensors": True},
                )
            except Exception as error:  # of many libraries
                raise EmbedderError(
                    f"{self.name} could not be loaded as a cross-encoder: {error}."
                ) from error
            if model.num_labels != 1:
                raise EmbedderError(
                    f"{self.name} gives {model.num_labels} scores for a pair. A reranker gives one: choose a"
                    " cross-encoder that was trained for ranking."
                )
            config = model.config.to_dict()
            if positions := config.get("max_position_embeddings"):
                model.max_seq_length = min(model.max_seq_length, positions - position_offset(config))
            self._model = model
        return self._model


def _locate(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.exists():
        return _from_hub(model)
    if not (path / "config.json").exists():
        raise ModelNotFound(f"{model} is not a cross-encoder's folder: it has no config.json.")
    architecture = (_json(path / "config.json").get("architectures") or ["none"])[0]
    by_library = _json(path / "config_sentence_transformers.json").get("model_type") == "CrossEncoder"
    if not by_library and not architecture.endswith(("ForSequenceClassification", "ForCausalLM")):
        # The library would put a scoring layer of random weights on top, with no more than a warning.
        raise ModelNotFound(
            f"{model} is not a cross-encoder: its architecture is {architecture}, which gives no score for a"
            " pair. Choose a model that was trained for reranking; an embedding model is none."
        )
    pickled = [
        file for file in path.rglob("pytorch_model*.bin") if not any(file.parent.glob("*.safetensors"))
    ]
    if pickled or not any(path.glob("*.safetensors")):
        raise EmbedderError(
            f"The model folder {path} lacks weights as safetensors, the only kind that promptwell reads (a"
            " pickle can run code): save the model again with CrossEncoder(...).save_pretrained(...)."
        )
    return path.resolve()


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except ValueError as error:
        raise EmbedderError(f"{path} is not valid JSON: {error}.") from error


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    repository = model if "/" in model else f"cross-encoder/{model}"
    try:
        try:
            found = Path(snapshot_download(repository, allow_patterns=_HUB_FILES, local_files_only=True))
            if any(found.glob("*.safetensors")):
                return found
        except Exception:  # noqa: S110 - not stored here yet, under whichever error: ask the hub
            pass
        found = Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's client raises errors of many libraries: all mean "not to be had"
        raise ModelNotFound(
            f"No reranker {model!r}: it is no folder here, and the model hub did not give"
            f" {repository!r} ({type(error).__name__}). Valid: the path of a cross-encoder's folder,"
            " a hub name while the hub can be reached, or no reranker at all."
        ) from error
    return _locate(str(found))
