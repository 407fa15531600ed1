"""Chunks: the laws of a cut, on any text, and where a good cut falls."""

import random
import string
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.blocks import blocks, plain
from ingest.chunk import Chunker, SplitterChunker
from ingest.sentences import sentence_starts
from rag.errors import InvalidSetting
from rag.testing import WordTokenizer
from rag.types import Document, Page, clean_text

SHARED = Path(__file__).resolve().parents[2] / "shared"


class PairTokenizer:
    """Two characters of a word are a token: half a word has other tokens than the whole."""

    def offsets(self, text):
        spans = []
        for start, end in WordTokenizer().offsets(text).tolist():
            spans += [(at, min(at + 2, end)) for at in range(start, end, 2)]
        return np.array(spans, dtype=np.int32).reshape(-1, 2)


class UnknownTokenizer:
    """Like WordPiece, which reads a word of more than 100 characters as one unknown token."""

    def offsets(self, text):
        spans = []
        for start, end in WordTokenizer().offsets(text).tolist():
            step = end - start if end - start > 100 else 3
            spans += [(at, min(at + step, end)) for at in range(start, end, step)]
        return np.array(spans, dtype=np.int32).reshape(-1, 2)


TOKENIZERS = [WordTokenizer(), PairTokenizer(), UnknownTokenizer()]


def cut(text, *, tokenizer=None, max_tokens=64, title="", **options):
    document = Document("d", text, title=title)
    return Chunker(tokenizer or WordTokenizer(), max_tokens=max_tokens, **options).cut(document)


def hold_the_laws(document, chunks, tokenizer, max_tokens):
    covered = np.zeros(len(document.text), dtype=bool)
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert len(tokenizer.offsets(chunk.embedded_text)) + 2 <= max_tokens
        assert "\n" not in chunk.breadcrumb
        covered[chunk.start : chunk.end] = True
    lost = [i for i, character in enumerate(document.text) if not character.isspace() and not covered[i]]
    assert not lost
    spans = [(chunk.start, chunk.end) for chunk in chunks]
    assert spans == sorted(set(spans))


LINES = st.sampled_from(
    [
        "",
        "",
        "# One",
        "## Two { #two }",
        "### **Three** `x`",
        "Title",
        "=====",
        "---",
        "```python",
        "```",
        "~~~",
        "/// note | Look",
        "///",
        "!!! tip",
        "    indented line",
        "- item",
        "  - inner item",
        "1. first",
        "> quoted",
        "| a | b |",
        "|---|---|",
        "| 1 | 2 |",
        "<div>",
        "</div>",
        "The Sr. Gil spoke. ¿Qué dijo? Nothing.",
        "a" * 150,
        "for i in range(10): print(i)",
        "word " * 40,
        "x" * 40 + " " + "y" * 30,
        "Ends with a colon:",
        "\t",
        "#",
        "|",
    ]
)
MARKDOWN = st.lists(LINES | st.text(max_size=30), max_size=40).map("\n".join)


@given(
    MARKDOWN, st.sampled_from(TOKENIZERS), st.sampled_from([16, 24, 64, 256]), st.integers(1, 80), st.data()
)
@settings(max_examples=250, deadline=None)
@example("a" * 5000, TOKENIZERS[2], 16, 10, None)
def test_the_laws_of_a_cut(text, tokenizer, max_tokens, target, data):
    overlap = data.draw(st.integers(0, target - 1)) if data else 0
    title = (
        data.draw(st.sampled_from(["", "One", "A title of some words", "t" * 400, "long " * 90]))
        if data
        else ""
    )
    document = Document("d", clean_text(text), title=title)
    chunker = Chunker(tokenizer, max_tokens=max_tokens, target_tokens=target, overlap_tokens=overlap)
    chunks = chunker.cut(document)
    hold_the_laws(document, chunks, tokenizer, max_tokens)
    assert all(before.end < after.end for before, after in pairwise(chunks))
    assert chunker.cut(document) == chunks


@given(MARKDOWN)
@settings(max_examples=200, deadline=None)
def test_blocks_hold_every_character_once(text):
    found = list(blocks(text))
    for before, after in pairwise(found):
        assert before.end <= after.start
    inside = "".join(text[block.start : block.end] for block in found)
    assert "".join(inside.split()) == "".join(text.split())


def test_a_chunk_carries_what_is_known_of_its_document():
    document = Document(
        "guide.pdf",
        "# Guide\n\nFirst page.\n\n## Use\n\n" + "Second page. " * 20,
        title="guide",
        uri="file:guide.pdf",
        metadata={"language": "en"},
        pages=(Page(0, "i"), Page(30, "ii")),
    )
    chunks = Chunker(WordTokenizer(), max_tokens=64, target_tokens=40).cut(document)
    assert {(c.document_id, c.title, c.uri, c.key) for c in chunks} == {
        ("guide.pdf", "guide", "file:guide.pdf", 0)
    }
    assert all(chunk.metadata == {"language": "en"} for chunk in chunks)
    assert [chunk.page for chunk in chunks] == [document.page_at(chunk.start) for chunk in chunks]
    assert chunks[0].breadcrumb == "Guide", "a title equal to the first heading is said once"
    assert chunks[-1].heading == ("Guide", "Use")
    assert chunks[-1].breadcrumb == "Guide > Use"


def test_headings_of_both_kinds_make_the_path():
    text = "Kitchen\n=======\n\nIntro words here.\n\nTea\n---\n\nBoil it.\n\n"
    text += "### **Green** { #green }\n\nWait.\n\n## Bread\n\nBake."
    paths = [block.path for block in blocks(text) if block.kind == "prose"]
    assert paths == [("Kitchen",), ("Kitchen", "Tea"), ("Kitchen", "Tea", "Green"), ("Kitchen", "Bread")]


def test_what_looks_like_a_heading_inside_code_is_code():
    text = "# A\n\n```sh\n# comment\n\n## more\n```\n\n  ~~~~\n~~~\n# no\n~~~~\n\n"
    text += "- item\n\n  ```\n  # no\n  ```\n\n#hashtag"
    assert [text[b.start : b.end] for b in blocks(text) if b.kind == "heading"] == ["# A"]


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("Uso { #uso }", "Uso"),
        ("Uso {#uso .clase}", "Uso"),
        ("**Bold** and *thin* ##", "Bold and thin"),
        ("`snake_case_name` of a_b_c", "snake_case_name of a_b_c"),
        ("[Link](https://example.org/a_b) <abbr title='x'>API</abbr>", "Link API"),
        ("C# and 2 * 3 * 4", "C# and 2 * 3 * 4"),
        ("", ""),
    ],
)
def test_a_heading_is_shown_without_its_markup(heading, shown):
    assert plain(heading) == shown


def test_code_and_tables_stay_whole_where_they_fit():
    code = "```python\n" + "".join(f"call({i})\n" for i in range(9)) + "```"
    table = "| name | size |\n|---|---|\n" + "\n".join(f"| row{i} | {i} |" for i in range(5))
    text = (
        f"# T\n\n{'Some words of prose. ' * 6}\n\n{code}\n\n{'More words of prose. ' * 6}\n\n{table}\n\nEnd."
    )
    chunks = cut(text, max_tokens=80, target_tokens=30)
    for block in (code, table):
        assert sum(block in chunk.text for chunk in chunks) == 1


def test_code_and_tables_too_long_are_cut_between_lines():
    lines = [f"    result_{i} = compute(alpha, {i})" for i in range(200)]
    rows = [f"| cell {i} | value {i} |" for i in range(200)]
    for block in ("```python\n" + "\n".join(lines) + "\n```", "| a | b |\n|---|---|\n" + "\n".join(rows)):
        chunks = cut(block, max_tokens=64)
        whole = set(block.split("\n"))
        assert len(chunks) > 5
        for chunk in chunks:
            assert set(chunk.text.split("\n")) <= whole


def test_a_heading_or_an_introduction_goes_with_what_follows():
    text = "# A\n\n" + "Word by word. " * 10 + "\n\n## B\n\nDo this:\n\n```\n" + "run now\n" * 14 + "```\n"
    chunks = cut(text, max_tokens=64, target_tokens=34)
    assert [chunk.text.split("\n")[0] for chunk in chunks][-1] == "## B"
    assert "Do this:\n\n```\nrun now" in chunks[-1].text


def test_an_admonition_keeps_its_two_ends():
    text = (
        "# A\n\n"
        + "Word by word. " * 7
        + "\n\n/// note | Look\n\nThis is said apart from the rest.\n\n///\n\nEnd."
    )
    for chunk in cut(text, max_tokens=64, target_tokens=34):
        assert chunk.text.count("///") in (0, 2)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Primero. Segundo.", ["Primero.", "Segundo."]),
        ("¿Qué es? ¡Esto! Fin.", ["¿Qué es?", "¡Esto!", "Fin."]),
        ("El Sr. Gil y la Sra. Ruiz ven el art. 5, núm. 3. Luego salen.", None),
        ("See e.g. Smith et al. 2009, i.e. the U.S. Code. Then stop.", None),
        ("Vale 3.14 o 1.000,5 euros. Fin.", ["Vale 3.14 o 1.000,5 euros.", "Fin."]),
        ("J. R. Jiménez nació allí. Fin.", ["J. R. Jiménez nació allí.", "Fin."]),
        ("He said “Stop.” Then he left.", ["He said “Stop.”", "Then he left."]),
        ("Dijo que no. Después sí.", ["Dijo que no.", "Después sí."]),
        ("最初の文。次の文。", ["最初の文。", "次の文。"]),
        (
            "v1.2 of example.org is out... and works. Yes.",
            ["v1.2 of example.org is out... and works.", "Yes."],
        ),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text, sentences):
    starts = [0, *sentence_starts(text, 0, len(text)), len(text)]
    found = [text[a:b].strip() for a, b in pairwise(starts)]
    if sentences is None:
        assert len(found) == 2
    else:
        assert found == sentences


def test_prose_too_long_is_cut_after_sentences():
    text = " ".join(f"The {i}th sentence has exactly nine words and ends." for i in range(60))
    for chunk in cut(text, max_tokens=64):
        assert chunk.text.startswith("The ")
        assert chunk.text.endswith("ends.")


def test_a_sentence_too_long_is_cut_between_words_and_a_blob_between_characters():
    words = " ".join(random.Random(0).choices(["alpha", "beta", "gamma"], k=500))
    for chunk in cut(words, max_tokens=32):
        assert set(chunk.text.split()) <= {"alpha", "beta", "gamma"}
    blob = "".join(random.Random(0).choices(string.ascii_letters, k=10_000))
    for tokenizer in TOKENIZERS:
        chunks = cut(blob, tokenizer=tokenizer, max_tokens=64)
        assert "".join(chunk.text for chunk in chunks) == blob
        assert max(len(chunk.text) for chunk in chunks) <= 64 * 32


def test_a_wide_gap_of_white_space_makes_no_wide_chunk():
    chunks = cut("one" + " " * 100_000 + "two", max_tokens=64)
    assert [chunk.text for chunk in chunks] == ["one", "two"]


def test_tiny_sections_share_a_chunk_under_their_common_heading():
    text = "# Shop\n\n" + "".join(f"## Item {i}\n\nIn stock.\n\n" for i in range(8))
    chunks = cut(text, max_tokens=128, target_tokens=80)
    assert len(chunks) < 8
    assert all(chunk.heading == ("Shop",) for chunk in chunks)
    long = "# Shop\n\n" + "".join(f"## Item {i}\n\n{'It is in stock again. ' * 8}\n\n" for i in range(8))
    assert [chunk.heading[-1] for chunk in cut(long, max_tokens=128, target_tokens=80)][1:] == [
        f"Item {i}" for i in range(1, 8)
    ]


def test_the_next_chunk_repeats_whole_sentences_when_asked_to():
    text = " ".join(f"The {i}th sentence has exactly nine words and ends." for i in range(40))
    plain_cut = cut(text, max_tokens=128, target_tokens=50)
    overlapping = cut(text, max_tokens=128, target_tokens=50, overlap_tokens=25)
    assert [chunk.end for chunk in plain_cut] == [chunk.end for chunk in overlapping]
    for before, after in pairwise(overlapping):
        assert after.start < before.end
        assert after.text.startswith("The ")
        assert len(WordTokenizer().offsets(text[after.start : before.end])) <= 25


def test_a_breadcrumb_too_long_loses_its_middle_first():
    path = "# Alpha one\n## Beta two three four\n### Gamma five six seven\n#### Delta eight\n\nBody text."
    [chunk] = cut(path, max_tokens=64, title="Omega")
    assert chunk.heading[0] == "Alpha one"
    chunks = [
        cut(f"{path}\n\n{'Words and words. ' * 20}", max_tokens=most, title="Omega")[-1]
        for most in (80, 44, 28, 16)
    ]
    assert [chunk.breadcrumb for chunk in chunks] == [
        "Omega > Alpha one > Beta two three four > Gamma five six seven > Delta eight",
        "Omega > … > Gamma five six seven > Delta eight",
        "Omega > … > Delta eight",
        "Delta eight",
    ]
    for chunk, most in zip(chunks, (80, 44, 28, 16), strict=True):
        assert len(WordTokenizer().offsets(chunk.breadcrumb)) <= most // 4
        assert chunk.breadcrumb.endswith("Delta eight")


def test_a_text_of_white_space_has_no_chunks():
    assert cut("") == cut(" \n\t\n ") == []


def test_the_fingerprint_names_everything_that_shapes_a_cut():
    def fingerprint(**options):
        return Chunker(WordTokenizer(), **{"max_tokens": 64, "target_tokens": 40, **options}).fingerprint

    others = [
        fingerprint(max_tokens=65),
        fingerprint(target_tokens=41),
        fingerprint(overlap_tokens=1),
        fingerprint(tokenizer_name="other"),
    ]
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), *others}) == 5


@pytest.mark.parametrize(
    "options", [{"max_tokens": 8}, {"target_tokens": 0}, {"target_tokens": 9, "overlap_tokens": 9}]
)
def test_impossible_settings_are_refused_by_name(options):
    with pytest.raises(InvalidSetting, match="_tokens is"):
        Chunker(WordTokenizer(), **{"max_tokens": 64, **options})


class CountingTokenizer(WordTokenizer):
    def __init__(self):
        self.characters = 0

    def offsets(self, text):
        self.characters += len(text)
        return super().offsets(text)


@pytest.mark.parametrize(
    "unit", ["A sentence of words. ", "word ", "a line\n", "# H\n\nSome text here.\n\n", "| a | b |\n"]
)
def test_a_long_document_is_tokenised_about_once(unit):
    tokenizer = CountingTokenizer()
    text = unit * (300_000 // len(unit))
    chunks = cut(text, tokenizer=tokenizer, max_tokens=256)
    assert chunks
    assert tokenizer.characters < 1.2 * len(text)


@pytest.mark.shared
def test_real_pages_hold_the_laws():
    folder = SHARED / "docs" / "fastapi-docs"
    if not folder.is_dir():
        pytest.skip("needs the documentation pages beside the project")
    pages = random.Random(0).sample(sorted(folder.rglob("*.md")), 40)
    for page in pages:
        document = Document(page.name, clean_text(page.read_text("utf-8")), title=page.stem)
        chunks = Chunker(WordTokenizer(), max_tokens=256).cut(document)
        hold_the_laws(document, chunks, WordTokenizer(), 256)


class Splitter:
    """The cuts of LangChain's CharacterTextSplitter: fixed parts that overlap, stripped."""

    def __init__(self, size, overlap):
        self.size, self.overlap = size, overlap

    def split_text(self, text):
        step = self.size - self.overlap
        return [part for i in range(0, len(text), step) if (part := text[i : i + self.size].strip())]


@given(MARKDOWN, st.integers(5, 60), st.integers(0, 4), st.sampled_from(TOKENIZERS))
@settings(max_examples=80, deadline=None)
def test_the_cuts_of_another_splitter_hold_the_laws_too(text, size, overlap, tokenizer):
    document = Document("d", clean_text(text), title="Title")
    chunker = SplitterChunker(Splitter(size, overlap), tokenizer, max_tokens=24, name="fixed")
    hold_the_laws(document, chunker.cut(document), tokenizer, 24)


def test_a_langchain_splitter_can_be_plugged_in():
    splitters = pytest.importorskip("langchain_text_splitters")
    text = "# A\n\n" + "\n\n".join(f"Paragraph {i} has some words in it." * 3 for i in range(30))
    splitter = splitters.RecursiveCharacterTextSplitter(chunk_size=300, chunk_overlap=60)
    document = Document("d", text)
    chunks = SplitterChunker(splitter, WordTokenizer(), max_tokens=64, name="recursive-300-60").cut(document)
    hold_the_laws(document, chunks, WordTokenizer(), 64)
    assert len(chunks) > 10
    assert all(chunk.heading == ("A",) for chunk in chunks)


def test_a_splitter_that_alters_the_text_is_refused():
    class Upper:
        def split_text(self, text):
            return [text.upper()]

    with pytest.raises(InvalidSetting, match="alters the text"):
        SplitterChunker(Upper(), WordTokenizer(), max_tokens=64, name="upper").cut(Document("d", "small"))
