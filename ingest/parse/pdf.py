"""PDF to Markdown, page by page, by liteparse."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ingest.parse.metadata import flat, plain_line, stem
from ingest.parse.options import Draft, Piece, Source
from rag.errors import SourceError
from rag.types import MetadataValue

BATCH_PAGES = 200
"""Pages that liteparse holds at once; it looks for running headers within a batch."""

MIN_PAGE_TEXT = 20
"""A page with fewer characters than this has no text layer."""

_NO_TITLE = re.compile(
    r"^(microsoft (word|powerpoint)|untitled|sin t[íi]tulo|document\d*$|\W*$)|\.\w{3,4}$", re.I
)


def read(source: Source) -> Iterator[Draft]:
    """One draft with a piece for each page. No OCR: pages of images alone are counted, not read.

    Metadata ``pages_without_text`` says how many. Raises SourceError: ``encrypted``, ``damaged``,
    ``no_text`` when no page has a text layer, ``too_large``.
    """
    labels, texts, about = _pages(source)
    empty = sum(len("".join(text.split())) < MIN_PAGE_TEXT for text in texts)
    if empty == len(texts):
        raise SourceError(
            "no_text",
            f"none of the {len(texts)} pages has a text layer: run OCR over the PDF (ocrmypdf) first",
        )
    if empty:
        about["pages_without_text"] = empty
    title = about.pop("title", "") or _first_page_title(texts) or stem(source.uri)
    texts = [unfold_prose(text) for text in without_running_lines(texts, labels)]
    pieces = [
        Piece(text.strip("\n") + "\n\n", label)
        for text, label in zip(texts, labels, strict=True)
        if text.strip()
    ]
    yield Draft(pieces, title=str(title), metadata=about)


def _pages(source: Source) -> tuple[list[str], list[str], dict[str, MetadataValue]]:
    from liteparse import LiteParse, ParseError

    parser = LiteParse(
        ocr_enabled=False,
        quiet=True,
        output_format="markdown",
        image_mode="off",
        num_workers=1,
        max_pages=source.options.max_pages,
        continue_on_page_error=True,
        extract_document_metadata=True,
    )
    labels: list[str] = []
    texts: list[str] = []
    about: dict[str, MetadataValue] = {}
    size = 0
    try:
        for batch in parser.parse_batches(source.data, BATCH_PAGES):
            if batch.total_pages > source.options.max_pages:
                raise SourceError(
                    "too_large", f"{batch.total_pages:,} pages; the limit is {source.options.max_pages:,}"
                )
            if not labels:
                about = _metadata(batch.result.doc_meta)
            for page in batch.result.pages:
                labels.append(page.page_label or str(page.page_num))
                text = _EMPTY_FENCE.sub("", page.markdown)
                # A page like all others is a running header to liteparse, which then leaves nothing.
                texts.append(text if text.strip() else page.text.strip())
                size += len(texts[-1])
            if size > source.options.max_total_chars:
                raise SourceError("too_large", "more text comes out of the PDF than the limit allows")
    except ParseError as error:
        if "password" in str(error).lower():
            raise SourceError("encrypted", "the PDF asks for a password; save it without one") from None
        raise SourceError("damaged", f"the PDF cannot be read ({error}); it may be cut off") from None
    if not labels:
        raise SourceError("damaged", "the PDF has no page that can be read")
    return labels, texts, about


_EMPTY_FENCE = re.compile(r"^```\w*\n\s*```\n?", re.MULTILINE)
_PDF_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?")


def _metadata(about: Any) -> dict[str, MetadataValue]:
    """Title and author from the XMP packet, read without an XML parser; the date from the info dictionary."""
    if about is None:
        return {}
    date = _PDF_DATE.match(about.creation_date or "")
    found: dict[object, object] = {"title": _xmp(about.xmp, "title"), "author": _xmp(about.xmp, "creator")}
    if date:
        found["date"] = "-".join(part for part in date.groups()[:3] if part)
    if _NO_TITLE.search(str(found["title"])):
        del found["title"]
    return flat(found)


def _xmp(packet: str | None, name: str) -> str:
    element = re.search(rf"<dc:{name}\b[^>]*>(.{{0,2000}}?)</dc:{name}>", packet or "", re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", element[1]).split())) if element else ""


def _first_page_title(texts: list[str]) -> str:
    """The one biggest heading of the first page that has text; "" when several are as big."""
    page = next(text for text in texts if len("".join(text.split())) >= MIN_PAGE_TEXT)
    headings = [(len(match[1]), plain_line(match[2])) for match in _HEADING.finditer(page)]
    biggest = [words for level, words in headings if level == min(headings)[0]]
    return biggest[0] if len(biggest) == 1 and min(headings)[0] <= 2 else ""


_HEADING = re.compile(r"^(#{1,6}) (.+)$", re.MULTILINE)


def without_running_lines(texts: list[str], labels: list[str]) -> list[str]:
    """Pages without their numbers and without the running headers and footers that liteparse left.

    A line goes when the same one, but for the page's own number, stands at the same edge of one of
    the two pages before and of four pages in all. So the first of each run stays, and no word is
    lost.

    >>> pages = [f"Rain Atlas {n}\\n\\nText {word}." for n, word in enumerate("abcd", 1)]
    >>> without_running_lines(pages, ["1", "2", "3", "4"])[1:]
    ['\\nText b.', '\\nText c.', '\\nText d.']
    """
    split = [text.split("\n") for text in texts]
    edges = [
        _edges(lines, number, label) for number, (lines, label) in enumerate(zip(split, labels, strict=True))
    ]
    together = [set().union(*page.values()) for page in edges]
    seen = Counter(key for page in together for key in page)
    kept: list[str] = []
    for number, (lines, page, label) in enumerate(zip(split, edges, labels, strict=True)):
        before = set().union(*together[max(0, number - 2) : number])
        gone = {
            at
            for at, keys in page.items()
            if any(seen[key] >= 4 and key in before for key in keys) or _is_number(lines[at], label)
        }
        rules = {at for at in range(len(lines)) if lines[at] == "---" and _beside(lines, at, gone)}
        kept.append("\n".join(line for at, line in enumerate(lines) if at not in gone | rules))
    return kept


def _is_number(line: str, label: str) -> bool:
    """Whether a line is the page's printed number and nothing else: "- 12 -", "Página 12"."""
    return re.sub(r"^(page|página|pág\.?) ", "", line.strip(" -–—*#.[]").lower()) == label.lower()


def _edges(lines: list[str], number: int, label: str) -> dict[int, set[tuple[str, str]]]:
    """The first and last two lines of a page by their index, each with the keys by which it repeats.

    A key is the edge and the words. Numbers tell headings apart ("Article 5"), so in other lines
    alone the first or the last number is also counted from the page's position, which makes
    "Atlas 12" on one page and "Atlas 13" on the next the same.
    """
    worded = [at for at, line in enumerate(lines) if line.strip() and line != "---"]
    found: dict[int, set[tuple[str, str]]] = {}
    for edge, chosen in (("top", worded[:2]), ("bottom", worded[2:][-2:])):
        for at in chosen:
            line = lines[at]
            if len(line) > 120 or line.startswith(("|", "```")):
                continue
            words = plain_line(re.sub(r"^#+ ", "", line)).lower()
            keys = {words}
            if not line.startswith(("#", "**")):
                keys.add(re.sub(rf"(?<!\w){re.escape(label.lower())}(?!\w)", "#", words))
                numbers = list(re.finditer(r"\d{1,6}", words))
                for match in numbers[:1] + numbers[-1:]:
                    keys.add(f"{words[: match.start()]}#{int(match[0]) - number}{words[match.end() :]}")
            found[at] = {(edge, key) for key in keys if any(char.isalpha() for char in key)}
    return found


def _beside(lines: list[str], at: int, gone: set[int]) -> bool:
    """Whether a rule stands next to a line that goes, or at the very edge of the page."""
    above = next((i for i in range(at - 1, -1, -1) if lines[i].strip()), None)
    below = next((i for i in range(at + 1, len(lines)) if lines[i].strip()), None)
    return above is None or below is None or above in gone or below in gone


_TABLE = re.compile(r"(?:^\|.*\|[ ]*(?:\n|\Z)){4,}", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


def unfold_prose(markdown: str) -> str:
    """Undo tables that are justified paragraphs, cut in two where the spaces of many lines meet.

    Such a "table" has two columns, rows about as long as the page is wide, and sentences that run
    over from cell to cell and from row to row (LaTeX documents; seen in Debian's maint-guide-es).
    """
    return _TABLE.sub(_unfold, markdown)


def _unfold(match: re.Match[str]) -> str:
    rows = [
        [cell.strip() for cell in _CELL.split(line.strip())[1:-1]]
        for line in match[0].rstrip("\n").split("\n")
        if not re.fullmatch(r"[|\s:-]+", line)
    ]
    if any(len(row) != 2 for row in rows) or len(rows) < 3:
        return match[0]
    heading = ""
    if re.fullmatch(r"\d+(\.\d+)*\.?", rows[0][0]):
        heading = f"#### {rows[0][0]} {rows[0][1]}\n\n"
        rows = rows[1:]
    lengths = [len(first) + len(second) for first, second in rows]
    full = sum(length >= 0.8 * max(lengths) for length in lengths)
    across = sum(_runs_on(first, second) for first, second in rows)
    down = sum(_runs_on(above[1], below[0]) for above, below in pairwise(rows))
    if max(lengths) < 80 or min(full, across, 2 * down) < len(rows) / 2:
        return match[0]
    text = "\n".join(" ".join(row).strip() for row in rows).replace("\\|", "|")
    return heading + re.sub(r"(?<=[^\W\d_])-\n(?=[a-zà-ÿ])", "", text) + "\n"


def _runs_on(before: str, after: str) -> bool:
    """Whether a sentence goes on from one cell into the next."""
    return (
        bool(before and after) and before[-1] not in ".:;!?" and (after[0].islower() or after[0] in "(«“\"'")
    )
