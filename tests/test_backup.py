"""Backups: consistent while writing goes on, whole or not there; restored whole, or nothing changes."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from api.cli import app
from indexes import archive, doctor, schema
from indexes.archive import Held
from indexes.backup import backup, restore
from indexes.catalogue import Catalogue
from indexes.library.store import PromptLibrary
from indexes.lock import writer_lock
from indexes.store import Store
from indexes.traces import TRACES
from rag.errors import (
    BackupDamaged,
    CatalogueDamaged,
    InvalidSetting,
    LockHeld,
    NotFound,
    RagError,
    SchemaTooNew,
    StorageError,
)
from rag.prompts import PromptTemplate
from rag.prompts.versions import Draft
from rag.protocols import Space
from rag.testing import HashEmbedder, put_texts

ROOT = Path(__file__).resolve().parent.parent
EMBEDDER = HashEmbedder(dim=16)
SPACE = Space("whole", EMBEDDER.info)
WORDS = ["agua", "té", "café", "leche", "sal", "pan", "red", "green", "blue", "train"]


def put(writer, *texts: str, first: int = 0) -> None:
    named = {f"d{first + number}": text for number, text in enumerate(texts)}
    put_texts(writer, named, EMBEDDER.embed(texts, input_type="document"))


def lines(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, 4)) + f" {seed}x{number}" for number in range(count)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two collections and their generations; nobody has it open."""
    folder = tmp_path / "data"
    with Catalogue.open(folder, create=True) as catalogue:
        for name, size in (("c", 60), ("desk", 5)):
            with catalogue.writer(name, SPACE) as writer:
                put(writer, *lines(size, seed=size))
                writer.publish()
    return folder


@pytest.fixture
def file(data: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    saved(data, path := tmp_path / "backup.tar")
    return path


def saved(data: Path, file: Path, **options) -> archive.Manifest:
    with Catalogue.open(data, create=False) as catalogue:
        return backup(catalogue.store, file, **options)


def answers(folder: Path) -> list:
    with Catalogue.open(folder, create=False) as catalogue:
        collection = catalogue.collection("c")
        return [
            [(hit.chunk.key, hit.chunk.text, hit.score) for hit in collection.nearest(vector, k=7, where={})]
            for vector in EMBEDDER.embed(WORDS, input_type="query")
        ]


def state(folder: Path) -> dict[str, bytes | None]:
    """Everything that lies in a folder; the lock, and what SQLite lays beside to read, hold nothing."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name not in ("writer.lock", "catalogue.db-shm")
    }
    return {name: content for name, content in found.items() if (name, content) != ("catalogue.db-wal", b"")}


def well(folder: Path) -> bool:
    with Catalogue.open(folder, create=False) as catalogue:
        return doctor.repair(catalogue).ok


# --- there and back -----------------------------------------------------------------------------


def test_restored_folder_is_well_and_answers_as_before(data, file, tmp_path):
    restored = restore(file, tmp_path / "new" / "folder")
    assert restored.aside is None
    assert restored.manifest.collections == {"c": Held(60, 60), "desk": Held(5, 5)}
    expected = answers(data)
    assert answers(tmp_path / "new" / "folder") == expected  # before any index is built
    assert well(tmp_path / "new" / "folder")
    assert answers(tmp_path / "new" / "folder") == expected


def test_backup_is_a_tar_that_anybody_can_read_and_check(data, file):
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["catalogue.db", "MANIFEST.json", "MANIFEST.json.sha256"]
        catalogue, manifest, sum = (tar.extractfile(name).read() for name in tar.getnames())
    about = json.loads(manifest)
    assert (about["bytes"], about["schema"]) == (len(catalogue), len(schema.MIGRATIONS))
    assert about["sha256"] == archive.hashlib.sha256(catalogue).hexdigest()
    assert sum.decode() == f"{archive.hashlib.sha256(manifest).hexdigest()}  MANIFEST.json\n"
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(catalogue)
        assert db.execute("SELECT count(*) FROM generations").fetchone() == (0,)


def test_generations_made_after_a_restore_have_numbers_that_were_never_used(data, file, tmp_path):
    restore(file, data, force=True)
    with Catalogue.open(data, create=False) as catalogue:
        assert doctor.repair(catalogue).ok
        assert [info.generation.id for info in catalogue.collections()] == [3, 4]


def test_backup_is_of_one_moment_although_every_page_is_followed_by_a_commit(data, tmp_path, monkeypatch):
    monkeypatch.setattr("indexes.backup.PAGES", 1)
    left: list[int] = []
    with Catalogue.open(data, create=False) as catalogue, catalogue.writer("c", SPACE) as writer:

        def commit(stage: str, done: int, total: int) -> None:
            if stage == "copying":
                left.append(total - done)
                put(writer, f"written meanwhile {len(left)}", first=1000 + len(left))

        manifest = backup(catalogue.store, tmp_path / "b.tar", on_progress=commit)
        assert catalogue.collections()[0].documents == 60 + len(left)
    assert len(left) > 10
    assert left == sorted(left, reverse=True), "a copy that starts anew may never end"
    assert manifest.collections["c"] == Held(60, 60)
    assert well(restore(tmp_path / "b.tar", tmp_path / "new") and tmp_path / "new")


def test_catalogue_of_an_older_schema_is_restored_and_migrated(tmp_path):
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        schema.migrate(db, schema.MIGRATIONS[:1])
    archive.pack(old, tmp_path / "b.tar", schema=1, held={}, tell=lambda _: None)
    restore(tmp_path / "b.tar", tmp_path / "new")
    assert well(tmp_path / "new")


def with_library(data: Path) -> None:
    """Put a prompt library of one prompt and one trace's database into the data folder."""
    draft = Draft.of(PromptTemplate.parse("user:\nhi", name="hi"), name="hi")
    with closing(PromptLibrary.open(data, create=True)) as library:
        library.push([draft], author="ana", label="production")
    Store(data, create=True, database=TRACES).close()


def test_prompt_library_and_traces_are_carried_too(data, tmp_path):
    with_library(data)
    manifest = saved(data, tmp_path / "b.tar")
    assert list(manifest.beside) == ["library.db", "traces.db"]
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames()[:3] == ["catalogue.db", "library.db", "traces.db"]
    restored = restore(tmp_path / "b.tar", tmp_path / "new")
    assert restored.others == ()
    assert well(tmp_path / "new")
    with closing(PromptLibrary.open(tmp_path / "new", create=False)) as library:
        assert library.version("hi").source == "user:\nhi"
        assert [event.action for event in library.log()] == ["label", "push"]
    Store(tmp_path / "new", create=False, database=TRACES).close()


def test_library_that_is_there_stays_and_with_force_is_kept_beside(data, file, tmp_path):
    with_library(data)
    saved(data, tmp_path / "b.tar")
    restore(file, data, force=True)  # a backup without a library has nothing to say of one
    with closing(PromptLibrary.open(data, create=False)) as library:
        library.remove("hi", author="ana")
    (data / "catalogue.db").unlink()
    with pytest.raises(InvalidSetting, match=r"holds library\.db already.*library\.db\.before-restore-1"):
        restore(tmp_path / "b.tar", data)
    restored = restore(tmp_path / "b.tar", data, force=True)
    assert [path.name for path in restored.others] == [
        "library.db.before-restore-1",
        "traces.db.before-restore-1",
    ]
    with closing(PromptLibrary.open(data, create=False)) as library:
        assert library.names() == ["hi"]


def test_any_flipped_bit_of_the_library_is_found(data, tmp_path):
    with_library(data)
    saved(data, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "b.tar") as tar:
        start = tar.getmember("library.db").offset
        end = tar.getmember("MANIFEST.json").offset
    dice = random.Random(7)
    for place in [*range(start, start + archive.BLOCK, 37), *(dice.randrange(start, end) for _ in range(30))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << dice.randrange(8)
        (tmp_path / "b.tar").write_bytes(flipped)
        with pytest.raises(BackupDamaged):
            restore(tmp_path / "b.tar", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir() if path.suffix == ".db"] == []


def test_damaged_library_is_not_taken_for_a_backup(data, tmp_path):
    with_library(data)
    with closing(sqlite3.connect(data / "library.db")) as db, db:
        db.execute("DROP TRIGGER texts_no_delete")
        db.execute("DELETE FROM texts")
    with pytest.raises(CatalogueDamaged, match=r"data/library\.db: "):
        saved(data, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_backup_of_the_first_format_is_restored_still(data, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 1)
    monkeypatch.setattr(
        archive, "asdict", lambda made: {k: v for k, v in asdict(made).items() if k != "beside"}
    )
    saved(data, tmp_path / "b.tar")
    monkeypatch.undo()
    assert restore(tmp_path / "b.tar", tmp_path / "new").manifest.beside == {}
    assert well(tmp_path / "new")


# --- whole or not there -------------------------------------------------------------------------


def test_file_that_is_there_is_replaced_only_when_asked(data, file):
    before = file.read_bytes()
    with pytest.raises(InvalidSetting, match="--force"):
        saved(data, file)
    assert file.read_bytes() == before
    with Catalogue.open(data, create=False) as catalogue, catalogue.writer("c", SPACE) as writer:
        put(writer, "one more", first=70)
    assert saved(data, file, force=True).collections["c"] == Held(61, 61)
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["data/b.tar", "data/indexes/b.tar", ".", "nowhere/b.tar", "pipe"])
def test_place_that_cannot_hold_a_backup_is_refused_before_anything_is_done(data, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    before = state(tmp_path / "data")
    with pytest.raises((InvalidSetting, NotFound)):
        saved(data, tmp_path / name, force=True)
    assert state(tmp_path / "data") == before


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write past ``size`` bytes of a file, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("where", ["in the copy", "in the tar"])
def test_full_disk_leaves_no_new_file_and_the_old_one_as_it_was(data, file, where):
    before = file.read_bytes()
    with tarfile.open(file) as tar:
        size = tar.getmember("catalogue.db").size
    with largest_file(size // 2 if where == "in the copy" else size + 1), pytest.raises(StorageError):
        saved(data, file, force=True)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["backup.tar", "data"]


@pytest.mark.parametrize("stage", ["copying", "checking", "writing"])
def test_interrupted_backup_leaves_no_new_file_and_the_old_one_as_it_was(data, file, stage):
    def interrupt(now: str, *_: int) -> None:
        if now == stage:
            raise KeyboardInterrupt

    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        saved(data, file, force=True, on_progress=interrupt)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["backup.tar", "data"]


def test_damaged_catalogue_is_not_taken_for_a_backup(data, tmp_path):
    with closing(sqlite3.connect(data / "catalogue.db")) as db, db:
        db.execute("DELETE FROM vectors WHERE id = 3")
    with pytest.raises(CatalogueDamaged, match=r"data/catalogue\.db: .*missing row"):
        saved(data, tmp_path / "b.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_read_only_places_are_told_and_a_backup_is_read_from_one(data, file, tmp_path):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shutil.copy(file, shelf / "b.tar")
    shelf.chmod(0o500)
    if os.access(shelf, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(StorageError, match="Permission denied"):
        saved(data, shelf / "c.tar")
    with pytest.raises(StorageError, match="Permission denied"):
        restore(shelf / "b.tar", shelf / "data")
    restore(shelf / "b.tar", tmp_path / "new")
    shelf.chmod(0o700)
    assert well(tmp_path / "new")


# --- what is refused ----------------------------------------------------------------------------


def assert_refused(
    file: Path, data: Path, error: type[RagError] = BackupDamaged, match: str | None = None
) -> None:
    """Refused over a catalogue, which stays as it is, and where there is none."""
    before = state(data)
    with pytest.raises(error, match=match):
        restore(file, data, force=True)
    assert state(data) == before
    new = data.parent / "new"
    with pytest.raises(error, match=match):
        restore(file, new)
    assert not new.exists() or [path.name for path in new.iterdir()] == ["writer.lock"]


def test_any_flipped_bit_is_found(data, file):
    whole = file.read_bytes()
    dice = random.Random(5)
    last = len(whole) - 6 * archive.BLOCK  # the manifest, its sum, their headers and the end: a bit of each
    places = [dice.randrange(len(whole)) for _ in range(50)] + [*range(last, len(whole), 61)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << dice.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises((BackupDamaged, SchemaTooNew)):
            restore(file, data, force=True)
    file.write_bytes(whole)
    assert [path.name for path in data.glob("catalogue.db.*")] == []
    restore(file, data, force=True)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.99, 0.9999])
def test_truncated_file_is_refused(data, file, share):
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert_refused(file, data)


def test_file_with_a_byte_too_many_is_refused(data, file):
    file.write_bytes(file.read_bytes() + b"\0")
    assert_refused(file, data)


def odd(members: list[tuple[tarfile.TarInfo, bytes]], *, format: int = tarfile.GNU_FORMAT) -> bytes:
    target = BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    return target.getvalue()


def link(name: str, to: str, type: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, to
    return info


def named(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


ODD = {
    "empty tar": lambda db: odd([]),
    "path out of the folder": lambda db: odd([(named("../catalogue.db"), db)]),
    "absolute path": lambda db: odd([(named("/tmp/catalogue.db"), db)]),
    "symbolic link": lambda db: odd([(link("catalogue.db", "/etc/passwd", tarfile.SYMTYPE), b"")]),
    "hard link": lambda db: odd([(link("catalogue.db", "writer.lock", tarfile.LNKTYPE), b"")]),
    "device": lambda db: odd([(link("catalogue.db", "", tarfile.CHRTYPE), b"")]),
    "two catalogues": lambda db: odd([(named("catalogue.db"), db)] * 2),
    "no manifest": lambda db: odd([(named("catalogue.db"), db)]),
    "another order": lambda db: odd([(named("MANIFEST.json"), b"{}"), (named("catalogue.db"), db)]),
    "another format of tar": lambda db: odd([(named("catalogue.db"), db)], format=tarfile.PAX_FORMAT),
    "a catalogue as it lies": lambda db: db,
    "text": lambda db: b"no backup, but a note about one\n" * 100,
    "another sum": lambda db: odd(
        [(named("catalogue.db"), db), (named("MANIFEST.json"), b"{}"), (named("MANIFEST.json.sha256"), b"0")]
    ),
    "zeros": lambda db: bytes(10240),
}


@pytest.mark.parametrize("case", ODD)
def test_file_that_is_no_backup_is_refused_and_writes_nowhere(data, tmp_path, case):
    db = (data / "catalogue.db").read_bytes()
    file = tmp_path / "odd.tar"
    file.write_bytes(ODD[case](db))
    assert_refused(file, data)
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "new", "odd.tar"}


def repacked(file: Path, tmp_path: Path, *statements: str, held: dict[str, Held] | None = None) -> Path:
    """A backup of a catalogue changed by hand, packed as ours are."""
    db = tmp_path / "changed.db"
    with tarfile.open(file) as tar:
        db.write_bytes(tar.extractfile("catalogue.db").read())
        manifest = json.loads(tar.extractfile("MANIFEST.json").read())
    with closing(sqlite3.connect(db)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    held = held or {name: Held(**counts) for name, counts in manifest["collections"].items()}
    archive.pack(db, tmp_path / "changed.tar", schema=manifest["schema"], held=held, tell=lambda _: None)
    return tmp_path / "changed.tar"


@pytest.mark.parametrize(
    ("statement", "error", "match"),
    [
        ("PRAGMA user_version = 99", SchemaTooNew, "pip install"),
        ("DELETE FROM documents WHERE id = 'd1'", BackupDamaged, "missing row"),
        ("DROP TABLE cuts", BackupDamaged, "lacks the"),
        ("DROP INDEX chunks_of_space", BackupDamaged, "lacks the index chunks_of_space of schema"),
        ("UPDATE collections SET name = 'e' WHERE name = 'c'", BackupDamaged, "does not hold what"),
        ("PRAGMA user_version = 0", BackupDamaged, "does not hold what"),
    ],
)
def test_catalogue_that_is_not_whole_is_refused_although_its_hash_is_right(
    data, file, tmp_path, statement, error, match
):
    assert_refused(repacked(file, tmp_path, statement), data, error, match)


def test_backup_of_a_newer_format_names_the_promptwell_that_wrote_it(data, file, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 3)
    monkeypatch.setattr(archive, "installed", lambda _: "9.8")
    saved(data, file, force=True)
    monkeypatch.undo()
    assert_refused(file, data, SchemaTooNew, r"promptwell 9\.8")


# --- a folder that holds something --------------------------------------------------------------


def test_catalogue_that_is_there_stays_and_with_force_is_kept_beside(data, file):
    before = answers(data)
    with Catalogue.open(data, create=False) as catalogue, catalogue.writer("c", SPACE) as writer:
        put(writer, "agua agua agua", first=70)
    after = answers(data)
    assert before != after
    with pytest.raises(InvalidSetting, match=r"c: 61 documents, desk: 5 documents.*before-restore-1"):
        restore(file, data)
    assert answers(data) == after
    restored = restore(file, data, force=True)
    assert answers(data) == before
    assert well(data)
    assert restored.aside == data / "catalogue.db.before-restore-1"
    assert restore(file, data, force=True).aside == data / "catalogue.db.before-restore-2"
    restored.aside.rename(data / "catalogue.db")
    assert answers(data) == after
    assert well(data)


def test_catalogue_that_a_process_has_open_is_not_taken_from_under_it(data, file):
    with Catalogue.open(data, create=False) as catalogue:
        catalogue.collections()
        with pytest.raises(StorageError, match="stop what serves"):
            restore(file, data, force=True)
        assert catalogue.collections()[0].documents == 60
    assert [path.name for path in data.glob("catalogue.db.*")] == []
    restore(file, data, force=True)


def test_restore_waits_for_no_writer_it_was_not_told_to_wait_for(data, file):
    with writer_lock(data / "writer.lock"), pytest.raises(LockHeld):
        restore(file, data, force=True)


def test_catalogue_that_sqlite_cannot_read_is_kept_with_its_wal(data, file):
    expected = answers(data)
    (data / "catalogue.db").write_bytes(b"broken" * 2000)
    (data / "catalogue.db-wal").write_bytes(b"and its wal")
    with pytest.raises(InvalidSetting, match="cannot be read"):
        restore(file, data)
    aside = restore(file, data, force=True).aside
    assert aside.read_bytes() == b"broken" * 2000
    assert Path(f"{aside}-wal").read_bytes() == b"and its wal"
    assert answers(data) == expected
    assert well(data)


def test_wal_without_its_catalogue_is_never_played_into_a_restored_one(data, file, tmp_path):
    """Someone deleted catalogue.db alone, with commits still in its WAL."""
    expected = answers(data)
    with Catalogue.open(data, create=False) as reader, reader.store.reading() as db:
        db.execute("SELECT * FROM meta").fetchall()  # its moment is needed: nothing is written back
        with reader.writer("c", SPACE) as writer:
            put(writer, *lines(50, seed=9), first=200)
        shutil.copy(data / "catalogue.db-wal", tmp_path / "wal")
    assert (tmp_path / "wal").stat().st_size > 10_000
    (data / "catalogue.db").unlink()
    shutil.copy(tmp_path / "wal", data / "catalogue.db-wal")
    restored = restore(file, data)
    assert restored.aside is None
    assert (data / "catalogue.db.before-restore-1-wal").read_bytes() == (tmp_path / "wal").read_bytes()
    assert answers(data) == expected
    assert well(data)


# --- killed, and while others are at work -------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from indexes.backup import backup, restore
from indexes.catalogue import Catalogue
from indexes import doctor

what, data, file, point = sys.argv[1:]

def on_point(name):
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)

if what == "backup":
    with Catalogue.open(Path(data), create=False, on_point=on_point) as catalogue:
        backup(catalogue.store, Path(file), force=True)
else:
    restore(Path(file), Path(data), force=True, on_point=on_point)
    with Catalogue.open(Path(data), create=False, on_point=on_point) as catalogue:
        doctor.repair(catalogue)
"""


def killed(what: str, data: Path, file: Path, point: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, what, str(data), str(file), point],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("point", ["backup:copied", "backup:packed", "backup:placed"])
def test_killed_backup_leaves_the_old_file_or_the_new_one(data, file, tmp_path, point):
    before = file.read_bytes()
    with Catalogue.open(data, create=False) as catalogue, catalogue.writer("c", SPACE) as writer:
        put(writer, "one more", first=70)
    killed("backup", data, file, point)
    manifest = restore(file, tmp_path / "new").manifest
    assert manifest.collections["c"] == (Held(61, 61) if point == "backup:placed" else Held(60, 60))
    assert (file.read_bytes() == before) == (point != "backup:placed")
    assert well(tmp_path / "new")
    assert well(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    ["restore:verified", "restore:linked", "restore:placed", "publish:built", "publish:renamed"],
)
def test_killed_restore_leaves_the_old_folder_or_the_new_one(data, file, point):
    old = answers(data)
    with Catalogue.open(data, create=False) as catalogue, catalogue.writer("c", SPACE) as writer:
        put(writer, "agua agua agua", first=70)
    new, old = old, answers(data)
    killed("restore", data, file, point)
    placed = point not in ("restore:verified", "restore:linked")
    assert answers(data) == (new if placed else old)
    assert well(data)
    restore(file, data, force=True)
    assert answers(data) == new
    assert well(data)
    assert not (data / "catalogue.db.restoring").exists()


INGEST = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_backup import SPACE, lines, put
from indexes.catalogue import Catalogue

with Catalogue.open(Path(sys.argv[1]), create=False) as catalogue:
    for number in itertools.count(1):
        with catalogue.writer("c", SPACE) as writer:
            put(writer, *lines(20, seed=number), first=number * 100)
            writer.publish()
        print(number, flush=True)
"""


@pytest.mark.slow
def test_backups_taken_while_eight_threads_search_and_a_process_ingests_are_all_well(data, tmp_path):
    ingest = subprocess.Popen(
        [sys.executable, "-c", INGEST, str(data), str(ROOT / "tests")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    stop, failures, searches = threading.Event(), [], []
    with Catalogue.open(data, create=False) as catalogue:

        def search(seed: int) -> None:
            vectors = EMBEDDER.embed(WORDS, input_type="query")
            try:
                while not stop.is_set():
                    hits = catalogue.collection("c").nearest(vectors[seed], k=5, where={})
                    assert len(hits) == 5
                    searches.append(seed)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=search, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        held = []
        try:
            for number in range(10):
                assert ingest.stdout.readline()  # something was committed since the last one
                held.append(backup(catalogue.store, tmp_path / f"{number}.tar").collections["c"])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            ingest.kill()
            ingest.wait()
            ingest.stdout.close()
    assert not failures
    assert len(set(searches)) == 8
    assert len({count.chunks for count in held}) > 5
    for number in range(10):
        new = tmp_path / f"new{number}"
        assert restore(tmp_path / f"{number}.tar", new).manifest.collections["c"] == held[number]
        assert well(new)


# --- the commands -------------------------------------------------------------------------------


def rag(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_commands_tell_what_they_did_and_end_with_what_the_doctor_says(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = rag("backup", "b.tar", "--data", data)
    assert "c: 60 documents, 60 chunks; desk: 5 documents, 5 chunks" in told.stdout
    assert told.stderr.splitlines()[-1].startswith("writing")
    assert "--force" in rag("backup", "b.tar", "--data", data, code=2).stderr
    told = rag("restore", "b.tar", "--data", "new")
    assert "building the indexes" in told.stderr
    assert told.stdout.splitlines()[-1].startswith("All well.")
    assert "--force" in rag("restore", "b.tar", "--data", "new", code=2).stderr
    assert "before-restore-1" in rag("restore", "b.tar", "--data", "new", "--force").stdout
    assert "there is no file" in rag("restore", "none.tar", "--data", "other", code=2).stderr
    (tmp_path / "b.tar").write_bytes(b"?")
    assert "not made by `rag backup`" in rag("restore", "b.tar", "--data", "other", code=1).stderr
    assert "no catalogue" in rag("backup", "c.tar", "--data", "nowhere", code=2).stderr
    assert not (tmp_path / "nowhere").exists()


def test_commands_print_one_json_object(data, tmp_path):
    made = json.loads(rag("backup", tmp_path / "b.tar", "--data", data, "--json").stdout)
    assert made["collections"]["desk"] == {"documents": 5, "chunks": 5}
    told = json.loads(rag("restore", tmp_path / "b.tar", "--data", tmp_path / "new", "--json").stdout)
    assert told["before"] is None
    assert told["doctor"]["ok"]
    assert told["backup"]["sha256"] == made["sha256"]


def test_backup_that_is_told_to_end_removes_what_it_wrote(data, file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr(archive, "pack", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    rag("backup", file, "--data", data, "--force", code=128 + signal.SIGTERM)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["backup.tar", "data"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
