"""Reranking: the best of the first stage, read once more together with the question.

A cross-encoder (Nogueira and Cho 2019, "Passage Re-ranking with BERT") reads question and passage as one
text, which finds what two separate vectors cannot hold and costs a model run for each pair. So only a
pool of the first stage's best is read, and only as much of it as the time allows. A reranker that needs no
model of its own stands in :mod:`rag.retrieve.late`.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.embed.engines import quiet_loading
from rag.embed.folder import position_offset
from rag.embed.tokens import clean
from rag.errors import EmbedderError, ModelNotFound
from rag.protocols import Reranker
from rag.types import Hit

Scores: TypeAlias = npt.NDArray[np.float64]

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
    weight: float = 1.0,
) -> list[Hit]:
    """All of ``hits`` (best first), the first ``pool`` of them in a better order.

    ``weight`` is the reranker's share in that order, from 0 to 1; the rest is the first stage's. Both are
    brought to mean 0 and deviation 1 over the hits that were scored before they are mixed, and the mixture
    back to the first stage's mean and deviation: scores keep the first stage's scale. Hits that were not
    scored, beyond the pool or for want of ``seconds``, follow in their old order with their old scores,
    lowered where one would rise above the hit before it. Equal scores keep the first stage's order. Raises
    what the reranker raises.

    >>> from rag.types import Chunk
    >>> class Shorter:
    ...     def score(self, question, passages, *, seconds):
    ...         return [1 / len(passage) for passage in passages]
    >>> hits = [Hit(Chunk(t, t, 0, len(t)), s) for t, s in [("tea pot", 0.9), ("tea", 0.7), ("pot", 0.6)]]
    >>> [(hit.chunk.text, round(hit.score, 2)) for hit in rerank("tea", hits, Shorter(), pool=2)]
    [('tea', 0.9), ('tea pot', 0.7), ('pot', 0.6)]
    """
    read = hits[:pool]
    if not read:
        return list(hits)
    found = reranker.score(question, [hit.chunk.embedded_text for hit in read], seconds=seconds)
    if len(found) > len(read):
        raise ValueError(f"the reranker gave {len(found)} scores for {len(read)} passages")
    first = np.array([hit.score for hit in hits[: len(found)]], np.float64)
    away = mixed(first, np.asarray(found, np.float64), weight=weight)
    scores = first.mean() + first.std() * away
    order = np.argsort(-away, kind="stable")
    head = [Hit(hits[i].chunk, float(scores[i])) for i in order.tolist()]
    lowest = head[-1].score if head else math.inf
    return [*head, *(Hit(hit.chunk, min(hit.score, lowest)) for hit in hits[len(found) :])]


def mixed(first: Scores, second: Scores, *, weight: float) -> Scores:
    """Two lists of scores as one, in deviations from its mean; ``weight`` is the share of the second. Each is
    brought to mean 0 and deviation 1 for it.

    >>> mixed(np.array([3.0, 1.0]), np.array([0.1, 0.9]), weight=0.75).tolist()
    [-0.5, 0.5]
    """
    both: Scores = (1 - weight) * _standard(first) + weight * _standard(second)
    return both


def _standard(scores: Scores) -> Scores:
    """Mean 0 and deviation 1; all 0 where all are alike."""
    deviation = scores.std()
    away: Scores = scores - scores.mean()
    return away / deviation if deviation > 1e-9 else np.zeros_like(away)


class CrossEncoderReranker:
    """A sentence-transformers ``CrossEncoder``: a local folder, or a name on the model hub.

    A name without an owner is one of sentence-transformers' own: ``ms-marco-MiniLM-L6-v2``. The model is
    loaded by the first ``score``, or by ``load``; before that only its files are looked at. Weights are
    read from safetensors and no code of the model's is run. Any number of threads may call ``score``: they
    take turns, because a tokenizer serves one caller at a time.

    Raises ModelNotFound, also for a model that is no cross-encoder, and EmbedderError where the folder holds
    weights of another kind.
    """

    def __init__(self, model: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = model
        self._clock = clock
        self._path = _locate(model)
        self._model: Any = None
        self._turn = threading.Lock()

    def score(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """Scores between 0 and 1 of the first passages: the sigmoid of the model's logit.

        Passages are read in blocks of BLOCK, and no block is begun that would, at the pace so far, end after
        ``seconds``; the first always is. For most models a score is how likely the passage answers the
        question; for all of them only the order of the passages of one question is certain. A pair longer
        than the model reads is cut, the longer of the two texts first. Raises EmbedderError.
        """
        self.load()  # its time is not the question's
        began = self._clock()
        scores: list[float] = []
        for start in range(0, len(passages), BLOCK):
            spent = self._clock() - began
            if start and spent + spent / start * BLOCK > seconds:
                break
            scores += self._score(question, passages[start : start + BLOCK])
        return scores

    def _score(self, question: str, passages: Sequence[str]) -> list[float]:
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
                with quiet_loading():
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
