"""A pack: prompts in one file, with what they include, their tests and recorded answers, under a licence.

``MANIFEST.json`` says what it is called, who may use it how, where each prompt is from, and the SHA-256 of
every other file. The same content gives the same bytes. A pack is text from outside: it is read whole and
checked before anything of it is written, and no name in it leads out of the folder that it is put into.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from rag.errors import InvalidPack, InvalidTemplate, PromptError
from rag.prompts.exchange import stored
from rag.prompts.parts import path_of
from rag.prompts.template import PromptTemplate
from rag.prompts.testing.suite import read_suite

SUFFIX, MANIFEST, FORMAT = ".promptpack", "MANIFEST.json", 1
MAX_FILES = 2000
MAX_FILE = 4 << 20
"""Bytes of one file."""
MAX_BYTES = 32 << 20
"""Bytes of a pack."""
KINDS = (".prompty", ".yaml", ".yml", ".md", ".txt", ".json", ".jsonl")
"""How the names of a pack's files end."""
PLAIN = ("LICENSE", "LICENCE", "NOTICE")
"""Names without an ending that may be in it too."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a prompt of a pack is from: ``origin`` is "file", "library" or "shipped"; ``version``, ``author``
    and ``created_at`` are the library's, 0 and "" for others; ``digest`` is the prompt's, parts and all."""

    name: str
    origin: str
    digest: str
    version: int = 0
    author: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pack says of itself. ``files`` are the SHA-256 (hex) of each, by path."""

    format: int
    name: str
    version: str
    licence: str
    author: str
    source: str
    promptwell: str
    prompts: tuple[Origin, ...]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that was read and checked: its manifest, and its files' texts by path."""

    manifest: Manifest
    files: Mapping[str, str]


def packed(
    files: Mapping[str, str],
    *,
    name: str,
    licence: str,
    version: str = "1",
    author: str = "",
    source: str = "",
    prompts: Sequence[Origin] = (),
) -> bytes:
    """A pack of these files. ``prompts`` says more about some of them than their files do.

    Raises InvalidPack for files that a pack may not hold, or prompts and tests that cannot be read.

    >>> data = packed({"hi.prompty": "---\\n---\\nuser:\\nHi!"}, name="hello", licence="CC0-1.0")
    >>> read(data, file="hello.promptpack").manifest.prompts[0].name
    'hi'
    """
    from importlib.metadata import version as installed

    for what, text in (("a licence", licence), ("a name", name), ("a version", version)):
        if not text.strip():
            raise InvalidPack(f"a pack needs {what}")
    contents = {path: text.encode() for path, text in sorted(files.items())}
    found = _checked(contents, "this pack")
    known = {each.name: each for each in prompts}
    about = Manifest(
        format=FORMAT,
        name=_line(name),
        version=_line(version),
        licence=_line(licence),
        author=_line(author),
        source=_line(source),
        promptwell=installed("promptwell"),
        prompts=tuple(known.get(each.name, each) for each in found),
        files={path: hashlib.sha256(content).hexdigest() for path, content in contents.items()},
    )
    data = stored.written({MANIFEST: _text(about), **contents})
    if len(data) > MAX_BYTES:
        raise InvalidPack(f"the pack has {len(data):,} bytes; the limit is {MAX_BYTES:,}")
    return data


def read(data: bytes, *, file: str) -> Pack:
    """A pack from the bytes of its file. Raises InvalidPack, naming ``file``, for what is not wholly one."""
    if len(data) > MAX_BYTES:
        raise InvalidPack(f"{file} has {len(data):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        members = stored.read(data, most=MAX_FILES + 1)
    except ValueError as error:
        raise InvalidPack(f"{file} is no pack as `rag prompts pack` writes them: {error}") from None
    if next(iter(members)) != MANIFEST:
        raise InvalidPack(f"{file} is no pack: its first file is not {MANIFEST}")
    told = members.pop(MANIFEST)
    manifest = _manifest(told, file)
    if list(manifest.files) != sorted(members) or list(members) != sorted(members):
        raise InvalidPack(f"{file}: {MANIFEST} lists other files than there are")
    for path, content in members.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[path]:
            raise InvalidPack(f"{file}: {path} is not what {MANIFEST} says: the pack was changed")
    found = _checked(members, file)
    digests = {each.name: each.digest for each in found}
    if {each.name: each.digest for each in manifest.prompts} != digests:
        raise InvalidPack(f"{file}: {MANIFEST} says something else of its prompts than their files do")
    return Pack(manifest, MappingProxyType({path: content.decode() for path, content in members.items()}))


def _text(manifest: Manifest) -> bytes:
    return f"{json.dumps(asdict(manifest), ensure_ascii=False, indent=1)}\n".encode()


def _manifest(told: bytes, file: str) -> Manifest:
    try:
        data: Any = json.loads(told)
        if data["format"] != FORMAT:
            raise InvalidPack(
                f"{file} has format {data['format']}, this promptwell reads {FORMAT}: take the one that "
                f"wrote it ({str(data['promptwell'])[:20]}) or a newer one"
            )
        prompts = tuple(Origin(**each) for each in data["prompts"])
        manifest = Manifest(**{**data, "prompts": prompts})
        texts = [getattr(manifest, key) for key in ("name", "version", "licence", "author", "source")]
        texts += [value for each in prompts for key, value in asdict(each).items() if key != "version"]
        texts += [*manifest.files, *manifest.files.values()]
        if not all(isinstance(text, str) for text in texts) or _text(manifest) != told:
            raise TypeError("it is not as it was written")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidPack(f"{file}: its {MANIFEST} cannot be read: {error}") from None
    if not manifest.licence:
        raise InvalidPack(f"{file}: it names no licence")
    return manifest


def _checked(contents: Mapping[str, bytes], file: str) -> list[Origin]:
    """What the prompts among the files are. Raises InvalidPack for what a pack may not hold."""
    if len(contents) > MAX_FILES:
        raise InvalidPack(f"{file} holds {len(contents):,} files; the limit is {MAX_FILES:,}")
    texts: dict[str, str] = {}
    for path, content in contents.items():
        try:
            checked_path(path)
            if len(content) > MAX_FILE:
                raise InvalidPack(f"{path} has {len(content):,} bytes; the limit is {MAX_FILE:,}")
            texts[path] = content.decode()
        except UnicodeDecodeError:
            raise InvalidPack(f"{file}: {path} is not UTF-8 text") from None
        except InvalidPack as error:
            raise InvalidPack(f"{file}: {error}") from None
    _apart(texts, file)
    return _prompts(texts, file)


def checked_path(path: str) -> str:
    """A path that any system can have below any folder, of a kind that a pack may hold. Raises InvalidPack.

    >>> checked_path("support/answer.prompty")
    'support/answer.prompty'
    >>> checked_path("../answer.prompty")
    Traceback (most recent call last):
    ...
    rag.errors.InvalidPack: '../answer.prompty' may not be in a pack: it is no path below a folder
    """
    steps = path.split("/")
    try:
        below = path_of(path) == path
    except InvalidTemplate:
        below = False
    reserved = any(step.split(".")[0].lower() in _RESERVED or step.endswith(".") for step in steps)
    if not below or reserved or unicodedata.normalize("NFC", path) != path:
        raise InvalidPack(f"{path[:100]!r} may not be in a pack: it is no path below a folder")
    if path.lower() == MANIFEST.lower():
        raise InvalidPack(f"{path!r} may not be in a pack: it has its own")
    if not path.lower().endswith(KINDS) and steps[-1] not in PLAIN:
        raise InvalidPack(f"{path[:100]!r} may not be in a pack: it holds {', '.join(KINDS)} files")
    return path


def _apart(texts: Mapping[str, str], file: str) -> None:
    """No two names that one file would have on a system that takes A for a, none that is also a folder."""
    seen: dict[str, str] = {}
    for path in texts:
        folded = path.casefold()
        if folded in seen:
            raise InvalidPack(f"{file}: {seen[folded]} and {path} would be one file on some systems")
        seen[folded] = path
    for path in texts:
        steps = path.casefold().split("/")
        for end in range(1, len(steps)):
            if (folder := "/".join(steps[:end])) in seen:
                raise InvalidPack(f"{file}: {seen[folder]} is a file, and {path} makes it a folder")


def _prompts(texts: Mapping[str, str], file: str) -> list[Origin]:
    found, failed, parts = [], dict[str, PromptError](), set[str]()
    for path, text in texts.items():
        if path.endswith(".prompty") and not any(step.startswith("_") for step in path.split("/")):
            name = path.removesuffix(".prompty")
            try:
                template = PromptTemplate.parse(text, name=name, read=texts.__getitem__)
            except PromptError as error:
                failed[path] = error
                continue
            parts |= set(template.parts)
            found.append(Origin(name, "file", template.digest))
        elif path.endswith(".tests.yaml"):
            try:
                read_suite(text, name=path)
            except PromptError as error:
                raise InvalidPack(f"{file}: {error}") from None
    # A variant alone need not declare what its prompt does.
    if wrong := [f"{path}: {why}" for path, why in failed.items() if path not in parts]:
        raise InvalidPack(f"{file}: {'; '.join(wrong[:3])}")
    found = [each for each in found if f"{each.name}.prompty" not in parts]
    if not found:
        raise InvalidPack(f"{file} holds no prompt")
    return found


def _line(text: str) -> str:
    line = " ".join(text.split())
    if len(line) > _LONGEST or not line.isprintable():
        raise InvalidPack(
            f"{line[:60]!r} cannot stand in a pack: write at most {_LONGEST} printable characters"
        )
    return line
