"""A folder of prompts into the library.

Like an ingest: files are read and hashed, and only what changed is parsed. A file that fails is one line of
the report; the others go on, and all of them become versions in one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from api.prompts.library import author_of
from rag.errors import NotFound, PromptError, RagError
from rag.prompts import PromptTemplate, part_reader
from rag.prompts.folder import SUFFIX, TESTS, shipped_files
from rag.prompts.parts import plain
from rag.prompts.testing.suite import read_suite
from rag.prompts.versions import Draft, checked_label, checked_name
from rag.types import text_digest

if TYPE_CHECKING:
    from api.services import Services
    from indexes.library.values import Head

_UNREADABLE = (RagError, OSError, UnicodeDecodeError, KeyError)
"""What reading a file of the folder may raise; KeyError is :func:`rag.prompts.part_reader`'s."""


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did, or would do. ``versions`` by prompt are (before, now), before 0 for a new one, both
    the same for one that was removed and is back; ``tests`` are prompts whose tests were taken in, ``failed``
    (file, why), ``missing`` the library's prompts that the folder does not have, ``labels`` the prompts whose
    label moved, as (before, now)."""

    versions: Mapping[str, tuple[int, int]]
    unchanged: tuple[str, ...]
    tests: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    labels: Mapping[str, tuple[int, int]]
    written: bool


@dataclass(slots=True)
class Plan:
    """What a push would write, what it would leave, and what it cannot read (file, why)."""

    drafts: list[Draft] = field(default_factory=list)
    tests: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def broken(self) -> set[str]:
        """The names of the prompts that cannot be read."""
        return {file.removesuffix(SUFFIX) for file, _ in self.failed if file.endswith(SUFFIX)}


def push(
    services: Services,
    folder: Path,
    *,
    message: str = "",
    author: str = "",
    label: str = "",
    dry_run: bool = False,
) -> PushReport:
    """Make a version of each prompt below a folder that is not as the library has it.

    ``label`` is moved to the newest version of each prompt that the folder has. Raises NotFound without the
    folder, PromptError for an impossible label, LabelProtected (nothing is written then).
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    if label:
        checked_label(label)
    there = services.has_library
    heads = services.library().heads() if there else {}
    plan = planned(folder, heads)
    seen = {*plan.unchanged, *(draft.name for draft in plan.drafts)}
    kept = seen | plan.broken
    missing = tuple(name for name, head in sorted(heads.items()) if not head.removed and name not in kept)
    if dry_run or not (plan.drafts or plan.tests or label):
        versions = {draft.name: _next(heads.get(draft.name), draft) for draft in plan.drafts}
        moved = _would_move(services, seen, versions, heads, label) if label else {}
        written, tests = False, tuple(plan.tests)
    else:
        done = services.library(create=True).push(
            plan.drafts,
            author=author_of(services, author),
            message=message,
            tests=plan.tests,
            label=label,
            labelled={name: heads[name].number for name in plan.unchanged},
        )
        versions, moved, tests, written = dict(done.versions), dict(done.labels), done.tests, True
    unchanged = tuple(sorted(seen - set(versions)))
    return PushReport(versions, unchanged, tests, tuple(sorted(plan.failed)), missing, moved, written)


def planned(folder: Path, heads: Mapping[str, Head]) -> Plan:
    """What pushing a folder would write. A file that another prompt has as its variant is a part of that."""
    plan = Plan()
    read = _Reader(folder)
    names: dict[str, str] = {}
    for path in sorted(read.files(SUFFIX)):
        try:
            name = checked_name(path.removesuffix(SUFFIX))
        except PromptError as error:
            plan.failed.append((path, str(error)))
            continue
        if name in names:
            plan.failed.append((path, f"its name is that of {names[name]}, written otherwise"))
            continue
        names[name] = path
    parts: set[str] = set()
    changed = []
    for name, path in names.items():
        head = heads.get(name)
        if head and _as_it_was(head, path, read):
            parts |= set(head.parts)
            if head.removed:
                changed.append(name)
            else:
                plan.unchanged.append(name)
        else:
            changed.append(name)
    drafts: dict[str, Draft] = {}
    failed: dict[str, str] = {}
    for name in changed:
        if names[name] in parts:
            continue
        try:
            template = PromptTemplate.parse(read(names[name]), name=name, read=read)
        except _UNREADABLE as error:
            failed[names[name]] = _told(error)
        else:
            drafts[name] = Draft.of(template, name=name)
            parts |= set(template.parts)
    plan.drafts = [draft for name, draft in drafts.items() if names[name] not in parts]
    plan.unchanged = [name for name in plan.unchanged if names[name] not in parts]
    plan.failed += [(path, why) for path, why in failed.items() if path not in parts]
    _plan_tests(plan, read, names, heads)
    return plan


def _plan_tests(plan: Plan, read: _Reader, names: Mapping[str, str], heads: Mapping[str, Head]) -> None:
    """Tests beside a prompt, or of one that only the library has. Those of a shipped prompt stay in the
    folder, where `rag prompts test` finds them."""
    kept = {*plan.unchanged, *(draft.name for draft in plan.drafts)}
    kept |= {name for name, head in heads.items() if not head.removed and name not in names}
    shipped = {name for name, _ in shipped_files()}
    for path in sorted(read.files(TESTS)):
        name = path.removesuffix(TESTS)
        if name not in names and name not in kept:
            if name not in shipped:
                plan.failed.append((path, f"there is no {name}{SUFFIX} beside it, nor in the library"))
        elif name in kept:
            head = heads.get(name)
            try:
                text = read(path)
                if head is None or head.tests != text_digest(text):
                    read_suite(text, name=path)
                    plan.tests[name] = text
            except _UNREADABLE as error:
                plan.failed.append((path, _told(error)))


def _as_it_was(head: Head, path: str, read: _Reader) -> bool:
    try:
        return text_digest(read(path)) == head.sha256 and all(
            text_digest(read(part)) == digest for part, digest in head.parts.items()
        )
    except _UNREADABLE:
        return False


def _next(head: Head | None, draft: Draft) -> tuple[int, int]:
    if head is None:
        return 0, 1
    return (head.number, head.number) if head.digest == draft.digest else (head.number, head.number + 1)


def _would_move(
    services: Services,
    seen: set[str],
    versions: Mapping[str, tuple[int, int]],
    heads: Mapping[str, Head],
    label: str,
) -> dict[str, tuple[int, int]]:
    """Where a label would move, as far as that can be told before: protection is looked at when it moves."""
    stands = {one.name: one.labels for one in services.library().entries()} if services.has_library else {}
    moved = {}
    for name in sorted(seen):
        before = stands.get(name, {}).get(label, 0)
        now = versions[name][1] if name in versions else heads[name].number
        if before != now:
            moved[name] = (before, now)
    return moved


class _Reader:
    """The files below a folder, each read once. Called with a path, gives its text as it is kept."""

    def __init__(self, folder: Path) -> None:
        self._read = part_reader(folder)
        self._texts: dict[str, str] = {}
        self._files = list(_files(folder))

    def files(self, suffix: str) -> Iterator[str]:
        """The paths that end so; names that begin with _ or . are parts, or hidden."""
        return (path for path in self._files if path.endswith(suffix))

    def __call__(self, path: str) -> str:
        if path not in self._texts:
            self._texts[path] = plain(self._read(path))
        return self._texts[path]


def _files(folder: Path) -> Iterator[str]:
    """The paths of the files below a folder, but for those that are hidden or parts by their name."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        below = Path(place).relative_to(folder).as_posix()
        before = "" if below == "." else f"{below}/"
        yield from (f"{before}{name}" for name in files if not name.startswith(("_", ".")))


def _told(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "is no file of this folder: a link leads elsewhere, or it was just removed"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.start}): save it as UTF-8"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
