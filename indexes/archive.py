"""The file of a backup: a plain tar, in which every byte is accounted for.

It has these members in this order, so that anybody can look into it:

=========================  ==========================================================================
``catalogue.db``           a snapshot of the catalogue
``library.db``             one of the prompt library, where there is one
``traces.db``              one of the traces, where there are any
``evaluations.db``         one of the judged sets, judgements and runs, where there are any
``MANIFEST.json``          versions, when, what is in each collection, size and SHA-256 of the former
``MANIFEST.json.sha256``   the SHA-256 of the manifest, as ``sha256sum`` writes and checks it
=========================  ==========================================================================

What is read back must be, header by header and zero by zero, what is written here: a member of another
name, a link, a flipped bit or a byte too many is refused, and no name in a file ever decides where
something is written.

Nothing is compressed: gzip takes two fifths off (285 to 174 MB at 100,000 chunks) and ten times as long as
the whole backup (12 s after 1.4 s).
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NoReturn

from rag.errors import BackupDamaged, SchemaTooNew

FORMAT = 2
"""The first had the catalogue alone, and is read still."""
CATALOGUE, MANIFEST = "catalogue.db", "MANIFEST.json"
BESIDE = ("library.db", "traces.db", "evaluations.db")
SUM = f"{MANIFEST}.sha256"
BLOCK = 512
"""What a tar is made of: a header is one block, a member is padded to whole ones, two empty ones end it."""
END = bytes(2 * BLOCK)
PART = 1 << 20
"""Bytes copied at a time."""
LONGEST = 64 << 20
"""Bytes that a manifest may have; it takes some hundred a collection."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a collection of a backup holds."""

    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Beside:
    """A database of a backup that is not the catalogue: its schema, its size, its SHA-256 (hex)."""

    schema: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself: the ``promptwell`` and the ``schema`` that wrote it, ``bytes`` and
    ``sha256`` of its ``catalogue.db``, what each collection in that holds, and the databases ``beside``."""

    format: int
    promptwell: str
    schema: int
    created_at: str
    bytes: int
    sha256: str
    collections: dict[str, Held]
    beside: dict[str, Beside] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """Of all its databases."""
        return self.bytes + sum(each.bytes for each in self.beside.values())


def pack(
    catalogue: Path,
    file: Path,
    *,
    schema: int,
    held: Mapping[str, Held],
    tell: Callable[[int], None],
    beside: Mapping[str, tuple[Path, int]] = MappingProxyType({}),
) -> Manifest:
    """Write a new file, and make it durable. ``tell`` is called with the bytes written of all databases;
    ``beside`` are those besides the catalogue by name, each with its schema."""
    now = datetime.now(UTC).replace(microsecond=0)
    mtime = int(now.timestamp())
    with file.open("xb") as target:
        size, sha256 = _packed(CATALOGUE, catalogue, target, mtime, tell)
        others, done = {}, size
        for name in (name for name in BESIDE if name in beside):
            path, its_schema = beside[name]
            others[name] = Beside(its_schema, *_packed(name, path, target, mtime, _after(done, tell)))
            done += others[name].bytes
        version = installed("promptwell")
        made = Manifest(FORMAT, version, schema, now.isoformat(), size, sha256, {**held}, others)
        text = f"{json.dumps(asdict(made), indent=1)}\n".encode()
        for name, content in ((MANIFEST, text), (SUM, _sum(text))):
            target.write(_header(name, len(content), mtime) + content + _padding(len(content)))
        target.write(END)
        _sync(target)
    return made


def _packed(
    name: str, path: Path, target: BinaryIO, mtime: int, tell: Callable[[int], None]
) -> tuple[int, str]:
    """Write a file as a member. Returns its size and its SHA-256."""
    size = path.stat().st_size
    target.write(_header(name, size, mtime))
    with path.open("rb") as source:
        sha256 = _copy(source, target, size, tell)
    target.write(_padding(size))
    return size, sha256


def _after(before: int, tell: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: tell(before + done)


def manifest_of(source: BinaryIO, file: Path) -> Manifest:
    """What a backup says of itself, once every byte but those of its databases was compared.

    Raises BackupDamaged, naming ``file``; SchemaTooNew for a format that a newer promptwell wrote.
    """
    sizes = {}
    for name in (CATALOGUE, *BESIDE):
        if name == CATALOGUE or _stands(source, name):
            sizes[name] = size = _member(source, file, name)
            source.seek(size + len(_padding(size)), os.SEEK_CUR)
    text, sum = (_small(source, file, name) for name in (MANIFEST, SUM))
    if sum != _sum(text) or source.read(len(END) + 1) != END:
        refuse(file, f"its {MANIFEST} or its end is not what was written")
    try:
        about = json.loads(text)
        if about["format"] > FORMAT:
            raise SchemaTooNew(
                f"{file} has format {about['format']}, this promptwell reads up to {FORMAT}: restore it with "
                f"promptwell {about['promptwell']} or a newer one (pip install -U promptwell)"
            )
        held = {name: Held(**counts) for name, counts in about["collections"].items()}
        beside = {name: Beside(**each) for name, each in about.get("beside", {}).items()}
        manifest = Manifest(**{**about, "collections": held, "beside": beside})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        refuse(file, f"its {MANIFEST} cannot be read ({error})")
    told = {CATALOGUE: manifest.bytes} | {name: each.bytes for name, each in beside.items()}
    if told != sizes:
        wrong = min(name for name in {*told, *sizes} if told.get(name) != sizes.get(name))
        refuse(file, f"its {wrong} has {sizes.get(wrong, 0)} bytes, not {told.get(wrong, 0)}")
    return manifest


def unpack(
    source: BinaryIO,
    file: Path,
    places: Mapping[str, Path],
    *,
    manifest: Manifest,
    tell: Callable[[int], None],
) -> None:
    """Write the databases of a backup, each to its place by name, and make them durable.

    Raises BackupDamaged.
    """
    source.seek(0)
    done = 0
    expected = {CATALOGUE: (manifest.bytes, manifest.sha256)}
    expected |= {name: (each.bytes, each.sha256) for name, each in manifest.beside.items()}
    for name in (name for name in (CATALOGUE, *BESIDE) if name in expected):
        size, said = expected[name]
        source.seek(BLOCK, os.SEEK_CUR)
        with places[name].open("wb") as target:
            sha256 = _copy(source, target, size, _after(done, tell))
            _sync(target)
        padding = _padding(size)
        if sha256 != said or source.read(len(padding)) != padding:
            refuse(file, f"its {name} is not what was written")
        done += size


def refuse(file: Path, problem: str) -> NoReturn:
    """Raise BackupDamaged."""
    raise BackupDamaged(f"{file} is damaged, or was not made by `rag backup`: {problem}")


def _stands(source: BinaryIO, name: str) -> bool:
    """Whether the member that stands here has this name; nothing is taken from it."""
    block = source.read(BLOCK)
    source.seek(-len(block), os.SEEK_CUR)
    return block.startswith(name.encode() + b"\0")


def _member(source: BinaryIO, file: Path, name: str) -> int:
    """The size of the member that stands here: ``name``, under the header that we write."""
    block = source.read(BLOCK)
    if len(block) < BLOCK:
        refuse(file, f"it ends before {name}")
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError):
        refuse(file, f"{name} does not stand where it should")
    if found.name != name:
        refuse(file, f"it holds {found.name!r} where {name} should be")
    if found.size < 0 or _header(name, found.size, int(found.mtime)) != block:
        refuse(file, f"the header of its {name} is not what was written")
    return found.size


def _small(source: BinaryIO, file: Path, name: str) -> bytes:
    if (size := _member(source, file, name)) > LONGEST:
        refuse(file, f"its {name} has {size} bytes")
    content, padding = source.read(size), _padding(size)
    if len(content) != size or source.read(len(padding)) != padding:
        refuse(file, f"its {name} is not what was written")
    return content


def _header(name: str, size: int, mtime: int) -> bytes:
    """One block, in GNU's format: it has room for any size."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, mtime
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _sum(text: bytes) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()


def _copy(source: BinaryIO, target: BinaryIO, size: int, tell: Callable[[int], None]) -> str:
    """Copy so many bytes, or as many as there are. Returns their SHA-256."""
    digest = hashlib.sha256()
    done = 0
    while part := source.read(min(PART, size - done)):
        digest.update(part)
        target.write(part)
        done += len(part)
        tell(done)
    return digest.hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
