"""Every invariant is checked: break each one, and the doctor names it and says what mends it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes import doctor, vector
from indexes.catalogue import Catalogue
from indexes.delta import Delta
from indexes.faiss import Hnsw
from indexes.settings import IndexSettings
from rag.errors import CatalogueDamaged, LockHeld, UnknownCollection
from rag.protocols import PutDocument, RemoveDocument, Space
from rag.testing import HashEmbedder, put_texts
from rag.types import Chunk, Document, text_hash

EMBEDDER = HashEmbedder(dim=16)
SPACE = Space("lines", EMBEDDER.info)
NOTHING = {"hashes": [], "vectors": np.empty((0, 16), dtype=np.float32)}
NO_KEYS = np.empty(0, dtype=np.int64)
TEXTS = {"a": "red apple\ngreen pear", "b": "blue train", "c": "one\ntwo\nthree"}


def put(writer, documents: dict[str, str]) -> None:
    changes, texts = [], []
    for id, text in documents.items():
        chunks, start = [], 0
        for line in text.split("\n"):
            chunks.append(Chunk(id, line, start, start + len(line), breadcrumb=id))
            start += len(line) + 1
        texts += [chunk.embedded_text for chunk in chunks]
        changes.append(PutDocument(f"file:{id}", Document(id, text), chunks))
    vectors = EMBEDDER.embed(texts, input_type="document")
    writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue.open(tmp_path / "data", create=True) as opened:
        with opened.writer("main", SPACE) as writer:
            put(writer, TEXTS)
            writer.publish()
        yield opened


def damage(catalogue: Catalogue, *statements: str) -> None:
    """Change rows beneath the catalogue, as a broken disk or a hasty hand would."""
    db = sqlite3.connect(catalogue.store.database)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def test_sound_catalogue_is_found_sound_and_told_how_much_was_looked_at(catalogue):
    report = doctor.check(catalogue)
    assert report.ok
    assert report.findings == ()
    assert report.checked == {
        "catalogue": 1,
        "documents": 3,
        "counts": 1,
        "duplicates": 1,
        "vectors": 6,
        "generations": 1,
        "agreement": 1,
        "strays": 1,
        "found": 6,
    }


def test_empty_data_folder_is_sound(tmp_path):
    with Catalogue.open(tmp_path, create=True) as catalogue:
        assert doctor.check(catalogue).ok
        assert doctor.repair(catalogue).ok
        with pytest.raises(UnknownCollection):
            doctor.check(catalogue, collection="none")


NEGATED = "x'" + np.full(16, 0.5, dtype=np.float32).tobytes().hex() + "'"
NOT_A_NUMBER = "x'" + np.full(16, np.nan, dtype=np.float32).tobytes().hex() + "'"
OTHER_HASH = "x'" + text_hash("another").hex() + "'"
BROKEN = {
    "half a version": ("documents", "DELETE FROM chunks WHERE text = 'two'"),
    "no cut": ("documents", "DELETE FROM cuts WHERE document_key = 2"),
    "wrong count": ("counts", "UPDATE spaces SET chunks = chunks - 1"),
    "wrong order": ("documents", "UPDATE chunks SET ordinal = 7 WHERE text = 'two'"),
    "edited text": ("documents", "UPDATE documents SET text = 'blue brain' WHERE id = 'b'"),
    "edited chunk": ("documents", "UPDATE chunks SET text = 'blue brain' WHERE text = 'blue train'"),
    "moved span": ("documents", "UPDATE chunks SET start = start + 1 WHERE text = 'blue train'"),
    "doubled span": (
        "duplicates",
        'INSERT INTO chunks SELECT NULL, document_key, space_id, 1, start, "end", vector_id, page, heading, '
        "breadcrumb, text FROM chunks WHERE text = 'blue train'",
    ),
    "longer vector": ("vectors", f"UPDATE vectors SET vector = {NEGATED} WHERE id = 1"),
    "no number": ("vectors", f"UPDATE vectors SET vector = {NOT_A_NUMBER} WHERE id = 1"),
    "short vector": ("vectors", "UPDATE vectors SET vector = x'00000000' WHERE id = 1"),
    "vector of another text": ("vectors", f"UPDATE vectors SET text_hash = {OTHER_HASH} WHERE id = 1"),
    "missing vector": ("catalogue", "DELETE FROM vectors WHERE id = 1"),
    "missing document": ("catalogue", "DELETE FROM documents WHERE id = 'b'"),
    "missing generation": ("generations", "UPDATE generations SET folder = 'main/000009'"),
    "lacking chunk": ("agreement", "UPDATE chunks SET key = 0 WHERE text = 'two'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_invariant_is_named_with_what_mends_it(catalogue, case):
    invariant, statement = BROKEN[case]
    damage(catalogue, statement)
    report = doctor.check(catalogue)
    assert not report.ok
    assert invariant in {finding.invariant for finding in report.findings}
    assert all(finding.mend for finding in report.findings)
    rebuilt = [f for f in report.findings if f.invariant in {"generations", "agreement"}]
    assert all(finding.severity == "warning" for finding in rebuilt)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM token_codes WHERE vector_id = 2", "has no token codes"),
        ("UPDATE token_codes SET codes = x'0102030405' WHERE vector_id = 2", "has token codes of 5 bytes"),
    ],
)
def test_token_codes_that_are_gone_or_torn_are_named(tmp_path, statement, told):
    coding = HashEmbedder(dim=16, tokens=True)
    texts = {"a": "red train", "b": "blue train"}
    with Catalogue.open(tmp_path / "coded", create=True) as opened:
        vectors, codes = coding.embed_coded(list(texts.values()))
        with opened.writer("main", Space("whole", coding.info)) as writer:
            put_texts(writer, texts, vectors, tokens=codes)
        assert doctor.check(opened).ok
        damage(opened, statement)
        [finding] = doctor.check(opened).findings
        assert (finding.invariant, finding.severity) == ("vectors", "error")
        assert told in finding.message


def test_wrong_count_is_counted_anew_by_a_repair(catalogue):
    damage(catalogue, "UPDATE spaces SET chunks = chunks + 3")
    report = doctor.repair(catalogue)
    assert report.repairs[0] == "counted the chunks of 1 collection(s) anew"
    assert report.ok
    assert catalogue.collections()[0].chunks == 6


def test_vector_of_another_embedder_is_an_error(catalogue):
    damage(
        catalogue,
        "INSERT INTO embedders VALUES(9, 'foreign', 'foreign', 16, 64, 0)",
        "UPDATE vectors SET embedder_id = 9 WHERE id = 3",
    )
    (finding,) = doctor.check(catalogue).findings
    assert (finding.invariant, finding.severity) == ("vectors", "error")
    assert "another embedder" in finding.message


def test_vector_that_is_not_found_by_its_own_index_is_an_error(catalogue, monkeypatch):
    index = type(catalogue.generations.load(catalogue.collections()[0].generation).vectors)
    search = index.search
    monkeypatch.setattr(index, "search", lambda self, vector, **options: search(self, -vector, **options))
    report = doctor.check(catalogue)
    assert {finding.invariant for finding in report.findings} == {"found"}
    assert report.findings[0].severity == "error"


@pytest.fixture
def close(tmp_path, monkeypatch) -> Iterator[Catalogue]:
    """300 rows in an index that may miss some of them, and does not."""
    monkeypatch.setattr(vector, "FEW_EXACT", 5)
    rows = np.random.default_rng(3).standard_normal((300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with Catalogue.open(tmp_path / "close", create=True, index=IndexSettings(kind="hnsw")) as opened:
        with opened.writer("main", SPACE) as writer:
            put_texts(writer, {f"d{number}": f"text {number}" for number in range(300)}, rows)
            writer.publish()
        yield opened


def forget(monkeypatch, every: int) -> None:
    """From now on the graph leads to all rows but one in so many."""
    propose = Hnsw.propose

    def forgetful(self, vector, *, n, mask):
        places, bound = propose(self, vector, n=n, mask=mask)
        return places[places % every != 1], bound

    monkeypatch.setattr(Hnsw, "propose", forgetful)


def test_few_misses_of_a_close_index_are_its_nature(close, monkeypatch):
    assert doctor.check(close).findings == ()
    assert doctor.check(close).checked["recall"] == 1
    forget(monkeypatch, every=300)
    report = doctor.check(close)
    assert report.findings == ()
    assert report.checked["found"] == 300


def test_close_index_that_finds_less_than_when_it_was_built_is_told_and_built_anew(close, monkeypatch):
    forget(monkeypatch, every=20)
    recall, found = doctor.check(close).findings
    assert (recall.invariant, recall.severity) == ("recall", "warning")
    assert re.search(
        r"it finds 9\d\.\d% of its rows' neighbours, and found 100.0% when it was built", recall.message
    )
    assert (found.invariant, found.severity) == ("found", "warning")
    assert found.message.startswith("15 of 300 chunks are not found by their own vectors; up to 2 are usual")
    report = doctor.repair(close)
    assert report.ok, "what is built now is measured as it is now, and may miss as many"
    assert close.collections()[0].generation.id == 2
    assert 0.9 < close.collections()[0].generation.recall < 1
    forget(monkeypatch, every=3)
    assert [finding.invariant for finding in doctor.check(close).findings] == ["recall", "found"]


def test_close_index_that_finds_next_to_nothing_any_more_is_told(close, monkeypatch):
    monkeypatch.setattr(Hnsw, "propose", lambda self, vector, *, n, mask: (np.arange(n), None))
    (finding, *_) = doctor.check(close).findings
    assert finding.invariant == "recall"
    assert "raise [index] effort" in finding.message


def test_chunk_newer_than_a_close_index_is_found_or_an_error(close, monkeypatch):
    with close.writer("main", SPACE) as writer:
        put(writer, {"new": "one more"})
    assert doctor.check(close).findings == ()
    monkeypatch.setattr(Delta, "vectors", lambda self, db, *, commit: (NO_KEYS, NOTHING["vectors"]))
    (finding,) = doctor.check(close).findings
    assert (finding.invariant, finding.severity) == ("found", "error")
    assert finding.mend == "rag index build --collection main"


def test_many_alike_are_told_as_a_number(tmp_path):
    with Catalogue.open(tmp_path, create=True) as catalogue:
        with catalogue.writer("main", SPACE) as writer:
            put(writer, {f"d{n}": f"text {n}" for n in range(50)})
        damage(catalogue, "DELETE FROM cuts")
        findings = [f for f in doctor.check(catalogue).findings if f.invariant == "documents"]
    assert len(findings) == doctor.SHOWN + 1
    assert findings[-1].message == f"and {50 - doctor.SHOWN} more like these"


def test_sample_is_spread_over_all_chunks(catalogue):
    assert doctor.check(catalogue, sample=3).checked["found"] == 3
    assert doctor.check(catalogue, sample=4).checked["found"] == 3
    assert doctor.check(catalogue, sample=1).checked["found"] == 1


def test_strays_are_found_and_removed_and_nothing_else(catalogue):
    home = catalogue.store.indexes
    (home / "main" / ".building-000002").mkdir()
    (home / "main" / ".building-000002" / "vectors").write_text("half")
    shutil.copytree(home / "main" / "000001", home / "main" / "000009")
    (home / "gone").mkdir()
    (home / "note.txt").write_text("?")
    (catalogue.store.folder / "writer.lock").write_text("999999999 long ago\n")
    report = doctor.check(catalogue)
    assert {finding.invariant for finding in report.findings} == {"strays"}
    assert len(report.findings) == 4
    assert not report.ok
    repaired = doctor.repair(catalogue)
    assert repaired.ok
    assert len(repaired.repairs) == 4
    assert sorted(path.name for path in home.rglob("*") if path.parent in (home, home / "main")) == [
        "000001",
        "main",
    ]


def test_strays_of_a_living_writer_are_only_information(catalogue):
    (catalogue.store.indexes / "main" / ".building-000002").mkdir()
    with catalogue.writer("main", SPACE):
        report = doctor.check(catalogue)
        assert report.ok
        assert [finding.severity for finding in report.findings] == ["info"]
        with pytest.raises(LockHeld):
            doctor.repair(catalogue)


def test_repair_leaves_the_data_alone(catalogue):
    damage(catalogue, "UPDATE chunks SET text = 'blue brain' WHERE text = 'blue train'")
    before = sqlite3.connect(catalogue.store.database).execute("SELECT * FROM documents").fetchall()
    report = doctor.repair(catalogue)
    assert [finding.invariant for finding in report.findings][:1] == ["documents"]
    assert "rag documents remove b --collection main" in report.findings[0].mend
    after = sqlite3.connect(catalogue.store.database).execute("SELECT * FROM documents").fetchall()
    assert before == after
    catalogue.remove_documents("main", ["b"])
    with catalogue.writer("main", SPACE) as writer:
        put(writer, {"b": TEXTS["b"]})
    assert doctor.check(catalogue).ok


def test_damaged_file_is_reported_and_not_repaired_over(tmp_path):
    with Catalogue.open(tmp_path, create=True) as catalogue, catalogue.writer("main", SPACE) as writer:
        put(writer, {f"d{n}": f"text {n} " * 40 for n in range(200)})
    path = tmp_path / "catalogue.db"
    content = bytearray(path.read_bytes())
    for start in range(8192 * 10, len(content) - 8192, 8192 * 4):
        content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    with Catalogue.open(tmp_path, create=False) as catalogue:
        report = doctor.check(catalogue)
        assert {finding.invariant for finding in report.findings} == {"catalogue"}
        assert "restore catalogue.db" in report.findings[0].mend
        with pytest.raises(CatalogueDamaged):
            doctor.repair(catalogue)


def test_document_without_chunks_is_a_warning_as_it_is_never_found(catalogue):
    with catalogue.writer("main", SPACE) as writer:
        writer.commit([PutDocument("f", Document("mute", "some text"), [])], **NOTHING)
        writer.commit([PutDocument("g", Document("blank", " \n "), [])], **NOTHING)
        (finding,) = doctor.check(catalogue).findings
        assert (finding.invariant, finding.severity) == ("documents", "warning")
        assert "'mute'" in finding.message
        writer.commit([RemoveDocument("mute")], **NOTHING)
    assert doctor.check(catalogue).findings == ()
