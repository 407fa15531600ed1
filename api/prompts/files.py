"""Files of a folder, written as a whole and in no other place than they say."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from rag.errors import StorageError, UsageError


def in_place(folder: Path, target: Path) -> None:
    """Raise UsageError where ``target`` is a link or a folder, or a link above it leads out of ``folder``."""
    if target.is_symlink() or target.is_dir():
        raise UsageError(
            f"{target} is a {'symbolic link' if target.is_symlink() else 'folder'}: nothing was written"
        )
    below(folder, target)


def below(folder: Path, target: Path) -> None:
    """Raise UsageError where a link above ``target`` leads out of ``folder``, or a file stands in the way."""
    if folder.exists() and not target.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{target.parent} leads out of {folder} by a symbolic link: nothing was written")
    for step in target.parents:
        if step.is_relative_to(folder) and step.exists() and not step.is_dir():
            raise UsageError(f"{step} is a file, where a folder is needed: nothing was written")


def replace(target: Path, content: bytes) -> None:
    """Write a file as a whole: who reads it meanwhile finds the one before or this one. One that was there
    keeps its permissions. Raises StorageError."""
    beside = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.is_file() and not target.is_symlink():
            beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
