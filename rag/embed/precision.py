"""Which arithmetic suits this machine and model: measured, never assumed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rag.embed.embedder import SentenceTransformerEmbedder
from rag.embed.engines import cpu_flags, precisions
from rag.embed.locate import DEFAULT_MODEL, open_model
from rag.embed.model import Precision
from rag.protocols import Embedder

MIN_COSINE = {"float32": 1.0 - 1e-4, "bfloat16": 0.999, "int8": 0.99}
"""The worst cosine to float32, over the probe, with which an arithmetic is still accepted."""

_WORTH = 1.15
"""A less exact arithmetic must be faster by this factor: below it, exactness is the better bargain."""

PROBE = (
    "What is a path parameter?",
    "¿Cómo se declara un parámetro de ruta?",
    "Vitamin D deficiency increases the risk of several kinds of cancer.",
    "La Constitución se fundamenta en la indisoluble unidad de la Nación española.",
    'def read_item(item_id: int) -> dict[str, int]:\n    return {"item_id": item_id}',
    "| País | Capital | Población |\n|---|---|---|\n| España | Madrid | 3 332 035 |\n| Perú | Lima | 10 151|",
    "The patients were assigned at random to one of two groups: 120 mg once a day for twelve weeks, or a "
    "placebo of the same look. The primary outcome was the change in systolic blood pressure between the "
    "first visit and the last; adverse events were recorded at every visit, graded by two physicians who "
    "did not know the assignment, and reviewed by a board that could end the trial early.",
    "El río nace en la sierra a 1.500 metros de altitud y recorre más de seiscientos kilómetros hasta el "
    "mar. A su paso por la ciudad se construyeron, entre los siglos XV y XVIII, once puentes de piedra; "
    "solo tres han llegado a nuestros días, y en uno de ellos todavía puede leerse la inscripción con el "
    "nombre del maestro de obras y el precio, en maravedíes, que pagó el concejo.",
)
"""English and Spanish: questions, prose, code, a table."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One arithmetic on this machine: tokens a second, and the worst cosine to float32 over the probe."""

    precision: Precision
    tokens_per_second: float
    min_cosine: float

    @property
    def accepted(self) -> bool:
        return self.min_cosine >= MIN_COSINE[self.precision]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and what was measured for it, the reference (float32) first."""

    precision: Precision
    measured: tuple[Measured, ...]


def choose_precision(model: str = DEFAULT_MODEL, *, seconds: float = 0.3, rounds: int = 3) -> Choice:
    """Measure each arithmetic that this model and CPU have, in turns, and choose.

    The fastest accepted one, unless a more exact one is nearly as fast. Each is measured for ``seconds``
    in each of ``rounds``, and its best round counts: another program's burst of work must not decide.
    bfloat16 is tried only where the CPU multiplies it natively (AMX, AVX512-BF16): elsewhere it is ten
    times slower than float32. The choice depends on the machine and shapes the fingerprint: make it once
    and store it. Raises ModelNotFound, EmbedderError.
    """
    native = bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
    tried = [p for p in precisions(open_model(model)) if p != "bfloat16" or native]
    embedders = {precision: SentenceTransformerEmbedder(model, precision=precision) for precision in tried}
    for embedder in embedders.values():
        embedder.tokenizer = embedders[tried[0]].tokenizer  # a large vocabulary takes 0.3 GB: held once
    vectors = {p: embedder.embed(PROBE, input_type="document") for p, embedder in embedders.items()}
    reference = vectors[tried[0]]
    best = dict.fromkeys(tried, 0.0)
    for _ in range(rounds):
        for precision, embedder in embedders.items():
            best[precision] = max(best[precision], rate(embedder, seconds=seconds))
    measured = [
        Measured(precision, best[precision], float((vectors[precision] * reference).sum(axis=1).min()))
        for precision in tried
    ]
    return Choice(choose(measured), tuple(measured))


def choose(measured: list[Measured]) -> Precision:
    """From the most exact to the least: each must be accepted and worth its loss against the best so far.

    >>> choose([Measured("float32", 5000, 1.0), Measured("int8", 9000, 0.994)])
    'int8'
    >>> choose([Measured("float32", 5000, 1.0), Measured("int8", 9000, 0.95)])
    'float32'
    >>> choose([Measured("float32", 50, 1.0), Measured("int8", 90, 0.994), Measured("bfloat16", 85, 0.9998)])
    'bfloat16'
    """
    exactness = ("float32", "bfloat16", "int8")
    best, *others = sorted(measured, key=lambda m: exactness.index(m.precision))
    for one in others:
        if one.accepted and one.tokens_per_second >= _WORTH * best.tokens_per_second:
            best = one
    return best.precision


def rate(embedder: Embedder, *, seconds: float = 1.0) -> float:
    """Tokens a second that ``embedder`` embeds as documents here and now, special tokens left out.

    Measured on texts of the probe as long as chunks usually are.
    """
    unit = " ".join(PROBE)
    spans = embedder.tokenizer.offsets(unit)
    limit = min(embedder.info.max_tokens - 8, 160)
    repeated = " ".join([unit] * (limit // max(1, len(spans)) + 1))
    text = repeated[: int(embedder.tokenizer.offsets(repeated)[limit - 1][1])]
    batch = [text] * 4
    embedder.embed(batch, input_type="document")  # loads the model and warms the caches
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        embedder.embed(batch, input_type="document")
        count += len(batch) * limit
    return count / passed
