"""Text, source code and XML: what needs no more than decoding."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from ingest.parse.decode import blocks, charset, whole
from ingest.parse.metadata import file_name, stem
from ingest.parse.options import Draft, Piece, Source
from ingest.parse.sniff import code_language


def read_text(source: Source) -> Iterator[Draft]:
    """Plain text as it stands, decoded a megabyte at a time."""
    text = blocks(source.data, declared=charset(source.media_type))
    yield Draft((Piece(block) for block in text), title=stem(source.uri))


def read_code(source: Source) -> Iterator[Draft]:
    """One code fence, longer than any run of backticks inside, with the language's name."""
    # The optional NULs find backticks in UTF-16 too.
    runs = re.finditer(rb"(?:`\x00?){3,}", source.data)
    fence = "`" * max(3, 1 + max((match[0].count(b"`") for match in runs), default=0))
    language = code_language(source.uri)
    text = blocks(source.data, declared=charset(source.media_type))
    yield Draft(
        (Piece(block) for block in text),
        title=file_name(source.uri),
        opening=f"{fence}{language}\n",
        closing=f"\n{fence}\n",
    )


_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_NO_TEXT = re.compile(r"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.DOTALL)
_TAG = re.compile(r"</?[^\W\d][^<>]*>")
_TITLE = re.compile(r"<(?:\w+:)?title\b[^>]*>([^<]{1,300})<", re.IGNORECASE)


def read_xml(source: Source) -> Iterator[Draft]:
    """The text between the tags, line by line. No entity is defined, so none can expand.

    >>> bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "x">]><a><t>One &amp; two</t><t>&b;</t></a>'
    >>> from ingest.parse.options import DEFAULTS
    >>> [draft] = read_xml(Source("a.xml", bomb, "application/xml", DEFAULTS))
    >>> [piece.text for piece in draft.pieces]
    ['One & two\\n&b;']
    """
    declared = re.match(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)", source.data)
    name = declared[1].decode("ascii", "replace") if declared else charset(source.media_type)
    markup = whole(source.data, declared=name)
    title = _TITLE.search(markup)
    text = _NO_TEXT.sub("", _CDATA.sub(lambda match: html.escape(match[1], quote=False), markup))
    lines = (line.strip() for line in html.unescape(_TAG.sub("\n", text)).split("\n"))
    kept = "\n".join(line for line in lines if line)
    yield Draft([Piece(kept)], title=html.unescape(title[1]).strip() if title else stem(source.uri))
