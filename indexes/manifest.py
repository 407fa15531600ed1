"""A generation on disk: what lies in its folder, and the proof that it still does."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from rag.errors import IndexDamaged

MANIFEST_FILE = "MANIFEST.json"
LOCK_SUFFIX = ".lock"
"""Files that a library lays into a folder to open it; they hold nothing."""


def write_manifest(folder: Path, about: dict[str, object]) -> str:
    """Write MANIFEST.json: ``about``, and size and SHA-256 of every file. Returns its own SHA-256."""
    files = {name: {"bytes": path.stat().st_size, "sha256": _hash(path)} for name, path in _files(folder)}
    text = json.dumps({**about, "files": files}, indent=1, sort_keys=True)
    (folder / MANIFEST_FILE).write_text(text, "utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def verify(folder: Path, *, sha256: str) -> None:
    """Raise IndexDamaged unless the manifest is the one with this hash and every file is as it says.

    The manifest's own hash stands in the catalogue: a folder of another collection, whole as it may
    be, is not this one.
    """
    path = folder / MANIFEST_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise IndexDamaged(f"{path}: {error.strerror}") from error
    if hashlib.sha256(text).hexdigest() != sha256:
        raise IndexDamaged(f"{path} is not the manifest that was published")
    for name, about in json.loads(text)["files"].items():
        file = folder / name
        try:
            size = file.stat().st_size
            whole = size == about["bytes"] and _hash(file) == about["sha256"]
        except OSError as error:
            raise IndexDamaged(f"{file}: {error.strerror}") from error
        if not whole:
            raise IndexDamaged(f"{file} is not as it was published ({size} bytes of {about['bytes']})")


def unchanged(folder: Path, *, sha256: str) -> bool:
    """Whether the manifest is the one with this hash and every file has the size that it says: a look that
    costs the same however large the files are. :func:`verify` reads them."""
    try:
        text = (folder / MANIFEST_FILE).read_bytes()
        return hashlib.sha256(text).hexdigest() == sha256 and all(
            (folder / name).stat().st_size == about["bytes"]
            for name, about in json.loads(text)["files"].items()
        )
    except OSError:
        return False


def size(folder: Path) -> int:
    """Bytes of the files of a generation, as its manifest says; 0 where it cannot be read."""
    try:
        files = json.loads((folder / MANIFEST_FILE).read_bytes())["files"].values()
    except (OSError, ValueError, KeyError):
        return 0
    return sum(about["bytes"] for about in files)


def sync(folder: Path) -> None:
    """Make every file below ``folder``, and the folder itself, durable."""
    for path in [*(path for _, path in _files(folder)), folder / MANIFEST_FILE]:
        _fsync(path)
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        _fsync(path)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    _fsync(folder)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST_FILE and path.suffix != LOCK_SUFFIX:
            yield path.relative_to(folder).as_posix(), path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
