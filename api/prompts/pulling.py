"""Versions of the library back into a folder, as files: prompts, what they include, their tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.prompts.files import below, replace
from rag.errors import PromptError, UnknownPrompt
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.parts import path_of, plain
from rag.prompts.versions import LATEST, Version, checked_label, reference

if TYPE_CHECKING:
    from api.services import Services


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a pull did. ``differing`` are files of the folder that are otherwise: where there are any, and
    they were not to be overwritten, nothing was written. ``left`` are prompts that were not written
    (name@number, why)."""

    versions: Mapping[str, int]
    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    differing: tuple[str, ...]
    left: tuple[tuple[str, str], ...]


def pull(
    services: Services,
    folder: Path,
    references: Sequence[str] = (),
    *,
    label: str = "",
    force: bool = False,
) -> PullReport:
    """Write prompts of the library into a folder: those named, or all; the newest version of each, or where
    ``label`` stands.

    Files that differ stay as they are, and nothing is written, unless ``force``. Two prompts that include
    another text of one file cannot lie in one folder: the newer version does, the other is left. A link is
    replaced, never followed. Raises NotFound without a library, UnknownPrompt, PromptError, UsageError for a
    folder below that leads elsewhere by a link, StorageError.
    """
    texts: dict[str, str] = {}
    owners: dict[str, str] = {}
    versions: dict[str, int] = {}
    left = []
    for version in _asked(services, references, label):
        files = _files(services, version)
        clash = next((path for path, text in files.items() if texts.get(path, text) != text), None)
        if clash:
            why = f"its {clash} is another than that of {owners[clash]}: pull one of them alone"
            left.append((f"{version.name}@{version.number}", why))
            continue
        versions[version.name] = version.number
        texts.update(files)
        owners.update(dict.fromkeys(files, f"{version.name}@{version.number}"))
    there = {path: _there(folder, path) for path in texts}
    same = tuple(sorted(path for path, text in texts.items() if there[path] == text))
    differing = tuple(sorted(path for path in texts if path not in same and there[path] is not None))
    written: tuple[str, ...] = ()
    if force or not differing:
        written = tuple(sorted(set(texts) - set(same)))
        for path in written:
            below(folder, folder / path)
        for path in written:
            replace(folder / path, texts[path].encode())
    return PullReport(dict(sorted(versions.items())), written, same, differing, tuple(left))


def _asked(services: Services, references: Sequence[str], label: str) -> list[Version]:
    """The versions to write, newest first."""
    library = services.library()
    if label and label != LATEST:
        checked_label(label)
    if not references:
        entries = library.entries()
        if label and label != LATEST:
            entries = [entry for entry in entries if label in entry.labels]
            if not entries:
                raise UnknownPrompt(
                    f"no prompt has the label {label!r}; `rag prompts list` shows those there are"
                )
        found = [library.version(entry.name, label or LATEST) for entry in entries]
    else:
        asked = [reference(text) for text in references]
        if any(one.path for one in asked):
            raise PromptError("a pull takes names of the library, such as support/answer, not files")
        found = [library.version(one.name, one.number or one.label or label or LATEST) for one in asked]
    return sorted(found, key=lambda version: version.created_at, reverse=True)


def _files(services: Services, version: Version) -> dict[str, str]:
    tests = services.library().tests(version.name)
    files = {f"{version.name}{SUFFIX}": version.source, **version.parts}
    if tests is not None:
        files[f"{version.name}{TESTS}"] = tests
    return {path_of(path): text for path, text in files.items()}  # none leads out of the folder


def _there(folder: Path, path: str) -> str | None:
    """The text that lies there; "" for what is no text, or is no file of the folder's own."""
    file = folder / path
    if not (file.exists() or file.is_symlink()):
        return None
    try:
        return plain(file.read_text("utf-8")) if file.is_file() else ""
    except UnicodeDecodeError:
        return ""
