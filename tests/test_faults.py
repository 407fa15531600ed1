"""What breaks beneath a running index costs speed: never an answer, an error, memory or a file."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from indexes import doctor, generation, vector
from indexes.catalogue import Catalogue
from indexes.kinds import COARSE
from indexes.lexical import LexicalIndex
from indexes.matrix import Matrix
from indexes.moments import Moments
from indexes.settings import IndexSettings
from rag.errors import IndexDamaged, StorageError
from rag.protocols import Space
from rag.testing import HashEmbedder, put_texts
from rag.types import EmbedderInfo

ROOT = Path(__file__).resolve().parent.parent
KINDS = sorted({*COARSE} - {"chroma-server"})  # which needs a server: tests/test_chroma.py
EMBEDDER = HashEmbedder(dim=16)
OTHER = HashEmbedder(dim=24)
WORDS = ["agua", "té", "café", "leche", "sal", "pan", "red", "green", "blue", "train"]


@pytest.fixture(autouse=True)
def every_kind_is_asked(monkeypatch) -> None:
    """Few rows are read whole by every kind; here what proposes them shall be asked."""
    monkeypatch.setattr(vector, "FEW_EXACT", 5)
    monkeypatch.setattr(vector, "FEW_CLOSE", 5)


def opened(data: Path, kind: str) -> Catalogue:
    return Catalogue.open(data, create=True, index=IndexSettings(kind=kind))


def put(writer, *texts: str, first: int = 0, embedder: HashEmbedder = EMBEDDER) -> None:
    named = {f"d{first + number}": text for number, text in enumerate(texts)}
    put_texts(writer, named, embedder.embed(texts, input_type="document"))


def lines(count: int, seed: int = 0) -> list[str]:
    dice = np.random.default_rng(seed)
    return [" ".join(dice.choice(WORDS, 4)) + f" {seed}x{number}" for number in range(count)]


def answers(catalogue: Catalogue) -> list:
    """What some questions find in the collection ``c``: the same whatever state its indexes are in."""
    collection = catalogue.collection("c")
    near = [
        [(hit.chunk.text, hit.score) for hit in collection.nearest(vector, k=7, where={})]
        for vector in EMBEDDER.embed(WORDS[:4], input_type="query")
    ]
    matching = [{hit.chunk.text for hit in collection.matching(word, k=1000, where={})} for word in WORDS[:2]]
    return [near, matching]


# --- damage on the disk -------------------------------------------------------------------------


def bit_flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    changed[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncation(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def zero_page(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(0, len(content), 4096)
    page = content[start : start + 4096]
    return content[:start] + bytes(len(page)) + content[start + len(page) :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bit flip": bit_flip,
    "truncation": truncation,
    "zero page": zero_page,
}
FOREIGN = {"foreign model": "foreign", "other dimension": "wider"}
"""Damage by the file of the same name of another collection."""


def generation_folder(catalogue: Catalogue, name: str) -> Path:
    (info,) = (each for each in catalogue.collections() if each.name == name)
    return catalogue.store.indexes / info.generation.folder


def files(folder: Path) -> list[Path]:
    """What an index is made of. Lock files hold nothing."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def counterpart(path: Path, home: Path, theirs: Path) -> Path:
    """The file that is to another generation what ``path`` is to its own: names may be drawn at random."""
    inside = theirs / path.relative_to(home)
    order = files(home).index(path)
    alike = [each for each in files(theirs) if each.suffix == path.suffix]
    return inside if inside.is_file() else alike[order % len(alike)]


def three_collections(data: Path, kind: str) -> None:
    """``c``; one of the same shape by another model of the same dimension; one by a wider model."""
    foreign = Space("whole", EmbedderInfo("foreign", "foreign", dim=16, max_tokens=64))
    with opened(data, kind) as catalogue:
        for name, space, embedder in (
            ("c", Space("whole", EMBEDDER.info), EMBEDDER),
            ("foreign", foreign, EMBEDDER),
            ("wider", Space("whole", OTHER.info), OTHER),
        ):
            with catalogue.writer(name, space) as writer:
                put(writer, *lines(60, seed=len(name)), embedder=embedder)
                writer.publish()


def damaged(path: Path, home: Path, others: dict[str, Path], how: str, dice: random.Random) -> bool:
    """Damage one file of ``home``; False where that would leave it as it is."""
    before = path.read_bytes()
    if how == "missing":
        path.unlink()
        return True
    if how in FOREIGN:
        after = counterpart(path, home, others[FOREIGN[how]]).read_bytes()
    else:
        after = DAMAGES[how](before, dice) if before else b"no longer empty"
    path.write_bytes(after)
    return after != before


@pytest.mark.parametrize("times", [12, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "part"), [*((kind, "vectors") for kind in KINDS), ("sq8", "lexical")])
def test_random_damage_is_noticed_and_answered_without(tmp_path, kind, part, times):
    """So many times one file of an index, in six ways."""
    data, dice = tmp_path / "data", random.Random(kind)
    three_collections(data, kind)
    ways = [*DAMAGES, *FOREIGN, "missing"]
    with opened(data, kind) as catalogue:
        expected = answers(catalogue)
        home = generation_folder(catalogue, "c")
        others = {name: generation_folder(catalogue, name) for name in FOREIGN.values()}
    done: list[str] = []
    while len(done) < times:
        how, path = ways[len(done) % len(ways)], dice.choice(files(home / part))
        whole = path.read_bytes()
        if damaged(path, home, others, how, dice):
            done.append(how)
            with opened(data, kind) as catalogue:
                assert answers(catalogue) == expected, (how, path)
                (info,) = (each for each in catalogue.collections() if each.name == "c")
                assert isinstance(catalogue.generations.load(info.generation), IndexDamaged), (how, path)
        path.write_bytes(whole)
    with opened(data, kind) as catalogue:
        assert answers(catalogue) == expected
        assert catalogue.collection("c").generations["c"] == "c/000001", "what was put back is taken again"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_is_repaired(tmp_path, kind):
    data, dice = tmp_path / "data", random.Random(kind)
    three_collections(data, kind)
    with opened(data, kind) as catalogue:
        expected = answers(catalogue)
        home = generation_folder(catalogue, "c")
        others = {name: generation_folder(catalogue, name) for name in FOREIGN.values()}
    for how in [*DAMAGES, *FOREIGN, "missing"]:
        while not damaged(dice.choice(files(home)), home, others, how, dice):
            pass
        with opened(data, kind) as catalogue:
            found = [(each.invariant, each.severity) for each in doctor.check(catalogue).findings]
            assert found == [("generations", "warning")], how
            report = doctor.repair(catalogue)
            assert report.ok
            assert len(report.repairs) == 2, "dropped, and built anew"
            assert not home.exists()
            assert answers(catalogue) == expected
            home = generation_folder(catalogue, "c")
            assert f"c/{home.name}" == catalogue.collection("c").generations["c"]


# --- indexes that go away, or cannot be written -------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_indexes_deleted_beneath_searches_cost_no_answer_and_are_built_anew(tmp_path, kind):
    data = tmp_path / "data"
    three_collections(data, kind)
    with opened(data, kind) as catalogue:
        expected = answers(catalogue)
        with searching(lambda: assert_equal(answers(catalogue), expected)) as counted:
            counted(2)
            shutil.rmtree(data / "indexes")
            counted(2)
            with opened(data, kind) as another:
                assert answers(another) == expected  # nothing of it is in memory there
                assert doctor.repair(another).ok
            counted(2)
        assert catalogue.collection("c").generations["c"] == "c/000004"


def assert_equal(found: object, expected: object) -> None:
    assert found == expected


@contextmanager
def searching(search: Callable[[], object], *, threads: int = 8) -> Iterator[Callable[[int], None]]:
    """Threads that search again and again. What it gives waits until each has begun and ended so many more
    searches; whatever was raised in one of them is raised at the end."""
    stop = threading.Event()
    done = [0] * threads
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            while not stop.is_set():
                search()
                done[number] += 1
                stop.wait(0.005)  # or the one that changes things never gets its turn
        except BaseException as error:
            failures.append(error)

    def counted(more: int) -> None:
        wanted = [count + more + 1 for count in done]
        while not failures and any(count < want for count, want in zip(done, wanted, strict=True)):
            stop.wait(0.001)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield counted
    finally:
        stop.set()
        for thread in running:
            thread.join()
    if failures:
        raise failures[0]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write past ``size`` bytes of a file, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def full_from(monkeypatch, owner: object, name: str) -> None:
    """Let the disk be full while a function runs."""
    whole = getattr(owner, name)

    def starved(*positional, **named):
        with largest_file(0):
            return whole(*positional, **named)

    monkeypatch.setattr(owner, name, starved)


STAGES = {
    "the rows": lambda kind: (Matrix, "write"),
    "what proposes them": lambda kind: (COARSE[kind], "build"),
    "their moments": lambda kind: (Moments, "save"),
    "the words": lambda kind: (LexicalIndex, "build"),
    "the manifest": lambda kind: (generation, "write_manifest"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk_during_a_build_is_told_leaves_nothing_and_costs_no_answer(tmp_path, monkeypatch, kind):
    with (
        opened(tmp_path / "data", kind) as catalogue,
        catalogue.writer("c", Space("whole", EMBEDDER.info)) as writer,
    ):
        put(writer, *lines(300))
        writer.publish()
        put(writer, *lines(30, seed=1), first=300)
        expected = answers(catalogue)
        home = generation_folder(catalogue, "c")
        for stage, place in STAGES.items():
            if (stage, kind) == ("what proposes them", "flat"):
                continue  # it writes nothing
            with monkeypatch.context() as patch:
                full_from(patch, *place(kind))
                with pytest.raises(StorageError, match="cannot build the indexes of 'c'"):
                    writer.publish()
            assert [path.name for path in home.parent.iterdir()] == [home.name], stage
            assert answers(catalogue) == expected
        writer.publish()
        assert generation_folder(catalogue, "c").name == "000002"
        assert answers(catalogue) == expected


# --- while others search ------------------------------------------------------------------------


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def filled(catalogue: Catalogue, rows: np.ndarray, *, first: int = 0) -> None:
    """One document and chunk a row, ``d0`` and so on, and a generation of them."""
    space = Space("whole", EmbedderInfo("rows", "rows", dim=rows.shape[1], max_tokens=64))
    texts = {f"d{number}": f"text {number}" for number in range(first, first + len(rows))}
    with catalogue.writer("c", space) as writer:
        put_texts(writer, texts, rows)
        writer.publish()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_deleted_is_in_no_search_that_begins_later(tmp_path, kind):
    dice = np.random.default_rng(2)
    rows = unit(dice.standard_normal((300, 16)))
    gone: set[str] = set()
    with opened(tmp_path / "data", kind) as catalogue:
        filled(catalogue, rows)
        collection = catalogue.collection("c")

        def search() -> None:
            before = set(gone)
            hits = collection.nearest(rows[0], k=40, where={}) + collection.matching("text", k=40, where={})
            assert not before & {hit.chunk.document_id for hit in hits}
            assert hits

        nearest = [f"d{number}" for number in np.argsort(-(rows @ rows[0]))]
        with searching(search) as counted:
            for number in range(12):
                catalogue.remove_documents("c", [nearest[number]])
                gone.add(nearest[number])
                if number % 4 == 3:
                    counted(1)
        hits = collection.nearest(rows[0], k=40, where={})
        assert [hit.chunk.document_id for hit in hits] == nearest[12:52]


# Root may write anywhere, but for this.
NO_MORE_RIGHTS = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
SEARCHED = """
import json, os, sys
from pathlib import Path
import numpy as np
from indexes.catalogue import Catalogue
rows = np.load(sys.argv[2])
with Catalogue.open(Path(sys.argv[1]), create=False) as catalogue:
    collection = catalogue.collection("c")
    found = [[hit.chunk.key for hit in collection.nearest(row, k=7, where={})] for row in rows[:5]]
    words = [hit.chunk.key for hit in collection.matching("number12 text", k=7, where={})]
    print(json.dumps([collection.generations, found, words, os.access(sys.argv[1], os.W_OK)]))
"""


@pytest.mark.skipif(NO_MORE_RIGHTS and not shutil.which("setpriv"), reason="this user may write anywhere")
@pytest.mark.parametrize("kind", KINDS)
def test_new_process_that_may_only_read_finds_the_same_by_the_same_index(tmp_path, kind):
    rows = unit(np.random.default_rng(5).standard_normal((300, 16)))
    data = tmp_path / "data"
    with opened(data, kind) as catalogue:
        filled(catalogue, rows)
        collection = catalogue.collection("c")
        found = [[hit.chunk.key for hit in collection.nearest(row, k=7, where={})] for row in rows[:5]]
        words = [hit.chunk.key for hit in collection.matching("number12 text", k=7, where={})]
    np.save(tmp_path / "rows.npy", rows)
    for path in [*data.rglob("*"), data]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        command = [*NO_MORE_RIGHTS, sys.executable, "-c", SEARCHED, str(data), str(tmp_path / "rows.npy")]
        told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert told.returncode == 0, told.stderr
        generations, theirs, their_words, writable = json.loads(told.stdout)
    finally:
        for path in [data, *data.rglob("*")]:
            path.chmod(0o755)
    if writable:
        pytest.skip("this user may write anywhere")
    assert (theirs, their_words) == (found, words)
    assert generations == {"c": "c/000001"}, "by the index, not without it"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "times"), [("sq8", 20), ("rabitq", 50)])
def test_swaps_beneath_eight_searches_cost_no_error_no_memory_and_no_file(tmp_path, kind, times):
    rows = unit(np.random.default_rng(6).standard_normal((400, 16)))
    with opened(tmp_path / "data", kind) as catalogue:
        filled(catalogue, rows[:350])
        collection = catalogue.collection("c")

        def search() -> None:
            hits = collection.nearest(rows[0], k=5, where={}) + collection.matching("text", k=5, where={})
            assert hits[0].chunk.document_id == "d0"
            assert len(hits) == 10

        def held() -> tuple[int, int]:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return len(os.listdir("/proc/self/fd")), pages * resource.getpagesize() // 1024**2

        swaps: set[str] = set()
        with searching(search) as counted:
            for number in range(times):
                filled(catalogue, rows[350 + number : 351 + number], first=350 + number)
                if number % 10 == 9:
                    counted(1)
                swaps.add(collection.generations["c"])
                if number == 9:
                    files, megabytes = held()
            more_files, more_megabytes = held()
        assert len(swaps) == times, "each of them answered"
        assert more_files <= files + 4
        assert more_megabytes <= megabytes + 50
        assert doctor.check(catalogue).ok
