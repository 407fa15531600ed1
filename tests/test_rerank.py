"""Reranking: the order, the scores and the clock; and a real cross-encoder with random weights."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from rag.embed.locate import open_model
from rag.errors import EmbedderError, ModelNotFound
from rag.retrieve.rerank import CrossEncoderReranker, rerank
from rag.types import Chunk, Hit

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "When does the kettle boil?"
PASSAGES = [
    "The kettle boils after three minutes.",
    "Trains leave at noon. " * 30,
    "",
    "¿Cuándo hierve el agua? A los tres minutos.",
    "lone \ud800 surrogate",
    "kettle",
    "Green leaves, white water, " * 5,
]


class Lengths:
    """Scores a passage by its length, ``most`` of them at best; keeps what it was asked."""

    def __init__(self, *, most: int = 1000) -> None:
        self.asked: list[str] = []
        self._most = most

    def score(self, question: str, passages: Sequence[str], *, seconds: float) -> Sequence[float]:
        self.asked += passages
        return [len(passage) / 1000 for passage in passages[: self._most]]


def hits_of(lengths: Sequence[int], scores: Sequence[float] | None = None) -> list[Hit]:
    scores = scores or [1 - i / 100 for i in range(len(lengths))]
    return [
        Hit(Chunk("d", "x" * length, 0, length, key=key), score)
        for key, (length, score) in enumerate(zip(lengths, scores, strict=True))
    ]


def keys(hits: Sequence[Hit]) -> list[int]:
    return [hit.chunk.key for hit in hits]


# --- order and scores -------------------------------------------------------------------------


def test_hits_take_the_rerankers_order_on_the_scale_of_the_first_stage():
    first = [0.9, 0.6, 0.3]
    found = rerank(QUESTION, hits_of([1, 30, 20], first), Lengths())
    assert keys(found) == [1, 2, 0]
    scores = [hit.score for hit in found]
    assert (np.mean(scores), np.std(scores)) == pytest.approx((np.mean(first), np.std(first)))
    assert scores[0] - scores[1] == pytest.approx((scores[1] - scores[2]) * 10 / 19)


@pytest.mark.parametrize(
    ("weight", "order"), [(0, [0, 1, 2]), (0.3, [0, 1, 2]), (0.5, [1, 0, 2]), (1, [1, 2, 0])]
)
def test_weight_is_the_rerankers_share_in_the_order(weight, order):
    hits = hits_of([1, 9, 2], [0.9, 0.3, 0.1])
    assert keys(rerank(QUESTION, hits, Lengths(), weight=weight)) == order


def test_weight_0_changes_nothing():
    hits = hits_of([1, 7, 3, 9], [0.9, 0.9, 0.5, 0.1])
    found = rerank(QUESTION, hits, Lengths(), weight=0)
    assert keys(found) == [0, 1, 2, 3]
    assert [hit.score for hit in found] == pytest.approx([0.9, 0.9, 0.5, 0.1])


def test_equal_scores_keep_the_order_of_the_first_stage():
    assert keys(rerank(QUESTION, hits_of([5, 7, 5, 7, 5]), Lengths())) == [1, 3, 0, 2, 4]


def test_a_first_stage_without_differences_still_takes_the_rerankers_order():
    found = rerank(QUESTION, hits_of([1, 3, 2], [0.5, 0.5, 0.5]), Lengths(), weight=0.5)
    assert [(hit.chunk.key, hit.score) for hit in found] == [(1, 0.5), (2, 0.5), (0, 0.5)]


@pytest.mark.parametrize("few", [{"pool": 2}, {"most": 2}])
def test_hits_that_were_not_scored_follow_in_their_order_and_never_rise(few):
    hits = hits_of([1, 3, 99, 98], [0.9, 0.8, 0.8, 0.2])
    reranker = Lengths(most=few.pop("most", 1000))
    found = rerank(QUESTION, hits, reranker, **few)
    assert [(hit.chunk.key, hit.score) for hit in found] == [
        (1, pytest.approx(0.9)),
        (0, pytest.approx(0.8)),
        (2, pytest.approx(0.8)),
        (3, 0.2),
    ]


def test_reranker_reads_what_the_indexes_read_of_the_pool_alone():
    reranker = Lengths()
    hits = [Hit(Chunk("d", text, 0, 8, breadcrumb="Tea"), 1.0) for text in ("Boil it.", "Pour it.")]
    rerank(QUESTION, hits, reranker, pool=1)
    assert reranker.asked == ["Tea\nBoil it."]


def test_no_hits_and_no_pool_ask_the_reranker_nothing():
    reranker = Lengths()
    hits = hits_of([1, 2])
    assert rerank(QUESTION, [], reranker) == []
    assert rerank(QUESTION, hits, reranker, pool=0) == hits
    assert reranker.asked == []


def test_a_reranker_that_gives_too_many_scores_is_not_believed():
    class Careless(Lengths):
        def score(self, question: str, passages: Sequence[str], *, seconds: float) -> Sequence[float]:
            return [1.0] * (len(passages) + 1)

    with pytest.raises(ValueError, match="3 scores for 2 passages"):
        rerank(QUESTION, hits_of([1, 2]), Careless())


@given(
    lengths=st.lists(st.integers(0, 9), max_size=20),
    pool=st.integers(0, 25),
    most=st.integers(1, 25),
    weight=st.floats(0, 1),
)
def test_every_hit_comes_once_and_scores_never_rise(lengths, pool, most, weight):
    hits = hits_of(lengths)
    found = rerank(QUESTION, hits, Lengths(most=most), pool=pool, weight=weight)
    assert sorted(keys(found)) == keys(hits)
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    scored = min(pool, most, len(hits))
    assert keys(found)[scored:] == keys(hits)[scored:]


# --- a cross-encoder's files ------------------------------------------------------------------


def tiny_cross_encoder(folder: Path, *, architecture: str = "Bert", **config) -> Path:
    """A cross-encoder of two layers with random weights and the bundled tokenizer, as a library saves it."""
    import torch
    import transformers

    settings = {
        "vocab_size": 30522,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "max_position_embeddings": 64,
        "num_labels": 1,
        "initializer_range": 0.8,
        **config,
    }
    torch.manual_seed(7)
    configuration = getattr(transformers, f"{architecture}Config")(**settings)
    model = getattr(transformers, f"{architecture}ForSequenceClassification")(configuration)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(open_model("all-MiniLM-L6-v2").path / name, folder / name)
    write(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    )
    return folder


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), "utf-8")


def change(path: Path, **values: object) -> None:
    write(path, {**json.loads(path.read_text("utf-8")), **values})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_cross_encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_unknown_reranker_is_refused_with_the_valid_choices_before_torch_is_loaded():
    code = (
        "import sys\nfrom rag.errors import ModelNotFound\n"
        "from rag.retrieve.rerank import CrossEncoderReranker\n"
        "try: CrossEncoderReranker('no-such-reranker')\nexcept ModelNotFound as error: print(error)\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    for part in ("'no-such-reranker'", "'cross-encoder/no-such-reranker'", "folder", "no reranker at all"):
        assert part in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_folder_that_is_no_model_is_refused_by_name(tmp_path):
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        CrossEncoderReranker(str(tmp_path))
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(EmbedderError, match="not valid JSON"):
        CrossEncoderReranker(str(tmp_path))


def test_an_embedding_model_is_refused_as_a_reranker():
    with pytest.raises(ModelNotFound, match="architecture is BertModel"):
        CrossEncoderReranker(str(open_model("all-MiniLM-L6-v2").path))


def test_pickled_weights_are_refused_wherever_they_lie(tmp_path):
    write(tmp_path / "config.json", {"architectures": ["BertForSequenceClassification"]})
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(EmbedderError, match="safetensors"):
        CrossEncoderReranker(str(tmp_path))
    save_file({"w": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    assert CrossEncoderReranker(str(tmp_path)).name == str(tmp_path)
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(EmbedderError, match="safetensors"):
        CrossEncoderReranker(str(tmp_path))


# --- a cross-encoder's scores -----------------------------------------------------------------


@pytest.mark.slow
def test_scores_are_those_of_each_pair_alone_in_transformers(folder):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for passage in PASSAGES:
        pair = tokenizer([QUESTION], [passage.replace("\ud800", "\ufffd")], truncation=True, max_length=64)
        with torch.no_grad():
            logit = model(**{name: torch.tensor(value) for name, value in pair.items()}).logits
        expected.append(torch.sigmoid(logit.double()).item())
    found = CrossEncoderReranker(str(folder)).score(QUESTION, PASSAGES, seconds=math.inf)
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(found) - min(found) > 0.05  # random weights tell these passages apart


@pytest.mark.slow
def test_saturated_scores_still_tell_passages_apart(copy):
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(20)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    scores = CrossEncoderReranker(str(copy)).score(QUESTION, PASSAGES, seconds=math.inf)
    assert len(set(scores)) == len(scores)
    assert all(0.999 < score < 1 for score in scores)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "special"), [("Bert", {}), ("XLMRoberta", {"pad_token_id": 1})])
def test_a_pair_longer_than_the_model_reads_is_cut(tmp_path, architecture, special):
    reranker = CrossEncoderReranker(
        str(tiny_cross_encoder(tmp_path / "m", architecture=architecture, **special))
    )
    words = "kettle water tea noon " * 20
    a, b, c = reranker.score(
        QUESTION, [words, words + "train " * 300_000, "train " + words], seconds=math.inf
    )
    assert a == pytest.approx(b, abs=1e-6)
    assert a != pytest.approx(c, abs=1e-6)
    tea, noon = reranker.score(words * 50, ["tea", "noon"], seconds=math.inf)
    assert tea != noon


@pytest.mark.slow
def test_many_threads_get_what_one_thread_gets(folder):
    questions = [f"{QUESTION} {'tea ' * i}" for i in range(12)]
    expected = [
        CrossEncoderReranker(str(folder)).score(question, PASSAGES, seconds=math.inf)
        for question in questions
    ]
    reranker = CrossEncoderReranker(str(folder))
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda question: reranker.score(question, PASSAGES, seconds=math.inf), questions)
        )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_a_cross_encoder_reranks_hits(folder):
    hits = [Hit(Chunk("d", text, 0, len(text), key=i), 1.0) for i, text in enumerate(PASSAGES)]
    reranker = CrossEncoderReranker(str(folder))
    found = rerank(QUESTION, hits, reranker)
    scores = reranker.score(QUESTION, PASSAGES, seconds=math.inf)
    assert keys(found) == sorted(range(len(PASSAGES)), key=lambda i: -scores[i])
    assert reranker.score(QUESTION, [], seconds=math.inf) == []


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "scored"), [(0.0, 4), (7.4, 8), (7.5, 12), (1e9, 14)])
def test_no_block_is_begun_that_would_end_after_the_time(folder, seconds, scored):
    ticks = iter([100.0, 100.0, *(100.0 + 2.5 * block for block in range(1, 5))])
    reranker = CrossEncoderReranker(str(folder), clock=lambda: next(ticks))
    assert len(reranker.score(QUESTION, PASSAGES * 2, seconds=seconds)) == scored


@pytest.mark.slow
def test_a_model_that_gives_several_scores_is_refused(tmp_path):
    reranker = CrossEncoderReranker(str(tiny_cross_encoder(tmp_path / "m", num_labels=3)))
    with pytest.raises(EmbedderError, match="gives 3 scores"):
        reranker.score(QUESTION, PASSAGES, seconds=math.inf)


@pytest.mark.slow
def test_a_score_that_is_no_number_is_an_error_and_no_rank(copy):
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] * np.float32("nan")
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmbedderError, match="no number"):
        CrossEncoderReranker(str(copy)).score(QUESTION, PASSAGES, seconds=math.inf)


@pytest.mark.slow
def test_a_damaged_model_is_an_error_of_ours(copy):
    (copy / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(EmbedderError, match="could not be loaded"):
        CrossEncoderReranker(str(copy)).load()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["configuration", "modules"])
def test_code_that_comes_with_a_model_is_never_run(copy, tmp_path, way):
    proof = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: ...\n", "utf-8")
    if way == "configuration":
        auto = {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}
        change(copy / "config.json", auto_map=auto, model_type="evil")
    else:
        write(copy / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
        write(copy / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "evil.Evil"}])
    with pytest.raises(EmbedderError, match="could not be loaded"):
        CrossEncoderReranker(str(copy)).load()
    assert not proof.exists()
