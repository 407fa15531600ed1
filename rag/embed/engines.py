"""What runs a batch: ONNX Runtime for BERT encoders, sentence-transformers on torch for everything else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rag.embed.folder import ModelFolder, position_offset
from rag.embed.graph import can_run, encoder
from rag.embed.model import Model, Precision
from rag.embed.queue import Engine
from rag.embed.tokens import HubTokenizer, clean
from rag.errors import EmbedderError
from rag.token_codes import rotation
from rag.types import Vectors

_OnnxPrecision = Literal["float32", "int8"]


def open_engine(
    model: Model,
    tokenizer: HubTokenizer,
    *,
    precision: Precision,
    tokens: bool = False,
    threads: int | None = None,
) -> Engine:
    """The fastest engine that runs ``model`` in ``precision``; with ``tokens`` it gives those rotated, as
    :mod:`rag.token_codes` wants them. Raises EmbedderError where none can."""
    threads = threads or _cpus()
    if precision != "bfloat16" and runs_fast(model, precision):  # said twice for the types
        return OnnxEngine(model, tokenizer, precision=precision, tokens=tokens, threads=threads)
    if precision == "int8" or not isinstance(model, ModelFolder):
        raise EmbedderError(
            f"{model.name} cannot run in precision {precision!r}. Valid for it:"
            f" {', '.join(precisions(model))}, auto."
        )
    return TorchEngine(model, precision=precision, threads=threads)


def runs_fast(model: Model, precision: Precision) -> bool:
    """Whether ``open_engine`` gives an OnnxEngine, which gives the vectors of tokens too."""
    return precision != "bfloat16" and can_run(model)


def precisions(model: Model) -> tuple[Precision, ...]:
    """Those that ``open_engine`` accepts for this model, the reference first."""
    found: list[Precision] = ["float32"]
    if can_run(model):
        found.append("int8")
    if isinstance(model, ModelFolder):  # sentence-transformers needs the folder
        found.append("bfloat16")
    return tuple(found)


class OnnxEngine:
    """A BERT encoder on ONNX Runtime, without torch in the process.

    Each worker runs its own small batch on one thread: texts do not wait for each other inside an
    operator, and a batch's activations stay in the core's cache. Word embeddings are read from the
    mapped file, a few rows a text, instead of being held.
    """

    _BATCH_TOKENS = 512  # measured: larger batches leave the cache, smaller ones read the weights too often

    def __init__(
        self,
        model: Model,
        tokenizer: HubTokenizer,
        *,
        precision: _OnnxPrecision,
        tokens: bool,
        threads: int,
    ) -> None:
        import onnxruntime as ort

        ort.disable_telemetry_events()
        weights = model.weights()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # "Basic" leaves Add and LayerNormalization apart: the fused kernel is seven times slower on CPUs.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        graph = encoder(model, weights, precision, rotation=rotation(model.dim) if tokens else None)
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._pooled, self._states = (output.name for output in self._session.get_outputs())
        self._words = weights.rows("embeddings.word_embeddings.weight")
        positions = weights["embeddings.position_embeddings.weight"][position_offset(model.config) :]
        self._positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
        self._tokenizer = tokenizer
        self.workers = threads

    def prepare(self, texts: Sequence[str]) -> list[tuple[int, Any]]:
        return [(len(ids), ids) for ids in self._tokenizer.ids(texts)]

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Texts of exactly one length: nothing is padded. Longest first, so that the workers end together."""
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        groups: list[list[int]] = []
        for i in order:
            same = bool(groups) and lengths[groups[-1][0]] == lengths[i]
            if same and (len(groups[-1]) + 1) * lengths[i] <= self._BATCH_TOKENS:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def run(self, items: Sequence[Any]) -> Vectors:
        return _unit(self._session.run([self._pooled], {"x": self._sums(items)})[0])

    def run_whole(self, items: Sequence[Any]) -> tuple[Vectors, Vectors]:
        """The same, and the unit rows of the tokens: shape (texts, tokens, dim)."""
        pooled, states = self._session.run([self._pooled, self._states], {"x": self._sums(items)})
        return _unit(pooled), _unit(states.reshape(-1, states.shape[2])).reshape(states.shape)

    def tokens(self, ids: Sequence[int]) -> Vectors:
        """Unit rows, one for each token of one text. Runs in the caller's thread; any number may."""
        return _unit(self._session.run([self._states], {"x": self._sums([ids])})[0][0])

    def _sums(self, items: Sequence[Sequence[int]]) -> Vectors:
        ids = np.asarray(items, dtype=np.int64)
        x: Vectors = self._words[ids]
        x += self._positions[: ids.shape[1]]
        return x


class TorchEngine:
    """Any sentence-transformers model on torch: the reference, and bfloat16."""

    _BATCH_TOKENS = 4096
    _CHARACTERS_PER_TOKEN = 4  # a guess that only shapes batches

    def __init__(self, folder: ModelFolder, *, precision: Precision, threads: int) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)  # torch has one setting for the whole process
        with quiet_loading():
            self._model = SentenceTransformer(
                str(folder.path), device="cpu", local_files_only=True, trust_remote_code=False
            )
        self._model.max_seq_length = folder.max_tokens
        if precision == "bfloat16":
            self._model.to(torch.bfloat16)
        self._limit = folder.max_tokens
        self.workers = 1  # torch spreads one batch over the cores

    def prepare(self, texts: Sequence[str]) -> list[tuple[int, Any]]:
        return [
            (min(self._limit, len(text) // self._CHARACTERS_PER_TOKEN + 2), clean(text)) for text in texts
        ]

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Texts of about one length, as many as make up a batch of tokens."""
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        groups: list[list[int]] = []
        for i in order:
            if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= self._BATCH_TOKENS:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def run(self, items: Sequence[Any]) -> Vectors:
        # prompt="": the prefix is already in front of the text.
        found = self._model.encode(list(items), batch_size=len(items), prompt="", show_progress_bar=False)
        return _unit(np.asarray(found, dtype=np.float32))

    def run_whole(self, items: Sequence[Any]) -> tuple[Vectors, Vectors]:
        raise EmbedderError(f"{type(self).__name__} gives no token vectors")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Models are loaded without transformers' progress bars: a library does not print."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def cpu_flags() -> frozenset[str]:
    """What Linux says that the CPU can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unit(rows: Vectors) -> Vectors:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.maximum(norms, np.float32(1e-12))).astype(np.float32, copy=False)
    return unit
