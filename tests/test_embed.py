"""The embedder: what it promises of offsets, vectors, fingerprints and turns in the queue."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from rag.embed import SentenceTransformerEmbedder, choose_precision, describe, rate, tokens
from rag.embed.locate import open_model
from rag.embed.precision import MIN_COSINE, PROBE
from rag.embed.queue import BatchQueue
from rag.embed.tokens import HubTokenizer
from rag.errors import EmbedderError, ModelNotFound
from rag.testing import HashEmbedder
from rag.token_codes import best_matches, width

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = open_model("all-MiniLM-L6-v2").path

TRICKY = [
    "",
    " ",
    "plain words and nothing else",
    "La señal   llegó\tdos\n\nveces: ¿cuándo?  ¡Ayer!",
    "cafe\u0301 nin\u0303o decomposed, canción composed",
    "snake_case a_b c __init__ x = y[1:2] # comentario",
    "日本語 の テキスト and 한국어 mixed with English",
    "emoji 👩‍👩‍👧 family \u200b zero width",
    "lone \ud800 surrogate \udfff here",
    "a\x00b nul and \x07 bell",
    "x" * 300 + " averyverylongword " + "y" * 120,
    "1 2 3 4 5 6 7 8 9 10 11 12,5 1.000.000",
    "ﬁ ligature İstanbul ẞ Ǆ title case",
]


def rng_texts(count: int, seed: int = 0) -> list[str]:
    words = " ".join([*TRICKY[2:7], *PROBE]).encode("utf-8", "replace").decode().split()
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, rng.integers(1, 90))) for _ in range(count)]


def tiny_model(folder: Path, *, pooling: str = "mean", model_type: str = "bert", **config) -> Path:
    """A BERT of two layers with random weights and the bundled tokenizer, as a library saves it."""
    rng = np.random.default_rng(7)
    hidden, inner, vocabulary, positions = 32, 64, 30522, 66
    offset = 2 if model_type == "xlm-roberta" else 0

    def w(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": w(vocabulary, hidden),
        "embeddings.position_embeddings.weight": w(positions, hidden),
        "embeddings.token_type_embeddings.weight": w(2, hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(2):
        at = f"encoder.layer.{layer}"
        shapes = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden),
            "output.dense": (hidden, inner),
        }
        for name, shape in shapes.items():
            tensors[f"{at}.{name}.weight"] = w(*shape)
            tensors[f"{at}.{name}.bias"] = w(shape[0])
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    for norm in norms:
        tensors[f"{norm}.weight"] = 1 + w(hidden)
        tensors[f"{norm}.bias"] = w(hidden)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {
        "model_type": model_type,
        "architectures": ["BertModel" if model_type == "bert" else "XLMRobertaModel"],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": positions,
        "vocab_size": vocabulary,
        "type_vocab_size": 2,
        "pad_token_id": 1 if offset else 0,
        **config,
    }
    chain = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(chain)
    ]
    modes = {f"pooling_mode_{m}": m.startswith(pooling) for m in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling").mkdir()
    write(folder / "config.json", settings)
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden, **modes})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: ", "passage": ""}})
    for name in ("tokenizer.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).write_bytes((BUNDLED / name).read_bytes())
    tokenizer = json.loads((BUNDLED / "tokenizer_config.json").read_text("utf-8"))
    write(folder / "tokenizer_config.json", {**tokenizer, "tokenizer_class": "PreTrainedTokenizerFast"})
    return folder


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), "utf-8")


@pytest.fixture(scope="module")
def tokenizer() -> HubTokenizer:
    return HubTokenizer(open_model("all-MiniLM-L6-v2").tokenizer, max_tokens=256)


@pytest.fixture(scope="module")
def oracle() -> Tokenizer:
    whole = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    return whole


@pytest.fixture(
    scope="module", params=[("all-MiniLM-L6-v2", "float32"), ("multilingual-e5-small", "int8")], ids=str
)
def embedder(request) -> SentenceTransformerEmbedder:
    """Each kind of model and each arithmetic once; without prefixes, which have tests of their own."""
    model, precision = request.param
    return SentenceTransformerEmbedder(model, precision=precision, query_prefix="", document_prefix="")


# --- the tokenizer ----------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 40])
def test_offsets_of_a_text_cut_into_pieces_are_those_of_the_whole_text(tokenizer, oracle, monkeypatch, piece):
    monkeypatch.setattr(tokens, "_PIECE", piece)
    for text in [*TRICKY, " ".join(TRICKY), *rng_texts(20)]:
        expected = oracle.encode(tokens.clean(text), add_special_tokens=False).offsets
        assert tokenizer.offsets(text).tolist() == [list(span) for span in expected]


def test_cutting_happens_in_the_bundled_tokenizer(tokenizer, monkeypatch):
    monkeypatch.setattr(tokens, "_PIECE", 7)
    assert len(list(tokenizer._pieces("one two three four five six"))) > 2


def test_offsets_of_a_long_text_keep_their_type_and_order(tokenizer):
    text = " ".join(rng_texts(300))
    spans = tokenizer.offsets(text)
    assert len(text) > 3 * tokens._PIECE
    assert spans.dtype == np.int32
    assert spans.shape[1] == 2
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (np.diff(spans, axis=0) >= 0).all()  # one character may give two tokens with one span


def test_a_text_without_tokens_has_no_offsets(tokenizer):
    assert tokenizer.offsets("").shape == (0, 2)
    assert tokenizer.offsets(" \n").shape == (0, 2)


def test_truncation_baked_into_the_tokenizer_file_is_switched_off(tokenizer):
    assert len(tokenizer.offsets("word " * 1000)) == 1000
    assert len(tokenizer.ids(["word " * 1000])[0]) == 256


def test_ids_of_a_very_long_text_are_those_of_the_whole_text(tokenizer, oracle, monkeypatch):
    monkeypatch.setattr(tokens, "_PIECE", 50)
    for text in [" ".join(rng_texts(40)), "z" * 3000, "a " * 3000, "?" * 5000, " " * 400 + "end"]:
        whole = oracle.encode(text).ids
        expected = whole if len(whole) <= 256 else [*whole[:255], whole[-1]]
        assert tokenizer.ids([text]) == [expected]


def test_a_sentencepiece_like_tokenizer_is_cut_without_its_spaces(tmp_path, monkeypatch):
    from tokenizers import models, pre_tokenizers

    vocabulary = [("<unk>", 0.0), ("▁", -2.0), *((f"▁{w}", -1.0) for w in PROBE[0].split())]
    vocabulary += [(c, -3.0) for c in sorted(set("".join([*TRICKY[2:4], tokens._PROBE])) - {" "})]
    model = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    model.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    model.save(str(tmp_path / "tokenizer.json"))
    ours = HubTokenizer(lambda: Tokenizer.from_file(str(tmp_path / "tokenizer.json")), max_tokens=64)
    text = " ".join([*TRICKY[2:4], PROBE[0]] * 3)
    expected = model.encode(text, add_special_tokens=False)
    monkeypatch.setattr(tokens, "_PIECE", 10)
    assert len(list(ours._pieces(text))) > 3
    assert len(ours.offsets(text)) == len(expected.ids)
    assert ours.offsets(text)[:, 1].tolist() == [end for _, end in expected.offsets]


# --- what is known without the model ----------------------------------------------------------


def test_describe_and_embed_load_no_torch():
    code = (
        "import sys; from rag.embed import describe, SentenceTransformerEmbedder as E; describe();"
        "assert 'onnxruntime' not in sys.modules and 'tokenizers' not in sys.modules;"
        "E('all-MiniLM-L6-v2', precision='int8').embed(['hola'], input_type='query');"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_describe_knows_what_the_embedder_will_say():
    info = describe("all-MiniLM-L6-v2", precision="int8")
    assert info == SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="int8").info
    assert (info.dim, info.max_tokens) == (384, 256)


def test_fingerprint_changes_with_each_of_its_inputs(tmp_path):
    base = tiny_model(tmp_path / "m")
    seen = {"as it is": describe(str(base)).fingerprint}
    seen["precision int8"] = describe(str(base), precision="int8").fingerprint
    seen["precision bfloat16"] = describe(str(base), precision="bfloat16").fingerprint
    seen["query prefix"] = describe(str(base), query_prefix="q: ").fingerprint
    seen["document prefix"] = describe(str(base), document_prefix="d: ").fingerprint

    def changed(what: str, name: str, old: str, new: str) -> None:
        path = base / name
        before = path.read_text("utf-8")
        assert old in before
        path.write_text(before.replace(old, new, 1), "utf-8")
        seen[what] = describe(str(base)).fingerprint
        path.write_text(before, "utf-8")

    changed("prompts", "config_sentence_transformers.json", "query: ", "question: ")
    changed("max tokens", "sentence_bert_config.json", "64", "48")
    changed("tokenizer", "tokenizer.json", '"lowercase":true', '"lowercase":false')
    changed("pooling", "1_Pooling/config.json", '"pooling_mode_mean_tokens": true', '"pooling_mode_x": true')
    changed("architecture", "config.json", '"gelu"', '"gelu_new"')
    tensors = dict(load_file(base / "model.safetensors"))
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + np.float32(1e-3)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    seen["weights"] = describe(str(base)).fingerprint
    assert len(set(seen.values())) == len(seen), seen


def test_fingerprint_does_not_depend_on_where_the_model_lies_or_on_other_files(tmp_path):
    a = tiny_model(tmp_path / "a")
    before = describe(str(a)).fingerprint
    (a / "README.md").write_text("hello")
    (a / "onnx").mkdir()
    (a / "onnx" / "model.safetensors").write_bytes(b"other")
    b = a.rename(tmp_path / "b")
    assert describe(str(b)).fingerprint == before


def test_hashes_are_kept_and_believed_until_the_file_changes(tmp_path):
    base = tiny_model(tmp_path / "m")
    hashes: dict[str, str] = {}
    first = describe(str(base), hashes=hashes).fingerprint
    kept = dict(hashes)
    assert describe(str(base), hashes=hashes).fingerprint == first
    assert hashes == kept
    with (base / "model.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\1")
    os.utime(base / "model.safetensors", ns=(1, 1))
    assert describe(str(base), hashes=hashes).fingerprint != first


def test_unknown_model_is_refused_with_the_valid_choices():
    code = (
        "from rag.embed import describe\nfrom rag.errors import ModelNotFound\n"
        "try: describe('nobody/no-such-model')\nexcept ModelNotFound as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    for part in ("nobody/no-such-model", "all-MiniLM-L6-v2", "folder", "hub"):
        assert part in done.stdout


def test_folder_that_is_no_model_is_refused_by_name(tmp_path):
    with pytest.raises(ModelNotFound, match=r"modules\.json"):
        describe(str(tmp_path))
    base = tiny_model(tmp_path / "m")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(EmbedderError, match="safetensors"):
        describe(str(base))


# --- vectors ----------------------------------------------------------------------------------


@pytest.mark.model
def test_vectors_are_float32_unit_rows_in_the_order_of_the_texts(embedder):
    texts = [*TRICKY, *rng_texts(5)]
    vectors = embedder.embed(texts, input_type="document")
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    backwards = embedder.embed(texts[::-1], input_type="document")
    np.testing.assert_allclose(backwards[::-1], vectors, atol=1e-5)


@pytest.mark.model
def test_no_texts_give_no_rows(embedder):
    assert embedder.embed([], input_type="query").shape == (0, 384)


@pytest.mark.model
def test_vector_of_a_text_does_not_depend_on_its_neighbours(embedder):
    texts = [*TRICKY, *(rng_texts(1)[0] for _ in range(3)), *PROBE[:4]]
    together = embedder.embed(texts, input_type="document")
    alone = np.concatenate([embedder.embed([text], input_type="document") for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-3)
    assert (together * alone).sum(axis=1).min() > 0.99999


@pytest.mark.model
def test_tokens_come_with_the_vectors_that_there_are_without_them():
    coding = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="float32", tokens=True)
    texts = ["Tea boils.", "", *TRICKY, *rng_texts(3)]
    vectors, codes = coding.embed_coded(texts)
    np.testing.assert_allclose(vectors, coding.embed(texts, input_type="document"), atol=1e-5)
    shown = [coding.token_vectors(text, input_type="document") for text in texts]
    assert [len(each) // width(384) for each in codes] == [len(rows) for rows in shown]
    vector, asked = coding.embed_question(PROBE[0])
    np.testing.assert_allclose(vector, coding.embed([PROBE[0]], input_type="query")[0], atol=1e-5)
    np.testing.assert_allclose(asked, coding.token_vectors(PROBE[0], input_type="query"), atol=1e-5)
    matches = best_matches(asked, codes)
    for rows, found in zip(shown, matches, strict=True):
        assert np.abs((asked @ rows.T).max(axis=1, initial=-1.0) - found).max() < 0.1


def test_tokens_are_another_embedder_where_they_can_be_had(tmp_path):
    folder = tiny_model(tmp_path / "m")
    with_tokens = SentenceTransformerEmbedder(str(folder), tokens=True).info
    without = SentenceTransformerEmbedder(str(folder)).info
    assert (with_tokens.tokens, without.tokens) == (True, False)
    assert with_tokens.fingerprint != without.fingerprint
    exact, coarse = (
        SentenceTransformerEmbedder(str(folder), precision="bfloat16", tokens=kept).info
        for kept in (True, False)
    )
    assert exact == coarse  # that arithmetic gives none
    with pytest.raises(EmbedderError, match="opened without tokens"):
        SentenceTransformerEmbedder(str(folder)).embed_coded(["tea"])


@pytest.mark.model
def test_questions_and_documents_use_the_same_arithmetic(embedder):
    asked = embedder.embed(list(PROBE), input_type="query")
    stored = embedder.embed(list(PROBE), input_type="document")
    assert (asked * stored).sum(axis=1).min() > 0.99999


@pytest.mark.model
def test_text_beyond_the_token_limit_is_not_read(embedder):
    head = "word " * (embedder.info.max_tokens - 2)
    a, b, c = embedder.embed([head, head + "more " * 500, head[: 5 * 200]], input_type="document")
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert a @ c < 0.99999


@pytest.mark.model
def test_a_lone_surrogate_does_not_fail_its_batch(embedder):
    good, bad = embedder.embed(["hello", "he\ud800llo"], input_type="document")
    assert good @ embedder.embed(["hello"], input_type="query")[0] > 0.99999
    assert np.isfinite(bad).all()


@pytest.mark.model
def test_many_threads_get_what_one_thread_gets(embedder):
    questions = [text[:40] for text in rng_texts(24, seed=3)]
    expected = embedder.embed(questions, input_type="query")
    with ThreadPoolExecutor(16) as threads:
        job = threads.submit(embedder.embed, rng_texts(8, seed=4), input_type="document")
        found = list(threads.map(lambda q: embedder.embed([q], input_type="query")[0], questions))
        job.result()
    assert (np.stack(found) * expected).sum(axis=1).min() > 0.99999


@pytest.mark.model
def test_prefixes_are_put_in_front_of_queries_and_documents():
    plain = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="int8")
    prefixed = SentenceTransformerEmbedder(
        "all-MiniLM-L6-v2", precision="int8", query_prefix="query: ", document_prefix="passage: "
    )
    texts = ["¿Qué es un embedding?", "short"]
    for kind, prefix in (("query", "query: "), ("document", "passage: ")):
        expected = plain.embed([prefix + text for text in texts], input_type="document")
        np.testing.assert_allclose(prefixed.embed(texts, input_type=kind), expected, atol=1e-5)


def test_prefixes_come_from_the_models_own_prompts(tmp_path):
    embedder = SentenceTransformerEmbedder(str(tiny_model(tmp_path / "m")))
    asked = embedder.embed(["hola"], input_type="query")
    stored = embedder.embed(["query: hola", "hola"], input_type="document")
    np.testing.assert_allclose(asked[0], stored[0], atol=1e-5)
    assert asked[0] @ stored[1] < 0.999


@pytest.mark.model
def test_int8_stays_near_float32_in_english_and_spanish():
    texts = [*PROBE, *rng_texts(6, seed=5)]
    exact = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="float32").embed(
        texts, input_type="document"
    )
    small = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="int8").embed(
        texts, input_type="document"
    )
    assert (exact * small).sum(axis=1).min() >= MIN_COSINE["int8"]


@pytest.mark.model
@pytest.mark.slow
def test_float32_gives_the_vectors_of_sentence_transformers_and_bfloat16_is_near(capfd):
    from sentence_transformers import SentenceTransformer

    texts = [*TRICKY[2:6], *PROBE[:4], "word " * 300]
    reference = SentenceTransformer(str(BUNDLED), device="cpu").encode(texts, normalize_embeddings=True)
    ours = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="float32").embed(
        texts, input_type="document"
    )
    np.testing.assert_allclose(ours, reference, atol=1e-5)
    capfd.readouterr()
    short = texts[4:6]  # bfloat16 is slow on a CPU that has to imitate it
    near = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="bfloat16").embed(
        short, input_type="query"
    )
    assert (near * reference[4:6]).sum(axis=1).min() >= MIN_COSINE["bfloat16"]
    assert capfd.readouterr() == ("", "")  # no progress bar of transformers'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "model_type", "act"),
    [
        ("mean", "bert", "gelu"),
        ("cls", "bert", "gelu_new"),
        ("mean", "xlm-roberta", "gelu"),
        ("max", "bert", "gelu"),
    ],
)
def test_other_models_give_the_vectors_of_sentence_transformers(tmp_path, pooling, model_type, act):
    from sentence_transformers import SentenceTransformer

    base = tiny_model(tmp_path / "m", pooling=pooling, model_type=model_type, hidden_act=act)
    texts = [*rng_texts(6), "one", "word " * 100]
    # Ours sends no prompt for documents: this model's passage prompt is empty.
    reference = SentenceTransformer(str(base), device="cpu").encode(
        texts, normalize_embeddings=True, prompt=""
    )
    ours = SentenceTransformerEmbedder(str(base)).embed(texts, input_type="document")
    np.testing.assert_allclose(ours, reference, atol=2e-5)


def test_int8_is_refused_by_name_where_the_model_cannot_run_in_it(tmp_path):
    base = tiny_model(tmp_path / "m", pooling="max")
    with pytest.raises(EmbedderError, match=r"int8.*float32, bfloat16"):
        SentenceTransformerEmbedder(str(base), precision="int8")


# --- the choice -------------------------------------------------------------------------------


@pytest.mark.model
def test_chosen_precision_was_measured_and_accepted():
    choice = choose_precision("multilingual-e5-small", seconds=0.05)
    by_name = {measured.precision: measured for measured in choice.measured}
    assert set(by_name) >= {"float32", "int8"}
    assert by_name["float32"].min_cosine > 0.9999
    assert by_name[choice.precision].accepted
    assert all(measured.tokens_per_second > 0 for measured in choice.measured)


def test_rate_is_measured_for_a_model_that_reads_few_tokens(tmp_path):
    assert rate(SentenceTransformerEmbedder(str(tiny_model(tmp_path / "m"))), seconds=0.01) > 0


# --- the queue --------------------------------------------------------------------------------


class SlowEngine:
    """One worker; a text becomes (its number, 1); the run of "0" waits until it is let go."""

    workers = 1

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.started, self.go = threading.Event(), threading.Event()

    def prepare(self, texts):
        return [(len(text), text) for text in texts]

    def batches(self, lengths):
        return [[i] for i in range(len(lengths))]

    def run(self, items):
        self.ran.append(list(items))
        if "0" in items:
            self.started.set()
            assert self.go.wait(10)
        if "bad" in items:
            raise ValueError("bad text")
        return np.array([[float(item), 1] for item in items], dtype=np.float32)


def test_questions_go_ahead_of_waiting_documents_and_are_joined():
    engine = SlowEngine()
    queue = BatchQueue(engine, dim=2)
    with ThreadPoolExecutor(8) as threads:
        documents = threads.submit(queue.run, ["0", "1", "2"], ahead=False)
        assert engine.started.wait(10)
        questions = [threads.submit(queue.run, [str(n)], ahead=True) for n in (31, 32, 33)]
        while len(queue._questions) < 3:
            threading.Event().wait(0.001)
        engine.go.set()
        assert [q.result()[0, 0] for q in questions] == [31, 32, 33]
        assert documents.result()[:, 0].tolist() == [0, 1, 2]
    assert engine.ran[0] == ["0"]
    assert sorted(engine.ran[1]) == ["31", "32", "33"]
    assert engine.ran[2:] == [["1"], ["2"]]
    queue.close()


def test_a_failed_batch_fails_its_own_callers_only():
    engine = SlowEngine()
    engine.go.set()
    queue = BatchQueue(engine, dim=2)
    with pytest.raises(ValueError, match="bad text"):
        queue.run(["7", "bad"], ahead=False)
    assert queue.run(["8"], ahead=False)[0, 0] == 8
    queue.close()
    with pytest.raises(RuntimeError, match="closed"):
        queue.run(["9"], ahead=False)


def test_remembered_texts_are_embedded_once_and_the_oldest_are_forgotten():
    from rag.embed.remembering import RememberingEmbedder

    class Counting(HashEmbedder):
        asked: ClassVar[list[str]] = []

        def embed(self, texts, *, input_type):
            self.asked.extend(f"{input_type} {text}" for text in texts)
            return super().embed(texts, input_type=input_type)

    own = Counting()
    remembering = RememberingEmbedder(own, most=2)
    rows = remembering.embed(["a", "b", "a"], input_type="document")
    assert (rows == HashEmbedder().embed(["a", "b", "a"], input_type="document")).all()
    assert own.asked == ["document a", "document b"]
    remembering.embed(["b"], input_type="query")  # another text to a model with prefixes
    assert own.asked[2:] == ["query b"]
    remembering.embed(["b"], input_type="document")
    assert len(own.asked) == 3
    remembering.embed(["a"], input_type="document")
    assert own.asked[3:] == ["document a"]
    assert remembering.embed([], input_type="document").shape == (0, own.info.dim)
