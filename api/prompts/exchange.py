"""Prompts in from other formats, out into them, and packs of them: files and folders around ``exchange``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.prompts.files import in_place, replace
from rag.errors import InvalidPack, InvalidTemplate, NotFound, PromptError, UsageError
from rag.prompts import part_reader
from rag.prompts.exchange import Converted, exported, format_of, imported, pack, stem_of
from rag.prompts.exchange.source import MAX_FILE
from rag.prompts.folder import SUFFIX, TESTS
from rag.prompts.versions import checked_name

if TYPE_CHECKING:
    from api.prompts.library import Found
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Written:
    """What was done with files: those written, those that were there already, paths below the folder."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one foreign file. ``error`` is "" unless it could not be taken over."""

    file: str
    format: str
    files: Mapping[str, str]
    lost: tuple[str, ...]
    error: str = ""


def take_over(files: Sequence[Path], *, format: str = "", name: str = "") -> list[Imported]:
    """Read foreign files; each that cannot be read is told, and the others go on. Nothing is written.

    ``format`` where the names do not tell it, ``name`` in place of the file's own. Raises PromptError for
    a name that two files would have.
    """
    if name and len(files) > 1:
        raise PromptError("--name names one prompt: take the files over one by one")
    found = [_one(file, format, name) for file in files]
    owners: dict[str, str] = {}
    for each in found:
        for path in each.files:
            if path in owners:
                raise PromptError(
                    f"{owners[path]} and {each.file} would both be {path}: take one over by --name"
                )
            owners[path] = each.file
    return found


def _one(file: Path, format: str, name: str) -> Imported:
    kind = format
    try:
        text = _text_of(file)
        kind = format or format_of(file.as_posix(), text)
        called = checked_name(name or stem_of(file.name))
        made = imported(text, format=kind, name=called, open=part_reader(file.parent))
    except (OSError, UnicodeDecodeError) as error:
        return Imported(str(file), kind, {}, (), f"cannot be read: {error}")
    except (PromptError, NotFound) as error:
        return Imported(str(file), kind, {}, (), str(error))
    return Imported(str(file), kind, made.files, made.lost)


def _text_of(file: Path) -> str:
    if not file.is_file():
        raise NotFound("there is no such file")
    if file.stat().st_size > 4 * MAX_FILE:
        raise InvalidTemplate(f"it is larger than {MAX_FILE:,} characters")
    return file.read_text("utf-8")


def give_out(services: Services, references: Sequence[str], *, format: str) -> dict[str, Converted]:
    """Prompts as files of a format, by reference. Raises as :func:`api.prompts.library.find`, PromptError for
    what the format has no words for, and for two prompts that would have one file."""
    from api.prompts.library import find

    made: dict[str, Converted] = {}
    owners: dict[str, tuple[str, str]] = {}
    for reference in references:
        found = find(services, reference)
        try:
            made[reference] = exported(found.template, format=format, tests=found.tests)
        except PromptError as error:
            raise type(error)(f"{reference}: {error}") from None
        for path, text in made[reference].files.items():
            other, there = owners.setdefault(path, (reference, text))
            if there != text:
                raise PromptError(f"{other} and {reference} would both be {path}: export them apart")
    return made


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack that was made, its bytes, and what of the folder is not in it (path, why)."""

    data: bytes
    content: pack.Pack
    left: tuple[tuple[str, str], ...]


def make_pack(
    services: Services,
    sources: Sequence[str],
    *,
    name: str,
    licence: str,
    version: str = "1",
    author: str = "",
    source: str = "",
) -> Packed:
    """A pack of a folder (one source, which is a folder), or of prompts by reference.

    ``author`` in place of the settings'. Raises InvalidPack and as :func:`api.prompts.library.find`.
    """
    from api.prompts.library import author_of

    origins: list[pack.Origin] = []
    left: list[tuple[str, str]] = []
    if len(sources) == 1 and Path(sources[0]).is_dir():
        files = _files_of(Path(sources[0]), left)
    else:
        files = _files_named(services, sources, origins)
    data = pack.packed(
        files,
        name=name,
        licence=licence,
        version=version,
        author=author_of(services, author),
        source=source,
        prompts=origins,
    )
    return Packed(data, pack.read(data, file="the pack"), tuple(left))


def _files_of(folder: Path, left: list[tuple[str, str]]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        named = path.relative_to(folder).as_posix()
        if path.is_symlink() or any(
            step.is_symlink() for step in path.parents if step.is_relative_to(folder)
        ):
            left.append((named, "a symbolic link"))
        elif not path.is_file() or any(step.startswith(".") for step in named.split("/")):
            continue
        elif not named.lower().endswith(pack.KINDS) and path.name not in pack.PLAIN:
            left.append((named, "not a kind of file that packs hold"))
        else:
            if len(files) == pack.MAX_FILES:
                raise InvalidPack(f"{folder} holds more than {pack.MAX_FILES:,} files")
            files[named] = _packable(path)
    return files


def _packable(path: Path) -> str:
    if path.stat().st_size > pack.MAX_FILE:
        raise InvalidPack(f"{path} has {path.stat().st_size:,} bytes; the limit is {pack.MAX_FILE:,}")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise InvalidPack(f"{path} is not UTF-8 text") from None


def _files_named(services: Services, references: Sequence[str], origins: list[pack.Origin]) -> dict[str, str]:
    from api.prompts.library import find

    files: dict[str, str] = {}
    for reference in references:
        found = find(services, reference)
        name = checked_name(found.template.name)
        own = {f"{name}{SUFFIX}": found.template.source, **found.template.parts}
        if found.tests:
            own[f"{name}{TESTS}"] = found.tests
        if found.origin == "file":
            own |= _recordings(services.settings.prompts.dir, name)
        for path, text in own.items():
            if files.setdefault(path, text) != text:
                raise InvalidPack(
                    f"{reference} comes with another {path} than a prompt before it: pack them apart"
                )
        origins.append(_origin(found, name))
    return files


def _recordings(folder: Path, name: str) -> dict[str, str]:
    """Recorded answers that lie beside a prompt's file: ``answer.jsonl``, ``answer.recorded.jsonl``."""
    beside = (folder / name).parent
    base = name.rsplit("/", 1)[-1]
    found = sorted(beside.glob("*.jsonl")) if beside.is_dir() else []
    return {
        f"{name.removesuffix(base)}{path.name}": _packable(path)
        for path in found
        if path.name.startswith(f"{base}.") and path.is_file() and not path.is_symlink()
    }


def _origin(found: Found, name: str) -> pack.Origin:
    if found.version is None:
        return pack.Origin(name, found.origin, found.template.digest)
    version = found.version
    return pack.Origin(
        name, found.origin, found.template.digest, version.number, version.author, str(version.created_at)
    )


def open_pack(file: Path) -> pack.Pack:
    """Read and check a pack's file. Raises NotFound and InvalidPack."""
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    if file.stat().st_size > pack.MAX_BYTES:
        raise InvalidPack(f"{file} has {file.stat().st_size:,} bytes; the limit is {pack.MAX_BYTES:,}")
    return pack.read(file.read_bytes(), file=str(file))


def write(folder: Path, files: Mapping[str, str], *, force: bool = False) -> Written:
    """Write files below a folder, all of them or none that differs from what is there, unless ``force``.

    Raises UsageError for files that differ, naming them, and for a place that a symbolic link has.
    """
    contents = {path: text.encode() for path, text in files.items()}
    same, differing = [], []
    for path, content in contents.items():
        target = folder / path
        in_place(folder, target)
        if not target.exists():
            continue
        if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
            same.append(path)
        else:
            differing.append(path)
    if differing and not force:
        few = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
        raise UsageError(
            f"nothing was written, as these are in {folder} and differ: {few} (--force replaces them)"
        )
    for path in (new := [path for path in contents if path not in same]):
        replace(folder / path, contents[path])
    return Written(tuple(new), tuple(same))
