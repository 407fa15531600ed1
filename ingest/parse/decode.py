"""Bytes to text: which encoding, and then a stream of text that never holds the whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

BLOCK = 1 << 20
"""Bytes decoded at a time."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH = bytes(range(128, 256))
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f\v\x1b\x00"))


def wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32, with a byte order mark or told by where its NULs stand; else "".

    >>> wide_encoding("España".encode("utf-16-le")), wide_encoding(b"plain")
    ('utf-16-le', '')
    """
    for mark, name in _BOMS[1:]:
        if head.startswith(mark):
            return name
    sample = head[: len(head[:4096]) // 4 * 4]
    if not sample or b"\x00" not in sample:
        return ""
    share = [sample[i::4].count(0) / (len(sample) // 4) for i in range(4)]
    if share[0] < 0.1 and min(share[2:]) > 0.9:
        return "utf-32-le"
    if share[3] < 0.1 and min(share[:2]) > 0.9:
        return "utf-32-be"
    if max(share[0], share[2]) < 0.1 and min(share[1], share[3]) > 0.4:
        return "utf-16-le"
    if max(share[1], share[3]) < 0.1 and min(share[0], share[2]) > 0.4:
        return "utf-16-be"
    return ""


def looks_binary(head: bytes) -> bool:
    """Whether more than one byte in twenty is one that no text holds. A NUL here and there is no proof.

    >>> looks_binary(b"a line\\x00 of text\\n"), looks_binary(bytes(range(256)))
    (False, True)
    """
    if not head or wide_encoding(head):
        return False
    controls = len(head) - len(head.translate(None, _CONTROLS))
    nuls = head.count(0)
    return controls > len(head) / 20 or nuls > max(1, len(head) / 10)


def encoding_of(data: bytes, *, declared: str = "") -> tuple[str, str]:
    """The encoding of ``data`` and how to treat bytes that do not fit it: ("utf-8", "strict"), ….

    In order: a byte order mark; UTF-16/32 by its NULs; UTF-8 when all of it decodes; ``declared``
    (a media type's or an HTML page's charset); UTF-8 with damaged spots; cp1252 for text whose bytes
    above 127 stand alone among ASCII, as accents do; what charset-normalizer says; cp1252.

    >>> encoding_of("España, niño, “comillas”".encode("cp1252"))
    ('cp1252', 'replace')
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name, "replace"
    if wide := wide_encoding(data[:4096]):
        return wide, "replace"
    if _is_utf8(data):
        return "utf-8", "strict"
    if declared and (name := _usable(declared, data)):
        return name, "replace"
    sample = _telling_sample(data)
    as_utf8 = sample.decode("utf-8", "replace")
    foreign = sum(not char.isascii() for char in as_utf8)
    if as_utf8.count("\ufffd") * 5 < foreign:
        return "utf-8", "replace"
    high = len(sample) - len(sample.translate(None, _HIGH))
    if high < 1.5 * len(re.findall(rb"[\x80-\xff]+", sample)):
        return "cp1252", "replace"
    from charset_normalizer import from_bytes

    best = from_bytes(sample, steps=5, chunk_size=512).best()
    return (best.encoding if best else "cp1252"), "replace"


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), BLOCK):
            decoder.decode(data[start : start + BLOCK])
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _usable(declared: str, data: bytes) -> str:
    try:
        name = codecs.lookup(declared.strip().strip("\"'")).name
        data[:BLOCK].decode(name, "strict")
    except (LookupError, UnicodeError, ValueError):
        return ""
    # HTML says Latin-1 and means cp1252 (WHATWG Encoding, labels of windows-1252).
    return "cp1252" if name in ("iso8859-1", "ascii") else "" if name == "utf-8" else name


def _telling_sample(data: bytes) -> bytes:
    """Up to 64 kB around bytes that are not ASCII: they alone tell encodings apart."""
    if len(data) <= 1 << 16:
        return data
    spots = (match.start() for match in re.finditer(rb"[\x80-\xff]", data))
    sample, reached = bytearray(), 0
    for spot in spots:
        if spot >= reached:
            reached = spot + 1024
            sample += data[max(0, spot - 64) : reached]
            if len(sample) >= 1 << 16:
                break
    return bytes(sample)


def blocks(data: bytes, *, declared: str = "") -> Iterator[str]:
    """The text of ``data`` in runs of about a megabyte, each ending at a line where there are lines."""
    encoding, errors = encoding_of(data, declared=declared)
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    held = ""
    for start in range(0, len(data), BLOCK):
        text = held + decoder.decode(data[start : start + BLOCK])
        cut = text.rfind("\n") + 1
        if not cut and len(text) > BLOCK:
            cut = text.rfind(" ") + 1 or len(text) - 1
        held = text[cut:]
        if cut:
            yield text[:cut]
    held += decoder.decode(b"", True)
    if held:
        yield held


def lines(data: bytes, *, declared: str = "") -> Iterator[str]:
    """The lines of ``data`` without their ends, whichever of the three kinds these are.

    >>> list(lines(b"a\\r\\nb\\rc"))
    ['a', 'b', 'c']
    """
    held: list[str] = []
    for block in blocks(data, declared=declared):
        first, *rest = block.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        held.append(first)
        if rest:
            yield "".join(held)
            held = [rest.pop()]
            yield from rest
    if last := "".join(held):
        yield last


def whole(data: bytes, *, declared: str = "") -> str:
    """All of the text at once, for formats that cannot be read in parts."""
    return "".join(blocks(data, declared=declared))


def charset(media_type: str) -> str:
    """The charset parameter of a media type.

    >>> charset("text/html; charset=ISO-8859-1")
    'ISO-8859-1'
    """
    match = re.search(r"charset\s*=\s*\"?([\w.:+-]+)", media_type, re.IGNORECASE)
    return match[1] if match else ""
