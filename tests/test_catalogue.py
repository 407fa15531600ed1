"""The catalogue and its one writer: what is acknowledged is there, whole, whoever dies when."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexes import doctor
from indexes.catalogue import Catalogue
from indexes.schema import MIGRATIONS, migrate, version
from indexes.store import CATALOGUE, PAGE_BYTES, Store
from rag.errors import (
    CatalogueDamaged,
    EmbedderMismatch,
    InvalidSetting,
    LockHeld,
    NotFound,
    SchemaTooNew,
    StorageError,
    UnknownCollection,
    UnknownDocument,
)
from rag.protocols import Item, PutChunks, PutDocument, PutItem, RemoveDocument, RemoveItem, Space
from rag.testing import HashEmbedder
from rag.types import Chunk, Document, EmbedderInfo, Page, text_hash

ROOT = Path(__file__).resolve().parent.parent
EMBEDDER = HashEmbedder(dim=16)
SPACE = Space("lines", EMBEDDER.info)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def catalogue(data: Path):
    with Catalogue.open(data, create=True) as opened:
        yield opened


def doc(id: str, *lines: str, **more) -> Document:
    return Document(id, "\n".join(lines), **more)


def cut(document: Document) -> list[Chunk]:
    chunks, start = [], 0
    for line in document.text.split("\n"):
        chunks.append(Chunk(document.id, line, start, start + len(line), heading=("H", line[:3])))
        start += len(line) + 1
    return chunks


def embedded(*chunks: Chunk, embedder: HashEmbedder = EMBEDDER):
    texts = [chunk.embedded_text for chunk in chunks]
    return {
        "hashes": [text_hash(text) for text in texts],
        "vectors": embedder.embed(texts, input_type="document"),
    }


def put(writer, *documents: Document, item: str | None = None) -> None:
    cuts = {document.id: cut(document) for document in documents}
    changes = [PutDocument(item or f"file:{d.id}", d, cuts[d.id]) for d in documents]
    changes += [PutItem(Item(uri, "sha", "text-1")) for uri in {change.item_uri for change in changes}]
    writer.commit(changes, **embedded(*(chunk for chunks in cuts.values() for chunk in chunks)))


NOTHING = {"hashes": [], "vectors": np.empty((0, 16), dtype=np.float32)}


# --- opening ------------------------------------------------------------------------------------


def test_opening_a_folder_without_a_catalogue_names_the_command_that_makes_one(data):
    with pytest.raises(NotFound, match="rag ingest"):
        Catalogue.open(data, create=False)
    assert not data.exists()


def test_new_catalogue_has_every_migration_and_the_page_size_that_fits_vectors(catalogue, data):
    with sqlite3.connect(data / "catalogue.db") as db:
        assert version(db) == len(MIGRATIONS)
        assert db.execute("PRAGMA page_size").fetchone() == (PAGE_BYTES,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_catalogue_of_a_newer_promptwell_is_refused_and_left_alone(catalogue, data):
    with sqlite3.connect(data / "catalogue.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    for create in (True, False):
        with pytest.raises(SchemaTooNew, match="pip install"):
            Catalogue.open(data, create=create)


def test_migration_that_fails_leaves_the_schema_before_it_whole(tmp_path):
    db = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    broken = (*MIGRATIONS, ("CREATE TABLE extra(x)", "INSERT INTO nowhere VALUES(1)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, broken)
    assert version(db) == len(MIGRATIONS)
    assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchone() is None
    migrate(db, (*MIGRATIONS, ("CREATE TABLE extra(x)",)))
    assert version(db) == len(MIGRATIONS) + 1


def test_older_catalogue_is_migrated_when_opened(data):
    Catalogue.open(data, create=True).close()
    newer = replace(CATALOGUE, migrations=(*MIGRATIONS, ("CREATE TABLE extra(x)",)))
    with closing(Store(data, create=False, database=newer)) as store, store.reading() as db:
        assert db.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_file_that_is_no_database_is_called_damaged(data):
    data.mkdir()
    (data / "catalogue.db").write_bytes(b"these are not the tables you are looking for" * 500)
    with pytest.raises(CatalogueDamaged, match="restore it from a copy"):
        Catalogue.open(data, create=False)


def test_reader_can_neither_write_nor_checkpoint(catalogue, data):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one", "two"))
        size = (data / "catalogue.db-wal").stat().st_size
        with catalogue.store.reading() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM documents")
        with Catalogue.open(data, create=False) as other:
            assert other.document("c", "a").text == "one\ntwo"
        assert (data / "catalogue.db-wal").stat().st_size == size


# --- the writer's lock --------------------------------------------------------------------------


def test_second_writer_is_told_who_holds_the_lock(catalogue, data):
    code = """
        import sys; from pathlib import Path; from indexes.catalogue import Catalogue
        from rag.protocols import Space; from rag.testing import HashEmbedder
        space = Space("x", HashEmbedder().info)
        with Catalogue.open(Path(sys.argv[1]), create=True) as c, c.writer("c", space):
            print("held", flush=True); sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(data)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(LockHeld, match=f"process {holder.pid}") as caught,
        catalogue.writer("c", SPACE, wait=0.1),
    ):
        pass
    assert caught.value.pid == holder.pid
    assert catalogue.collections() == []  # reading goes on
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with catalogue.writer("c", SPACE, wait=10) as writer:  # the lock went with its holder
        put(writer, doc("a", "one"))
    holder.stdin.close()
    holder.stdout.close()


def test_writer_waits_for_the_lock_as_long_as_it_is_told(catalogue):
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with catalogue.writer("c", SPACE):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with pytest.raises(LockHeld), catalogue.writer("c", SPACE):
        pass
    threading.Timer(0.2, leave.set).start()
    with catalogue.writer("c", SPACE, wait=30) as writer:
        put(writer, doc("a", "one"))
    thread.join()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "ñandú", "x" * 65, "a\n"])
def test_name_that_cannot_be_a_folder_is_refused(catalogue, name):
    with pytest.raises(InvalidSetting, match="letters"), catalogue.writer(name, SPACE):
        pass


# --- commits ------------------------------------------------------------------------------------


def test_documents_and_chunks_come_back_as_they_were_put(catalogue):
    metadata = {"language": "es", "year": 2026, "share": 0.5, "draft": False, "tags": ("té", "agua")}
    document = doc("té", "Hierve el agua.", "Añade el té.", title="Té", uri="u", metadata=metadata,
                   pages=(Page(0, "i"), Page(16, "ii")))  # fmt: skip
    with catalogue.writer("c", SPACE) as writer:
        put(writer, document)
    stored = catalogue.document("c", "té")
    assert stored == document
    assert stored.digest == document.digest
    chunks = catalogue.chunks("c", "té")
    assert [chunk.text for chunk in chunks] == ["Hierve el agua.", "Añade el té."]
    assert all(document.text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert chunks[0].heading == ("H", "Hie")
    assert chunks[0].metadata == metadata
    assert chunks[0].key > 0
    (info,) = catalogue.documents("c")
    assert (info.id, info.characters, info.chunks, info.metadata) == ("té", 28, 2, metadata)


def test_new_version_replaces_the_old_one_and_keys_are_not_reused(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one", "two"))
        old = {chunk.key for chunk in catalogue.chunks("c", "a")}
        put(writer, doc("a", "two", "three", "four"))
        new = [chunk.key for chunk in catalogue.chunks("c", "a")]
        assert min(new) > max(old)
        writer.commit([RemoveDocument("a")], **NOTHING)
        put(writer, doc("a", "one"))
        assert catalogue.chunks("c", "a")[0].key > max(new)
    assert [info.chunks for info in catalogue.collections()] == [1]


def test_ledger_knows_items_digests_and_missing_texts(catalogue):
    a, b = doc("a", "one"), doc("b", "two")
    with catalogue.writer("c", SPACE) as writer:
        put(writer, a, b, item="file:/docs/both.jsonl")
        writer.commit(
            [PutItem(Item("file:/docs2/bad", "", "p", reason="damaged", detail="cut off"))], **NOTHING
        )
        for ledger in (writer, catalogue.ledger("c")):
            assert ledger.space == SPACE
            assert list(ledger.items()) == ["file:/docs/both.jsonl", "file:/docs2/bad"]
            assert list(ledger.items("file:/docs/")) == ["file:/docs/both.jsonl"]
            assert ledger.items("file:/docs2/")["file:/docs2/bad"].detail == "cut off"
            assert ledger.digests("file:/docs/both.jsonl") == {"a": a.digest, "b": b.digest}
            assert ledger.digests("nowhere") == {}
            hashes = [text_hash("one"), text_hash("three")]
            assert ledger.missing(hashes, fingerprint=EMBEDDER.info.fingerprint) == {text_hash("three")}
            assert ledger.missing(hashes, fingerprint="another") == set(hashes)
        writer.commit([RemoveItem("file:/docs/both.jsonl")], **NOTHING)
        assert writer.digests("file:/docs/both.jsonl") == {}
        assert list(writer.items()) == ["file:/docs2/bad"]
        assert writer.space is None  # empty again
    assert catalogue.ledger("never").space is None


def test_text_is_embedded_once_for_all_collections(catalogue):
    with catalogue.writer("one", SPACE) as writer:
        put(writer, doc("a", "shared line"))
    with catalogue.writer("two", SPACE) as writer:
        assert writer.missing([text_hash("shared line")], fingerprint=EMBEDDER.info.fingerprint) == set()
        document = doc("b", "shared line")
        writer.commit([PutDocument("f", document, cut(document))], **NOTHING)
    assert len(catalogue.chunks("two", "b")) == 1


def test_vectors_may_be_committed_ahead_of_their_document(catalogue):
    document = doc("long", "first", "second")
    with catalogue.writer("c", SPACE) as writer:
        for chunk in cut(document):
            writer.commit([], **embedded(chunk))
        assert catalogue.documents("c") == []
        writer.commit([PutDocument("f", document, cut(document))], **NOTHING)
    assert catalogue.collections()[0].chunks == 2


a = doc("a", "one", "two")
good = cut(a)[0]
EMPTY = Chunk("a", "", 3, 3)
UNSEEN = doc("a", "unseen")
WRONG = {
    "no vector": ([PutDocument("f", UNSEEN, cut(UNSEEN))], NOTHING),
    "text of elsewhere": ([PutDocument("f", a, [Chunk("a", "two", 0, 3)])], embedded(*cut(a))),
    "span past the end": ([PutDocument("f", a, [Chunk("a", "two", 4, 70)])], embedded(*cut(a))),
    "empty span": ([PutDocument("f", a, [EMPTY])], embedded(EMPTY)),
    "chunk of another": ([PutDocument("f", a, [Chunk("b", "one", 0, 3)])], embedded(*cut(a))),
    "not finite": ([], {"hashes": [b"h"], "vectors": np.full((1, 16), np.nan, np.float32)}),
    "not of unit length": ([], {"hashes": [b"h"], "vectors": np.ones((1, 16), np.float32)}),
    "counts differ": ([], {"hashes": [b"h", b"i"], "vectors": np.eye(16, dtype=np.float32)[:1]}),
    "not stored": ([PutChunks(a, cut(a))], embedded(*cut(a))),
    "lone surrogate": ([PutDocument("f\ud800", a, cut(a))], embedded(*cut(a))),
}


@pytest.mark.parametrize("case", WRONG)
def test_commit_that_would_break_a_law_is_refused_as_a_whole(catalogue, case):
    changes, vectors = WRONG[case]
    fine = doc("fine", "a good line")
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("before", "here"))
        writer.commit([], **embedded(*cut(fine)))
        with pytest.raises(StorageError):
            writer.commit([PutDocument("g", fine, cut(fine)), *changes], **vectors)
        put(writer, doc("after", "there"))
    assert [info.id for info in catalogue.documents("c")] == ["after", "before"]
    assert doctor.check(catalogue).ok


CODING = HashEmbedder(dim=16, tokens=True)


def test_tokens_are_kept_beside_vectors_found_by_chunk_and_go_with_them(catalogue):
    document = doc("a", "one line", "another line here")
    chunks = cut(document)
    texts = [chunk.embedded_text for chunk in chunks]
    vectors, codes = CODING.embed_coded(texts)
    hashes = [text_hash(text) for text in texts]
    with catalogue.writer("c", Space("lines", CODING.info)) as writer:
        writer.commit([PutDocument("f", document, chunks)], hashes=hashes, vectors=vectors, tokens=codes)
        keys = np.array([chunk.key for chunk in catalogue.chunks("c", "a")])
        assert catalogue.collection("c").tokens(keys) == dict(zip(keys.tolist(), codes, strict=True))
        assert catalogue.collection("c").space.embedder == CODING.info
        assert doctor.check(catalogue).ok
        writer.commit([RemoveDocument("a")], hashes=[], vectors=NOTHING["vectors"])
        assert catalogue.collection("c").tokens(keys) == {}
    catalogue.remove_collection("c")
    with catalogue.store.reading() as db:
        assert db.execute("SELECT count(*) FROM token_codes").fetchone() == (0,)


@pytest.mark.parametrize("tokens", [(), (b"1234", b"1234"), (b"12345",)])
def test_tokens_that_are_missing_or_of_another_dimension_are_refused(catalogue, tokens):
    with catalogue.writer("c", Space("lines", CODING.info)) as writer, pytest.raises(StorageError):
        writer.commit([], **embedded(good, embedder=CODING), tokens=tokens)
    with catalogue.writer("d", SPACE) as writer, pytest.raises(StorageError, match="token codes of 1 texts"):
        writer.commit([], **embedded(good), tokens=(b"1234",))


def test_vectors_of_another_dimension_are_refused_by_name(catalogue):
    with (
        catalogue.writer("c", SPACE) as writer,
        pytest.raises(EmbedderMismatch, match=r"8 dimensions.*'hash'"),
    ):
        writer.commit([], **embedded(good, embedder=HashEmbedder(dim=8)))


def test_reader_sees_one_moment_while_the_writer_goes_on(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
        with catalogue.store.reading() as db:
            count = "SELECT count(*) FROM documents"
            assert db.execute(count).fetchone() == (1,)
            put(writer, doc("b", "two"))
            assert db.execute(count).fetchone() == (1,)
        assert len(catalogue.documents("c")) == 2


# --- another space ------------------------------------------------------------------------------

OTHER = HashEmbedder(dim=24, seed=1)
NEW_SPACE = Space("whole", OTHER.info)


def whole(document: Document) -> list[Chunk]:
    return [Chunk(document.id, document.text, 0, len(document.text))]


def move(writer, document: Document) -> None:
    writer.commit([PutChunks(document, whole(document))], **embedded(*whole(document), embedder=OTHER))


def test_collection_answers_from_its_space_until_the_new_one_is_complete(catalogue):
    documents = [doc("a", "one", "two"), doc("b", "three")]
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *documents)
    with catalogue.writer("c", NEW_SPACE) as writer:
        waiting = list(writer.unmoved(NEW_SPACE))
        assert waiting == documents
        move(writer, documents[0])
        with pytest.raises(StorageError, match="'b'"):
            writer.activate()
        with pytest.raises(StorageError, match="another chunking"):
            writer.commit([PutDocument("file:a", doc("a", "changed"), [])], **NOTHING)
        with pytest.raises(StorageError, match="another chunking"):
            writer.commit([RemoveDocument("a")], **NOTHING)
    info = catalogue.collections()[0]
    assert (info.space, info.building, info.moved, info.chunks) == (SPACE, NEW_SPACE, 1, 3)
    report = doctor.check(catalogue)
    assert report.ok
    assert [finding.invariant for finding in report.findings] == ["spaces"]
    with catalogue.writer("c", NEW_SPACE) as writer:  # resumed, not begun again
        assert [document.id for document in writer.unmoved(NEW_SPACE)] == ["b"]
        for document in writer.unmoved(NEW_SPACE):
            move(writer, document)
        writer.activate()
    info = catalogue.collections()[0]
    assert (info.space, info.building, info.chunks) == (NEW_SPACE, None, 2)
    assert info.generation is not None
    assert doctor.check(catalogue).ok


def test_half_built_space_is_dropped_by_a_writer_of_a_third_and_kept_by_one_of_the_first(catalogue):
    a = doc("a", "one", "two")
    with catalogue.writer("c", SPACE) as writer:
        put(writer, a)
    with catalogue.writer("c", NEW_SPACE) as writer:
        move(writer, a)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("b", "three"))
    assert catalogue.collections()[0].building == NEW_SPACE
    assert [d.id for d in catalogue.ledger("c").unmoved(NEW_SPACE)] == ["b"]
    third = Space("third", EMBEDDER.info)
    with catalogue.writer("c", third) as writer:
        writer.commit([PutChunks(a, whole(a))], **embedded(*whole(a)))
    info = catalogue.collections()[0]
    assert (info.building, info.moved) == (third, 1)


def test_document_that_changed_is_not_moved(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
    with catalogue.writer("c", NEW_SPACE) as writer, pytest.raises(StorageError, match="another version"):
        move(writer, doc("a", "two"))


def test_emptied_collection_takes_the_next_space_at_once(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
        writer.commit([RemoveDocument("a")], **NOTHING)
    with catalogue.writer("c", NEW_SPACE) as writer:
        document = doc("b", "two")
        writer.commit(
            [PutDocument("f", document, whole(document))], **embedded(*whole(document), embedder=OTHER)
        )
    assert catalogue.ledger("c").space == NEW_SPACE


# --- removing -----------------------------------------------------------------------------------


def test_removed_documents_come_back_with_the_next_ingest_of_their_item(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"), doc("b", "two"), item="f")
    assert catalogue.remove_documents("c", ["a"]) == 1
    assert [info.id for info in catalogue.documents("c")] == ["b"]
    assert catalogue.ledger("c").items()["f"].sha256 == ""
    with pytest.raises(UnknownDocument, match="rag documents list"):
        catalogue.remove_documents("c", ["b", "a"])
    assert [info.id for info in catalogue.documents("c")] == ["b"]


def test_removed_collection_leaves_nothing(catalogue, data):
    for name in ("c", "d"):
        with catalogue.writer(name, SPACE) as writer:
            put(writer, doc("a", f"only in {name}"))
            writer.publish()
    catalogue.remove_collection("c")
    assert [info.name for info in catalogue.collections()] == ["d"]
    assert [path.name for path in (data / "indexes").iterdir()] == ["d"]
    hashes = [text_hash("only in c"), text_hash("only in d")]
    assert catalogue.ledger("d").missing(hashes, fingerprint=EMBEDDER.info.fingerprint) == {hashes[0]}
    with pytest.raises(UnknownCollection, match="there are: d"):
        catalogue.collection("c")
    assert doctor.check(catalogue).ok


def test_facts_are_remembered(catalogue, data):
    assert catalogue.fact("rate") is None
    catalogue.remember("rate", "11400.5")
    catalogue.remember("rate", "12000")
    with Catalogue.open(data, create=False) as other:
        assert other.fact("rate") == "12000"


# --- killed -------------------------------------------------------------------------------------

VICTIM = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from indexes.catalogue import Catalogue
from rag.protocols import Item, PutChunks, PutDocument, PutItem, RemoveItem, Space
from rag.testing import HashEmbedder
from rag.types import Chunk, Document, text_hash

target, countdown = sys.argv[2], int(sys.argv[3])

def on_point(name):
    global countdown
    if name == target:
        countdown -= 1
        if countdown < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def cut(document):
    start = 0
    for line in document.text.split("\\n"):
        yield Chunk(document.id, line, start, start + len(line))
        start += len(line) + 1

def commit(writer, embedder, ids, version, kind):
    changes, chunks = [], []
    for id in ids:
        document = Document(id, f"{id} line\\n{id} version {version}")
        cuts = list(cut(document))
        chunks += cuts
        if kind is PutDocument:
            item = Item(f"file:{id}", str(version), "p")
            changes += [PutDocument(item.uri, document, cuts), PutItem(item)]
        else:
            changes.append(PutChunks(document, cuts))
    texts = [c.embedded_text for c in chunks]
    vectors = embedder.embed(texts, input_type="document")
    writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)
    print(json.dumps([kind.__name__, list(ids), version]), flush=True)

first, second = HashEmbedder(dim=16), HashEmbedder(dim=24, seed=1)
with Catalogue.open(Path(sys.argv[1]), create=True, on_point=on_point) as catalogue:
    if catalogue.ledger("c").space != Space("lines", second.info):
        with catalogue.writer("c", Space("lines", first.info), wait=30) as writer:
            for version in range(3):
                commit(writer, first, [f"d{n}" for n in range(version, version + 4)], version, PutDocument)
                writer.publish()
    with catalogue.writer("c", Space("lines", second.info), wait=30) as writer:
        for document in writer.unmoved(Space("lines", second.info)):
            version = int(document.text.split()[-1])
            commit(writer, second, [document.id], version, PutChunks)
        writer.activate()
        writer.publish()
    print(json.dumps(["activated"]), flush=True)
"""
EXPECTED = {"d0": 0, "d1": 1, "d2": 2, "d3": 2, "d4": 2, "d5": 2}
POINTS = [
    *[(point, n) for point in ("commit:begun", "commit:before", "commit:after") for n in (0, 4)],
    *[
        (f"publish:{point}", n)
        for point in ("built", "verified", "renamed", "recorded", "collected")
        for n in (0, 3)
    ],
    ("activate:before", 0),
    ("activate:after", 0),
]


def run_victim(data: Path, point: str, countdown: int) -> tuple[int, list]:
    arguments = [str(data), point, str(countdown), str(ROOT)]
    done = subprocess.run([sys.executable, "-c", VICTIM, *arguments], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def assert_whole(catalogue: Catalogue, acknowledged: list) -> None:
    """What was acknowledged is there, nothing is half there, and every chunk is found."""
    latest: dict[str, int] = {}
    for entry in acknowledged:
        if entry[0] == "PutDocument":
            latest |= dict.fromkeys(entry[1], entry[2])
    stored = (
        {info.id: catalogue.document("c", info.id) for info in catalogue.documents("c")} if latest else {}
    )
    for id, number in latest.items():
        assert int(stored[id].text.split()[-1]) >= number
    for document in stored.values():
        assert [chunk.text for chunk in catalogue.chunks("c", document.id)] == document.text.split("\n")
    if latest:
        hits = catalogue.collection("c").matching("line version", k=100, where={})
        assert len({hit.chunk.key for hit in hits}) == len(hits) == 2 * len(stored)
    broken = [f for f in doctor.check(catalogue).findings if f.severity == "error"]
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize(("point", "countdown"), POINTS)
def test_kill_at_any_point_loses_nothing_that_was_acknowledged(data, point, countdown):
    code, acknowledged = run_victim(data, point, countdown)
    assert code == -signal.SIGKILL, "the point was never reached"
    if (data / "catalogue.db").exists():
        with Catalogue.open(data, create=False) as catalogue:
            assert_whole(catalogue, acknowledged)
    code, acknowledged = run_victim(data, "never", 0)  # the next run completes
    assert code == 0
    with Catalogue.open(data, create=False) as catalogue:
        assert_whole(catalogue, acknowledged)
        versions = {
            i.id: int(catalogue.document("c", i.id).text.split()[-1]) for i in catalogue.documents("c")
        }
        assert versions == EXPECTED
        info = catalogue.collections()[0]
        assert info.space.embedder.fingerprint == HashEmbedder(dim=24, seed=1).info.fingerprint
        assert (info.building, info.pending) == (None, 0)
        assert doctor.check(catalogue).findings == ()


def test_kill_between_two_commits_loses_nothing_that_was_acknowledged(data):
    """The quick one of the family, so that it runs on every change."""
    code, acknowledged = run_victim(data, "commit:before", 1)
    assert code == -signal.SIGKILL
    assert acknowledged == [["PutDocument", ["d0", "d1", "d2", "d3"], 0]]
    with Catalogue.open(data, create=False) as catalogue:
        assert_whole(catalogue, acknowledged)
        assert {catalogue.document("c", f"d{n}").text.split()[-1] for n in range(4)} == {"0"}


def test_embedder_of_the_same_name_with_another_fingerprint_is_another_space(catalogue):
    again = EmbedderInfo("hash", "hash-other", 16, 64)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
    with catalogue.writer("c", Space("lines", again)) as writer:
        assert [document.id for document in writer.unmoved(Space("lines", again))] == ["a"]


def test_throw_away_collection_leaves_its_vectors_to_be_found_again(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "asked again tomorrow"))
        writer.publish()
    catalogue.remove_collection("c", keep_vectors=True)
    found = catalogue.ledger("d").missing(
        [text_hash("asked again tomorrow")], fingerprint=EMBEDDER.info.fingerprint
    )
    assert found == set()
