"""What a file is: by its first bytes, then by its media type, then by its name."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from ingest.parse.decode import looks_binary, wide_encoding
from ingest.parse.metadata import file_name
from rag.errors import SourceError

Format: TypeAlias = Literal[
    "code", "csv", "docx", "eml", "epub", "html", "json", "jsonl", "markdown", "odt",
    "pdf", "pptx", "rst", "rtf", "text", "tsv", "xlsx", "xml",
]  # fmt: skip

HEAD_BYTES = 1 << 16
"""How much of a file's beginning is enough to tell what it is."""

MEDIA_TYPES: dict[Format, str] = {
    "code": "text/x-source",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "markdown": "text/markdown",
    "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rst": "text/x-rst",
    "rtf": "application/rtf",
    "text": "text/plain",
    "tsv": "text/tab-separated-values",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
}
_BY_MEDIA_TYPE: dict[str, Format] = {
    **{name: kind for kind, name in MEDIA_TYPES.items() if kind not in ("text", "code")},
    "application/xhtml+xml": "html",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/rss+xml": "xml",
    "application/atom+xml": "xml",
    "text/rtf": "rtf",
    "text/x-markdown": "markdown",
    "text/xml": "xml",
    "text/prs.fallenstein.rst": "rst",
}
_EXTENSIONS: dict[Format, str] = {
    "csv": "csv",
    "docx": "docm docx dotx",
    "eml": "eml",
    "epub": "epub",
    "html": "htm html xhtml",
    "json": "json",
    "jsonl": "jsonl ndjson",
    "markdown": "markdown md mdx mkd qmd rmd",
    "odt": "odt",
    "pdf": "pdf",
    "pptx": "pptm pptx",
    "rst": "rst",
    "rtf": "rtf",
    "text": "text txt",
    "tsv": "tab tsv",
    "xlsx": "xlsm xlsx",
    "xml": "atom rss xml",
}
_BY_EXTENSION: dict[str, Format] = {
    extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()
}
CODE_LANGUAGES = {
    "bash": "bash", "bat": "bat", "c": "c", "cc": "cpp", "cfg": "ini", "clj": "clojure", "cmake": "cmake",
    "conf": "ini", "cpp": "cpp", "cs": "csharp", "css": "css", "cu": "cuda", "dart": "dart", "diff": "diff",
    "dockerfile": "dockerfile", "el": "lisp", "erl": "erlang", "ex": "elixir", "exs": "elixir",
    "f90": "fortran", "fs": "fsharp", "go": "go", "gradle": "groovy", "graphql": "graphql",
    "groovy": "groovy", "h": "c", "hpp": "cpp", "hs": "haskell", "ini": "ini", "java": "java",
    "jl": "julia", "js": "javascript", "jsx": "jsx", "kt": "kotlin", "less": "less", "lua": "lua",
    "m": "matlab", "makefile": "makefile", "mjs": "javascript", "mk": "makefile", "ml": "ocaml",
    "nix": "nix", "patch": "diff", "php": "php", "pl": "perl", "properties": "properties",
    "proto": "protobuf", "ps1": "powershell", "py": "python", "pyi": "python", "r": "r", "rb": "ruby",
    "rs": "rust", "scala": "scala", "scss": "scss", "sh": "bash", "sql": "sql", "svelte": "svelte",
    "swift": "swift", "tex": "latex", "tf": "hcl", "toml": "toml", "ts": "typescript", "tsx": "tsx",
    "vb": "vb", "vue": "vue", "yaml": "yaml", "yml": "yaml", "zig": "zig", "zsh": "bash",
}  # fmt: skip

_UNSUPPORTED = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!\x1a", "a RAR archive; unpack it first"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet table; export it as CSV or JSONL"),
    (b"OggS", "an audio or video file"),
    (b"ID3", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"RIFF", "an audio, video or WebP image file"),
)
_EXECUTABLE = (b"\x7fELF", b"MZ\x90", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\x00asm")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = ("EncryptedPackage", "WordDocument", "Workbook", "PowerPoint Document", "__properties_")
_HTML = re.compile(rb"\A(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+html|html|head|body)[\s>]", re.I | re.S)
_MAIL = re.compile(
    rb"\A(?:From |(?:Return-Path|Received|Delivered-To|Message-ID|MIME-Version|X-[\w-]+):)", re.I
)
_ZIP_MEMBER = re.compile(rb"PK\x03\x04.{22}(..)..", re.S)
_OFFICE_FOLDERS: tuple[tuple[str, Format], ...] = (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx"))
_ZIP_FORMATS: tuple[Format, ...] = ("docx", "xlsx", "pptx", "odt", "epub")


def format_of(uri: str, head: bytes, media_type: str = "") -> Format:
    """Which format the file is, whatever its name says. ``head`` is its first 64 kB.

    Raises SourceError: ``empty``, ``binary``, ``unsupported``, ``encrypted`` or ``damaged``.

    >>> format_of("notes.txt", b"%PDF-1.7 ..."), format_of("notes.md", b"# Hi")
    ('pdf', 'markdown')
    """
    claimed = _claimed(uri, media_type)
    if not head:
        raise SourceError("empty", "the file holds no bytes")
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _zip_format(head, claimed)
    if head.startswith(OLE):
        return _ole_format(head, claimed)
    if head.lstrip()[:5] == b"{\\rtf":
        return "rtf"
    _refuse_known(head)
    if looks_binary(head):
        if claimed in (*_ZIP_FORMATS, "pdf"):
            raise SourceError("damaged", f"called {claimed}, but its bytes are not of that format")
        raise SourceError("binary", "the bytes are no text and no format that promptwell knows")
    if not head.strip(b" \t\r\n\f\v\x00\xef\xbb\xbf\xff\xfe"):
        if len(head) < HEAD_BYTES:
            raise SourceError("empty", "the file holds only white space")
        return "text"
    return _text_format(head, claimed)


def _claimed(uri: str, media_type: str) -> Format | None:
    kind = _BY_MEDIA_TYPE.get(media_type.partition(";")[0].strip().lower())
    if kind:
        return kind
    extension = _extension(uri)
    return _BY_EXTENSION.get(extension) or ("code" if extension in CODE_LANGUAGES else None)


def _extension(uri: str) -> str:
    name = file_name(uri).lower()
    return name.rpartition(".")[2]  # Makefile and Dockerfile are their own extension


def code_language(uri: str) -> str:
    """The name that a code fence gives to the language of a file, "" when unknown.

    >>> code_language("src/main.rs"), code_language("Makefile")
    ('rust', 'makefile')
    """
    return CODE_LANGUAGES.get(_extension(uri), "")


def _zip_format(head: bytes, claimed: Format | None) -> Format:
    names: list[str] = []
    for match in _ZIP_MEMBER.finditer(head):
        start, length = match.end(), int.from_bytes(match[1], "little")
        names.append(head[start : start + length].decode("utf-8", "replace"))
        if names == ["mimetype"]:
            content = head[start + length : start + length + 60]
            if content.startswith(b"application/epub+zip"):
                return "epub"
            if content.startswith(b"application/vnd.oasis.opendocument.text"):
                return "odt"
            raise SourceError("unsupported", "an OpenDocument file other than text; save it as ODT or PDF")
    for folder, kind in _OFFICE_FOLDERS:
        if any(name.startswith(folder) for name in names):
            return kind
    if claimed in _ZIP_FORMATS:
        return claimed
    raise SourceError("unsupported", "a ZIP archive; unpack it first")


def _ole_format(head: bytes, claimed: Format | None) -> Format:
    """An OLE file is an old Office document, or a new one wrapped in encryption; the stream names tell."""
    streams = [name for name in _OLE_STREAMS if name.encode("utf-16-le") in head]
    if "EncryptedPackage" in streams or (not streams and claimed in ("docx", "xlsx", "pptx")):
        raise SourceError("encrypted", "the Office file asks for a password; save it without one")
    raise SourceError(
        "unsupported",
        "an old Office file (.doc, .xls, .ppt, .msg); save it as DOCX or PDF",
    )


def _refuse_known(head: bytes) -> None:
    if head.startswith(_EXECUTABLE):
        raise SourceError("binary", "a program, not a document")
    if head[257:262] == b"ustar":
        raise SourceError("unsupported", "a tar archive; unpack it first")
    if head[4:8] == b"ftyp":
        raise SourceError("unsupported", "a video or HEIC image")
    for magic, what in _UNSUPPORTED:
        # Text may begin with these letters ("BZh", "ID3"): then what follows is text too.
        if head.startswith(magic) and (
            not magic.isascii() or looks_binary(head[:4096]) or b"\x00" in head[:512]
        ):
            raise SourceError("unsupported", what)


def _text_format(head: bytes, claimed: Format | None) -> Format:
    narrow = head.replace(b"\x00", b"") if wide_encoding(head) else head
    narrow = narrow.lstrip(b"\xef\xbb\xbf\xff\xfe")
    if claimed in ("markdown", "rst", "code", "csv", "tsv", "json", "jsonl"):
        return claimed  # these may begin with a tag of their own
    if _HTML.match(narrow):
        return "html"
    if narrow.lstrip().startswith(b"<?xml"):
        return "xml"
    if claimed in (None, "eml") and _MAIL.match(narrow):
        return "eml"
    if claimed in ("pdf", "docx", "xlsx", "pptx", "odt", "epub", "rtf"):
        return "text"
    return claimed or "text"
