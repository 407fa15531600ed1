"""A backup of a data folder, taken while it is in use; and the way back.

The catalogue is the truth, so a backup is a snapshot of it (:mod:`indexes.archive` has the format), and of
the prompt library and the traces where there are any, each as it was at a moment of its own. Indexes are left
out: they are built from the catalogue, without a model.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from indexes import archive, schema, truth
from indexes.archive import CATALOGUE, Held, Manifest
from indexes.evaluations.schema import EVALUATIONS
from indexes.library.schema import LIBRARY
from indexes.lock import writer_lock
from indexes.manifest import sync_folder
from indexes.schema import Migration
from indexes.store import Database, Store
from indexes.traces import TRACES
from rag.errors import CatalogueDamaged, InvalidSetting, NotFound, StorageError

Tell: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how much of it is done."""

BESIDE: Mapping[str, Database] = {database.file: database for database in (LIBRARY, TRACES, EVALUATIONS)}
"""The databases besides the catalogue, by the names that :mod:`indexes.archive` gives them."""
PAGES = 1024
"""Pages copied at a time: some 8 MB between two calls of ``on_progress``."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that was put into a data folder. ``aside`` is where the catalogue lies that was there,
    ``others`` where the other databases lie."""

    manifest: Manifest
    aside: Path | None
    others: tuple[Path, ...] = ()


def _quiet(_: str, __: int, ___: int) -> None:
    pass


# --- there ------------------------------------------------------------------------------------------


def backup(store: Store, file: Path, *, force: bool = False, on_progress: Tell = _quiet) -> Manifest:
    """Write a data folder's databases, as they are at this moment, into one file. Writing may go on.

    The file appears whole or not at all; one of that name stays as it was until then. What could not be
    restored is not written. Raises InvalidSetting for a file that is there already (``force`` replaces
    it) or cannot be one, NotFound without its folder, CatalogueDamaged, and StorageError when the system
    refuses.
    """
    file = file.resolve()
    _require_a_place(file, store.folder.resolve(), force=force)
    with (
        _system(f"write {file}"),
        tempfile.TemporaryDirectory(prefix=f".{file.name}.partial-", dir=file.parent) as room,
    ):
        snapshot, packed = Path(room) / CATALOGUE, Path(room) / file.name
        _copy(store, snapshot, on_progress, sql="DELETE FROM generations")
        copied = {name: _copied_beside(store.folder, name, Path(room), on_progress) for name in BESIDE}
        beside = {name: copy for name, copy in copied.items() if copy is not None}
        store.on_point("backup:copied")
        on_progress("checking", 0, 1)
        try:
            version, held = _inspect(snapshot)
        except CatalogueDamaged as error:
            raise CatalogueDamaged(f"{store.database}: {error}; {truth.damaged('').mend}") from error
        versions = {name: _inspect_beside(store.folder / name, name, path) for name, path in beside.items()}
        size = sum(path.stat().st_size for path in (snapshot, *beside.values()))
        manifest = archive.pack(
            snapshot,
            packed,
            schema=version,
            held=held,
            tell=lambda done: on_progress("writing", done, size),
            beside={name: (path, versions[name]) for name, path in beside.items()},
        )
        store.on_point("backup:packed")
        packed.replace(file)
        sync_folder(file.parent)
        store.on_point("backup:placed")
    return manifest


def _require_a_place(file: Path, folder: Path, *, force: bool) -> None:
    if file.is_dir():
        raise InvalidSetting(f"{file} is a folder: name a file in it, say {file / 'backup.tar'}")
    if file.exists() and not file.is_file():
        raise InvalidSetting(f"{file} is not a regular file, and would be replaced by one: name another")
    if not file.parent.is_dir():
        raise NotFound(f"{file.parent} is not a folder; make it first: mkdir -p {file.parent}")
    if file.is_relative_to(folder):
        raise InvalidSetting(f"{file} lies in the data folder, and would be lost with it: name one elsewhere")
    if file.exists() and not force:
        raise InvalidSetting(f"{file} is there already; --force replaces it")


def _copied_beside(folder: Path, name: str, room: Path, tell: Tell) -> Path | None:
    """A copy of another database of the folder; None where there is none."""
    if not (folder / name).is_file():
        return None
    store = Store(folder, create=False, database=BESIDE[name])
    try:
        _copy(store, room / name, tell)
    finally:
        store.close()
    return room / name


def _copy(store: Store, path: Path, tell: Tell, *, sql: str = "") -> None:
    """Copy a database as one read transaction sees it, and make one plain file of the copy; run ``sql`` in
    that."""
    with store.reading() as source, closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # Read something: from here on the transaction sees one moment, and commits do not restart the copy.
        source.execute("SELECT count(*) FROM meta").fetchone()
        try:
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF"):
                copy.execute(f"PRAGMA {pragma}")
            source.backup(copy, pages=PAGES, progress=lambda _, left, all: tell("copying", all - left, all))
            copy.execute("PRAGMA journal_mode = DELETE")  # the pages say WAL, as their source does
            copy.execute(sql)
        except sqlite3.OperationalError as error:
            raise StorageError(f"cannot copy {store.database} to {path.parent.parent}: {error}") from error


# --- and back ---------------------------------------------------------------------------------------


def restore(
    file: Path,
    folder: Path,
    *,
    force: bool = False,
    wait: float = 0.0,
    on_progress: Tell = _quiet,
    on_point: Callable[[str], None] = lambda _: None,
) -> Restored:
    """Put a backup into a data folder, once all of it is verified. Its indexes are not built yet.

    The folder holds what it held until the moment that it holds the backup. With ``force`` a catalogue
    that is there stays beside it, as ``catalogue.db.before-restore-1`` or the next free number.

    Raises NotFound, BackupDamaged, SchemaTooNew; InvalidSetting where there is a catalogue; LockHeld after
    ``wait`` seconds; StorageError when the system refuses, or a process has the old catalogue open.
    """
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    with _system(f"restore {file} into {folder}"), file.open("rb") as source:
        manifest = archive.manifest_of(source, file)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            locks.enter_context(writer_lock(folder / "writer.lock", wait=wait))
            database = folder / CATALOGUE
            if database.exists() and not force:
                raise InvalidSetting(
                    f"{folder} holds a catalogue already ({_in_words(_contents(database))}): name another "
                    f"folder, or keep it as {_aside(database).name} with --force"
                )
            for name in manifest.beside:
                locks.enter_context(writer_lock(folder / BESIDE[name].lock, wait=wait))
                if (folder / name).exists() and not force:
                    raise InvalidSetting(
                        f"{folder} holds {name} already: name another folder, or keep it as "
                        f"{_aside(folder / name).name} with --force"
                    )
            staged = {name: folder / f"{name}.restoring" for name in (CATALOGUE, *manifest.beside)}
            try:
                size = manifest.total_bytes
                archive.unpack(
                    source,
                    file,
                    staged,
                    manifest=manifest,
                    tell=lambda done: on_progress("reading", done, size),
                )
                on_progress("checking", 0, 1)
                _require_as_said(staged, file, manifest)
                on_point("restore:verified")
                others = [_place(staged[name], folder / name) for name in manifest.beside]
                on_point("restore:beside")
                aside = _place(staged[CATALOGUE], database, on_point)  # the last: then the folder is restored
                on_point("restore:placed")
            finally:
                for path in staged.values():
                    path.unlink(missing_ok=True)
    return Restored(manifest, aside, tuple(path for path in others if path is not None))


def _place(staged: Path, database: Path, on_point: Callable[[str], None] = lambda _: None) -> Path | None:
    """Put a database in its place. Returns where the one lies that was there."""
    aside = _set_aside(database, on_point)
    staged.rename(database)
    sync_folder(database.parent)
    return aside


def _require_as_said(staged: Mapping[str, Path], file: Path, manifest: Manifest) -> None:
    """Raise unless each database is whole, is one, and holds what the manifest says."""
    name = CATALOGUE
    try:
        said = _inspect(staged[name]) == (manifest.schema, manifest.collections)
        for name, about in manifest.beside.items():
            said = said and _whole(staged[name], BESIDE[name].migrations) == about.schema
    except CatalogueDamaged as error:
        archive.refuse(file, f"{name}: {error}")
    if not said:
        archive.refuse(file, f"its {name} does not hold what its {archive.MANIFEST} says")


def _set_aside(database: Path, on_point: Callable[[str], None]) -> Path | None:
    """Give the catalogue that is there a second name, under which it stays; None without one.

    What SQLite keeps beside a catalogue must be gone before another file takes its name: it would be
    played into that one. So the WAL is written back first, which needs every other process to have
    closed the catalogue; of one that SQLite cannot read, it is kept beside the second name.
    """
    aside = _aside(database)
    there = database.exists()
    if there and _readable(database):
        try:
            with closing(sqlite3.connect(database, isolation_level=None, timeout=1.0)) as db:
                db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{database} is in use ({error}): stop what serves or searches {database.parent} first"
            ) from error
    for suffix in ("", "-wal", "-journal"):
        if (old := Path(f"{database}{suffix}")).exists():
            os.link(old, f"{aside}{suffix}")
    sync_folder(database.parent)
    on_point("restore:linked")
    for suffix in ("-wal", "-journal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    return aside if there else None


def _aside(database: Path) -> Path:
    """The first free name for a catalogue that makes room."""
    number = 1
    while any(Path(f"{database}.before-restore-{number}{end}").exists() for end in ("", "-wal", "-journal")):
        number += 1
    return Path(f"{database}.before-restore-{number}")


def _in_words(contents: dict[str, Held] | None) -> str:
    if contents is None:
        return "it cannot be read"
    return ", ".join(f"{name}: {held.documents:,} documents" for name, held in contents.items()) or "empty"


# --- what is in a catalogue -------------------------------------------------------------------------


def _inspect(database: Path) -> tuple[int, dict[str, Held]]:
    """The schema of a catalogue and what it holds, once it was found whole.

    Raises SchemaTooNew; CatalogueDamaged, with the bare problem, for one that is not whole or not ours.
    """
    version = _whole(database, schema.MIGRATIONS)
    with _open(database) as db:
        return version, _held(db)


def _inspect_beside(database: Path, name: str, copy: Path) -> int:
    """The schema of a copy of another database. Raises CatalogueDamaged, naming the one copied."""
    try:
        return _whole(copy, BESIDE[name].migrations)
    except CatalogueDamaged as error:
        raise CatalogueDamaged(f"{database}: {error}; `rag doctor` says what is wrong") from error


def _whole(database: Path, migrations: Sequence[Migration]) -> int:
    """The schema of a database, once it was found whole. Raises SchemaTooNew, CatalogueDamaged."""
    with _open(database) as db:
        schema.refuse_newer(db, migrations)
        version = schema.version(db)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            schema.migrate(model, migrations[:version])
            if missing := _objects(model) - _objects(db):
                raise CatalogueDamaged(f"it lacks the {' '.join(min(missing))} of schema {version}")
        if problems := truth.integrity(db):
            raise CatalogueDamaged(problems[0])
        return version


def _objects(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"))


def _held(db: sqlite3.Connection) -> dict[str, Held]:
    rows = db.execute(
        "SELECT name, (SELECT count(*) FROM documents d WHERE d.collection_id = c.id), "
        "(SELECT count(*) FROM chunks k WHERE k.space_id = c.space_id) FROM collections c ORDER BY name"
    )
    return {name: Held(documents, chunks) for name, documents, chunks in rows}


def _contents(database: Path) -> dict[str, Held] | None:
    """What a catalogue holds; None where it cannot be read."""
    try:
        with _open(database) as db:
            return _held(db)
    except CatalogueDamaged:
        return None


def _readable(database: Path) -> bool:
    try:
        with _open(database) as db:
            db.execute("SELECT count(*) FROM meta").fetchone()
    except CatalogueDamaged:
        return False
    return True


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    """Read a catalogue. What SQLite says against it is raised as CatalogueDamaged."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.DatabaseError as error:
        raise CatalogueDamaged(str(error)) from error


@contextmanager
def _system(doing: str) -> Iterator[None]:
    """The system's refusals as ours."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {doing}: {error}") from error
