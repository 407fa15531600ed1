"""Generations: published whole or not at all, verified before use, a loss of speed when they are lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes import doctor, generation
from indexes.catalogue import Catalogue
from indexes.kinds import COARSE
from indexes.manifest import MANIFEST_FILE, verify
from indexes.matrix import Matrix
from indexes.settings import IndexSettings
from rag.errors import IndexDamaged, InvalidSetting, StorageError
from rag.protocols import RemoveDocument, Space
from rag.testing import HashEmbedder, put_texts

KINDS = sorted({*COARSE} - {"chroma-server"})  # which needs a server: tests/test_chroma.py

EMBEDDER = HashEmbedder(dim=16)
SPACE = Space("whole", EMBEDDER.info)
NOTHING = {"hashes": [], "vectors": np.empty((0, 16), dtype=np.float32)}
WORDS = ["agua", "té", "café", "leche", "sal", "pan", "red", "green", "blue", "train"]


@pytest.fixture(params=KINDS)
def catalogue(request, tmp_path: Path):
    with Catalogue.open(tmp_path / "data", create=True, index=IndexSettings(kind=request.param)) as opened:
        yield opened


def put(writer, *texts: str, first: int = 0) -> None:
    named = {f"d{first + number}": text for number, text in enumerate(texts)}
    put_texts(writer, named, EMBEDDER.embed(texts, input_type="document"))


def lines(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, 4)) + f" {seed}x{number}" for number in range(count)]


def answers(catalogue: Catalogue) -> list:
    """What a fixed set of questions finds: the same whatever state the indexes are in."""
    collection = catalogue.collection("c")
    near = [
        [(hit.chunk.text, hit.score) for hit in collection.nearest(vector, k=7, where={})]
        for vector in EMBEDDER.embed(WORDS, input_type="query")
    ]
    # BM25 weighs by the texts of an index, the dead ones too: which texts match does not depend on that.
    matching = [{hit.chunk.text for hit in collection.matching(word, k=1000, where={})} for word in WORDS]
    return [near, matching]


def folders(catalogue: Catalogue) -> list[str]:
    return sorted(path.name for path in (catalogue.store.indexes / "c").iterdir())


def fresh(catalogue: Catalogue) -> Catalogue:
    """As another process would open it."""
    return Catalogue.open(catalogue.store.folder, create=False, index=catalogue.generations.settings)


def published(catalogue: Catalogue, times: int = 1, size: int = 40) -> None:
    with catalogue.writer("c", SPACE) as writer:
        for number in range(times):
            put(writer, *lines(size, seed=number), first=number * size)
            writer.publish()


def test_manifest_says_what_is_in_the_folder(catalogue):
    published(catalogue)
    info = catalogue.collections()[0].generation
    folder = catalogue.store.indexes / info.folder
    about = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    assert about["kind"] == info.kind == catalogue.generations.settings.kind
    assert (about["count"], about["dim"], about["high_key"]) == (40, 16, info.high_key)
    assert about["fingerprint"] == EMBEDDER.info.fingerprint
    assert {name.split("/")[0] for name in about["files"]} == {"vectors", "lexical", "moments.npz"}
    verify(folder, sha256=info.manifest_sha256)


def test_publishing_twice_publishes_once(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        writer.publish()  # nothing was ever put
        assert not catalogue.store.indexes.exists()
        put(writer, *lines(5))
        writer.publish()
        writer.publish()
        assert folders(catalogue) == ["000001"]
        writer.commit([RemoveDocument("d0")], **NOTHING)
        writer.publish()
    assert folders(catalogue) == ["000001", "000002"]
    assert catalogue.collections()[0].generation.count == 4


def test_large_collection_is_built_anew_only_for_enough_changes(catalogue, monkeypatch):
    monkeypatch.setattr(generation, "SMALL", 50)
    published(catalogue, size=200)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *lines(6, seed=7), first=500)
        writer.commit([RemoveDocument(f"d{n}") for n in range(4)], **NOTHING)
        writer.publish()
        assert folders(catalogue) == ["000001"]  # 10 of 202: less than a twentieth
        assert catalogue.collections()[0].pending == 6
        put(writer, "one more", first=900)
        writer.publish()
    assert folders(catalogue) == ["000001", "000002"]


def test_previous_generation_is_kept_and_older_ones_are_collected(catalogue):
    published(catalogue, times=4)
    assert folders(catalogue) == ["000003", "000004"]
    expected = answers(catalogue)
    with catalogue.store.writing() as db:  # going back is one row
        db.execute("DELETE FROM generations WHERE id = 4")
    with fresh(catalogue) as again:
        assert again.collections()[0].generation.id == 3
        assert answers(again) == expected


def test_rebuild_gives_the_same_answers(catalogue):
    published(catalogue, times=2)
    expected = answers(catalogue)
    with catalogue.store.writing() as db:
        db.execute("DELETE FROM generations")
    shutil.rmtree(catalogue.store.indexes)
    with fresh(catalogue) as again:
        assert answers(again) == expected  # from the catalogue alone
        assert doctor.repair(again).ok
        assert again.collections()[0].pending == 0
        assert answers(again) == expected


def test_other_kind_is_built_when_it_is_asked_for(catalogue):
    published(catalogue)
    expected = answers(catalogue)
    other = "flat" if catalogue.generations.settings.kind == "sq8" else "sq8"
    with Catalogue.open(catalogue.store.folder, create=False, index=IndexSettings(kind=other)) as again:
        with again.writer("c", SPACE) as writer:
            writer.publish()
        assert again.collections()[0].generation.kind == other
        assert answers(again) == expected
    with pytest.raises(InvalidSetting, match="flat, sq8"):
        Catalogue.open(catalogue.store.folder, create=False, index=IndexSettings(kind="hnsw?"))


# --- damage -------------------------------------------------------------------------------------


def flip(path: Path, catalogue: Catalogue) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path, catalogue: Catalogue) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def unlink(path: Path, catalogue: Catalogue) -> None:
    path.unlink()


def empty(path: Path, catalogue: Catalogue) -> None:
    path.write_bytes(b"")


def foreign(path: Path, catalogue: Catalogue) -> None:
    """The same file of another collection, whole and of the same format."""
    with catalogue.writer("other", SPACE) as writer:
        put(writer, *lines(33, seed=77))
        writer.publish()
    home = catalogue.store.indexes
    inside = path.relative_to(home).parts[2:]
    theirs = home / catalogue.collections()[1].generation.folder
    candidates = [theirs.joinpath(*inside), *sorted(theirs.joinpath(*inside[:-1]).glob(f"*{path.suffix}"))]
    candidates += sorted(theirs.rglob(path.name))  # Chroma's folders have names of their own
    path.write_bytes(next(found for found in candidates if found.exists()).read_bytes())


def parts(folder: Path) -> dict[str, Path]:
    """One file of each sort; lock files hold nothing and are left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {f"{path.parent.name}{path.suffix}": path for path in files}


DAMAGES = [flip, truncate, unlink, empty, foreign]


def two_generations(data: Path, kind: str) -> tuple[list, list[str]]:
    with Catalogue.open(data, create=True, index=IndexSettings(kind=kind)) as catalogue:
        published(catalogue, times=2)
        return answers(catalogue), list(parts(catalogue.store.indexes / "c" / "000002"))


def assert_survives(data: Path, kind: str, name: str, damage, expected: list) -> None:
    with Catalogue.open(data, create=False, index=IndexSettings(kind=kind)) as catalogue:
        victim = parts(catalogue.store.indexes / "c" / "000002")[name]
        before = victim.read_bytes()
        damage(victim, catalogue)
        if victim.exists() and victim.read_bytes() == before:
            return  # the foreign file was the same
        assert answers(catalogue) == expected, name
        report = doctor.check(catalogue, collection="c")
        assert {finding.invariant for finding in report.findings} == {"generations"}, name
        assert not report.ok
        report = doctor.repair(catalogue)
        assert report.ok, name
        assert any("dropped generation c/000002" in done for done in report.repairs)
        assert answers(catalogue) == expected
        assert catalogue.collections()[0].generation.id > 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_index_is_noticed_answered_without_and_repaired(tmp_path, damage):
    expected, _ = two_generations(tmp_path, "sq8")
    assert_survives(tmp_path, "sq8", "vectors.faiss", damage, expected)


# Every damage of one kind, and one of every other: what notices it is the same for all, the files are not.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "damage"),
    [(kind, damage) for kind in KINDS for damage in DAMAGES if kind == "rabitq" or damage is flip],
)
def test_damage_to_any_file_is_noticed_answered_without_and_repaired(tmp_path, kind, damage):
    data, whole = tmp_path / "data", tmp_path / "whole"
    expected, names = two_generations(data, kind)
    assert {"000002.json", "vectors.npy"} <= set(names)
    assert len(names) > 5
    shutil.copytree(data, whole)
    for name in names:
        shutil.rmtree(data)
        shutil.copytree(whole, data)
        assert_survives(data, kind, name, damage, expected)


def test_both_generations_damaged_still_answer_from_the_catalogue(catalogue):
    published(catalogue, times=2)
    expected = answers(catalogue)
    for name in folders(catalogue):
        for path in (catalogue.store.indexes / "c" / name).rglob("*"):
            if path.is_file():
                path.write_bytes(b"noise")
    with fresh(catalogue) as again:
        assert answers(again) == expected
        assert len(doctor.check(again).findings) == 2
        with again.writer("c", SPACE) as writer:
            writer.publish()  # an ingest heals it too
        assert doctor.check(again).findings[0].message.startswith("generation c/000002")
        assert doctor.repair(again).ok
        assert answers(again) == expected


def test_generation_copied_from_another_collection_is_not_taken(catalogue):
    """Whole in itself, and not ours: the catalogue knows the manifest it published."""
    published(catalogue)
    expected = answers(catalogue)
    with catalogue.writer("other", SPACE) as writer:
        put(writer, *lines(40, seed=5))
        writer.publish()
    ours, theirs = (catalogue.store.indexes / info.generation.folder for info in catalogue.collections())
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    with fresh(catalogue) as again:
        assert answers(again) == expected
        (finding,) = doctor.check(again, collection="c").findings
        assert "not the manifest that was published" in finding.message


def test_builder_that_loses_rows_publishes_nothing(catalogue, monkeypatch):
    """What does not find its own rows is never put in place of what does."""
    published(catalogue)
    expected = answers(catalogue)
    write = Matrix.write

    def forgetful(folder, batches, *, count, dim):
        write(folder, ((keys, vectors[::-1]) for keys, vectors in batches), count=count, dim=dim)

    monkeypatch.setattr(Matrix, "write", forgetful)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, "something new", first=70)
        with pytest.raises(IndexDamaged, match="does not find chunk"):
            writer.publish()
        writer.commit([RemoveDocument("d70")], **NOTHING)
    assert catalogue.collections()[0].generation.id == 1
    assert answers(catalogue) == expected
    monkeypatch.undo()
    assert doctor.repair(catalogue).ok


def test_loaded_generation_is_replaced_in_memory_when_a_new_one_is_published(catalogue):
    published(catalogue)
    answers(catalogue)
    with fresh(catalogue) as reader:
        before = answers(reader)
        with catalogue.writer("c", SPACE) as writer:
            writer.commit([RemoveDocument("d0")], **NOTHING)
            put(writer, "agua té", first=0)
            for number in range(4):
                put(writer, f"filler {number}", first=200 + number)
                writer.publish()
        assert answers(reader) == answers(catalogue) != before
        with reader.store.reading() as db:
            space = db.execute("SELECT space_id FROM collections").fetchone()[0]
            assert reader.generations.newest(db, space).info.id == 5


def test_publishing_nothing_new_commits_nothing(catalogue):
    published(catalogue)
    with catalogue.store.reading() as db:
        before = db.execute("SELECT value FROM meta WHERE name = 'commits'").fetchone()
    with catalogue.writer("c", SPACE) as writer:
        writer.publish()
    with catalogue.store.reading() as db:
        assert db.execute("SELECT value FROM meta WHERE name = 'commits'").fetchone() == before


def test_build_that_the_system_refuses_is_told_and_leaves_nothing(catalogue, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generation.LexicalIndex, "build", full)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *lines(5))
        with pytest.raises(StorageError, match="No space left"):
            writer.publish()
    assert folders(catalogue) == []
    assert len(answers(catalogue)[0][0]) == 5
