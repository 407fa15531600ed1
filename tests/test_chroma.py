"""Chroma, embedded and on a server: what it is given, what it leaves behind, and what breaks with it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from indexes import chroma_server, doctor, vector
from indexes.catalogue import Catalogue
from indexes.chroma import DATABASE, HOME, PRIVATE, Chroma
from indexes.chroma_server import FILE, ChromaServer, Place, Server
from indexes.faiss import Flat
from indexes.settings import ChromaSettings, IndexSettings
from indexes.vector import CannotPropose, VectorIndex
from rag.errors import IndexDamaged, StorageError
from rag.protocols import Space
from rag.testing import HashEmbedder, put_texts

PLAIN = IndexSettings()
COUNT, DIM = 3_000, 24


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    random = np.random.default_rng(7)
    centres = random.standard_normal((60, DIM))
    rows = centres[random.integers(0, 60, COUNT)] + 0.4 * random.standard_normal((COUNT, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch) -> Path:
    """Where private folders go, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def built(kind, folder: Path, rows: np.ndarray, settings: IndexSettings = PLAIN) -> Path:
    folder.mkdir(parents=True)
    keys = np.arange(len(rows), dtype=np.int64) * 3
    halves = ((keys[part], rows[part]) for part in np.array_split(np.arange(len(rows)), 2))
    VectorIndex.build(folder, halves, count=len(rows), dim=DIM, coarse=kind, settings=settings)
    return folder


def opened(kind, folder: Path, settings: IndexSettings = PLAIN) -> VectorIndex:
    return VectorIndex.open(folder, coarse=kind, settings=settings)


def assert_right(index: VectorIndex, rows: np.ndarray, *, recall: float = 0.98) -> None:
    """Nearly all of the 10 nearest, with the scores of an exact scan; ``recall`` 1: all."""
    found = []
    for exact, asked in zip(index.scan(rows[::100], k=10), rows[::100], strict=True):
        keys, scores = index.search(asked, k=10)
        true = dict(zip(*(part.tolist() for part in exact), strict=True))
        found.append(np.isin(keys, exact[0]).mean())
        assert len(keys) == 10
        assert all(
            score == true.get(key, score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)
        )
    assert np.mean(found) >= recall


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- embedded --------------------------------------------------------------------------------


def test_what_was_built_is_never_written_again(tmp_path, rows):
    folder = built(Chroma, tmp_path / "index", rows)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = hashes(folder)
    assert any(name.endswith(DATABASE) for name in before)
    for _ in range(2):
        index = opened(Chroma, folder)
        assert_right(index, rows)
        index.check()
        assert hashes(folder) == before
        del index
    assert hashes(folder) == before


def test_no_row_is_left_in_a_log_that_each_opening_would_replay(tmp_path, rows):
    folder = built(Chroma, tmp_path / "index", rows[:10])
    (graph,) = (path for path in (folder / HOME).iterdir() if path.is_dir())
    assert (graph / "data_level0.bin").stat().st_size >= 10 * DIM * 4


def test_filter_that_passes_few_far_rows_finds_them_all(tmp_path, rows, monkeypatch):
    """Chroma does not know the filter: what it proposes would not pass, however often it is asked."""
    monkeypatch.setattr(vector, "FEW_EXACT", 5)
    monkeypatch.setattr(vector, "FEW_CLOSE", 5)
    index = opened(Chroma, built(Chroma, tmp_path / "index", rows))
    ranked, _ = index.scan(rows[:1], k=COUNT)[0]
    for allowed in (np.sort(ranked[-30:]), np.sort(ranked[-1_500:]), np.sort(ranked[::2])):
        keys, _ = index.search(rows[0], k=10, allowed=allowed)
        assert keys.tolist() == [key for key in ranked.tolist() if key in set(allowed.tolist())][:10]


def test_twenty_swaps_leave_no_client_thread_or_file_behind(tmp_path, rows, private):
    from chromadb.api.shared_system_client import SharedSystemClient

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    folders = [built(Chroma, tmp_path / str(number), rows[:200]) for number in range(2)]
    index = opened(Chroma, folders[0])
    most = (0, 0)
    for number in range(25):
        index = opened(Chroma, folders[number % 2])
        index.search(rows[3], k=5)
        assert len(list(private.iterdir())) == len(SharedSystemClient._identifier_to_system) == 1
        if number == 4:
            most = held()
    files, threads = held()
    assert files <= most[0] + 4, "each swap would have left four files of the graph, or more"
    assert threads <= most[1] + 4
    del index
    assert not list(private.iterdir())
    assert not SharedSystemClient._identifier_to_system


def test_opening_that_fails_leaves_nothing_behind(tmp_path, rows, private):
    folder = built(Chroma, tmp_path / "index", rows[:50])
    (folder / HOME / DATABASE).write_bytes(b"no database")
    with pytest.raises(Exception, match="not a database"):
        opened(Chroma, folder)
    assert not list(private.iterdir())


def test_private_folder_that_breaks_is_told_as_a_damaged_index(tmp_path, rows, private):
    index = opened(Chroma, built(Chroma, tmp_path / "index", rows))
    (copy,) = private.glob(f"*/{DATABASE}")
    copy.write_bytes(b"")
    with pytest.raises(IndexDamaged, match="private folder"):
        index.search(rows[0], k=3)


def test_private_folder_of_a_killed_process_goes_with_the_next_opening(tmp_path, rows, private):
    folder = built(Chroma, tmp_path / "index", rows[:50])
    code = (
        "import sys, pathlib\n"
        "from indexes.chroma import private_folder\n"
        "print(private_folder(pathlib.Path(sys.argv[1]))[0], flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder / HOME)]
    environment = {**os.environ, "TMPDIR": str(private)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        theirs = Path(process.stdout.readline().strip())
        assert theirs.name.startswith(PRIVATE)
        assert theirs.parent == private
        opened(Chroma, folder)
        assert (theirs / DATABASE).is_file()
        process.kill()
        process.wait()
        opened(Chroma, folder)
        assert not theirs.exists()


# --- on a server -----------------------------------------------------------------------------


class Running:
    """``chroma run`` on a loopback port: started, killed, frozen, started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.settings = self.of()
        self.start()

    def of(self, **more) -> IndexSettings:
        return IndexSettings(chroma=ChromaSettings(url=f"http://127.0.0.1:{self.port}", **more))

    def start(self) -> None:
        command = [Path(sys.executable).with_name("chroma"), "run", "--path", self.folder]
        self.process = subprocess.Popen(
            [*map(str, command), "--host", "127.0.0.1", "--port", str(self.port)],
            cwd=self.folder.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.settings.chroma.url}/api/v2/heartbeat", trust_env=False).is_success:
                    return
            assert self.process.poll() is None, "chroma run ended"
            time.sleep(0.05)
        raise AssertionError("chroma run does not answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def names(self, **more) -> set[str]:
        with contextlib.closing(Server(self.of(**more).chroma)) as server:
            return {each["name"] for each in server.call("GET", "")}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("server") / "data")
    yield running
    running.process.send_signal(signal.SIGCONT)
    running.kill()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def unasked(index: VectorIndex, rows: np.ndarray) -> str:
    """Why the server is not asked; "" where it answers."""
    try:
        index._coarse.propose(rows[0], n=5, mask=None)
    except CannotPropose as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_server_answers_from_a_collection_of_each_generation(tmp_path, rows, server):
    folder = built(ChromaServer, tmp_path / "default" / "000001" / "vectors", rows, server.settings)
    index = opened(ChromaServer, folder, server.settings)
    assert_right(index, rows)
    index.check()
    assert unasked(index, rows) == ""
    place = Place.read(folder)
    assert place.name in server.names()
    ChromaServer.drop(folder, settings=server.settings)
    assert place.name not in server.names()
    ChromaServer.drop(folder, settings=server.settings)  # again, after a crash between the two


@pytest.mark.slow
def test_two_data_folders_share_a_server_without_meeting(tmp_path, rows, server):
    one = built(ChromaServer, tmp_path / "a" / "default" / "000001" / "vectors", rows, server.settings)
    two = built(ChromaServer, tmp_path / "b" / "default" / "000001" / "vectors", -rows[:500], server.settings)
    ChromaServer.drop(one, settings=server.settings)
    index = opened(ChromaServer, two, server.settings)
    index.check()
    assert index.search(-rows[7], k=1)[0].tolist() == [21]
    assert unasked(index, rows) == ""


@pytest.mark.slow
def test_tenant_and_database_are_made_and_keep_collections_apart(tmp_path, rows, server):
    where = {"tenant": "team one", "database": "books"}
    folder = built(ChromaServer, tmp_path / "index", rows[:100], server.of(**where))
    opened(ChromaServer, folder, server.of(**where)).check()
    name = Place.read(folder).name
    assert server.names(**where) == {name}
    assert name not in server.names()
    with pytest.raises(IndexDamaged):
        opened(ChromaServer, folder, server.settings).check()


@pytest.mark.slow
def test_killed_server_costs_no_search_and_is_used_again(tmp_path, rows, server, monkeypatch, caplog):
    monkeypatch.setattr(chroma_server, "AGAIN_S", 0.05)
    index = opened(
        ChromaServer, built(ChromaServer, tmp_path / "index", rows, server.settings), server.settings
    )
    wrong: list[object] = []
    done = threading.Event()

    def search(row: int) -> None:
        while not done.is_set():
            try:
                keys, _ = index.search(rows[row], k=3)
                wrong.extend([keys] if keys[0] != 3 * row else [])
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=search, args=(row,)) for row in (1, 500, 2_900)]
    for thread in threads:
        thread.start()
    try:
        assert unasked(index, rows) == ""
        server.kill()
        while not unasked(index, rows):
            pass
        assert_right(index, rows, recall=1.0)
        with pytest.raises(StorageError, match="chroma run"):
            index.check()
    finally:
        server.start()
        while unasked(index, rows):
            time.sleep(0.02)
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert [record.levelname for record in caplog.records if record.name == chroma_server.__name__] == [
        "WARNING"
    ]
    assert "every chunk is looked at" in caplog.text
    index.check()


@pytest.mark.slow
def test_frozen_server_is_waited_for_once(tmp_path, rows, server):
    settings = server.of(timeout_s=0.3)
    index = opened(ChromaServer, built(ChromaServer, tmp_path / "index", rows, settings), settings)
    assert unasked(index, rows) == ""
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert index.search(rows[5], k=1)[0].tolist() == [15]
        assert "a moment ago" in unasked(index, rows)
        assert_right(index, rows, recall=1.0)
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_collection_that_others_changed_is_not_asked(tmp_path, rows, server):
    folder = built(ChromaServer, tmp_path / "index", rows, server.settings)
    place = Place.read(folder)
    with contextlib.closing(Server(server.settings.chroma)) as there:
        one = {"ids": ["0"], "embeddings": [rows[1].tolist()]}
        there.call("POST", f"/{place.id}/update", one)
        with pytest.raises(IndexDamaged, match="another row 0"):
            opened(ChromaServer, folder, server.settings).check()
        there.call("POST", f"/{place.id}/delete", {"ids": ["1"]})
        with pytest.raises(IndexDamaged, match="another collection"):
            opened(ChromaServer, folder, server.settings).check()
        there.call("DELETE", f"/{place.name}")
        there.call("POST", "", {"name": place.name})
    index = opened(ChromaServer, folder, server.settings)
    with pytest.raises(IndexDamaged, match="another collection"):
        index.check()
    assert_right(index, rows, recall=1.0)
    assert "another collection" in unasked(opened(ChromaServer, folder, server.settings), rows)


@pytest.mark.slow
def test_wiped_server_is_told_from_one_that_is_down(tmp_path, rows):
    running = Running(tmp_path / "data")
    try:
        folder = built(ChromaServer, tmp_path / "index", rows, running.settings)
        running.kill()
        with pytest.raises(StorageError) as down:
            opened(ChromaServer, folder, running.settings).check()
        assert not isinstance(down.value, IndexDamaged)
        with pytest.raises(StorageError):
            ChromaServer.drop(folder, settings=running.settings)
        running.folder.rename(tmp_path / "lost")
        running.start()
        index = opened(ChromaServer, folder, running.settings)
        with pytest.raises(IndexDamaged, match="does not exist"):
            index.check()
        assert_right(index, rows, recall=1.0)
        ChromaServer.drop(folder, settings=running.settings)
    finally:
        running.kill()


# --- the generations of a data folder on a server ----------------------------------------------

EMBEDDER = HashEmbedder(dim=512)
SPACE = Space("whole", EMBEDDER.info)


def catalogue_of(folder: Path, settings: IndexSettings) -> Catalogue:
    return Catalogue.open(folder, create=True, index=replace(settings, kind="chroma-server"))


def placed(number: int, size: int) -> np.ndarray:
    """Vectors near one of four centres: a graph cannot be walked where no row is nearer than another."""
    dim = EMBEDDER.info.dim
    centre = np.random.default_rng(number % 4).standard_normal(dim)
    rows = centre + 0.5 * np.random.default_rng(100 + number).standard_normal((size, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def put(catalogue: Catalogue, number: int, *, size: int = 12) -> None:
    """Put some documents and publish."""
    texts = {f"d{number}x{place}": f"text{number}x{place} word{number}y{place}" for place in range(size)}
    with catalogue.writer("c", SPACE) as writer:
        put_texts(writer, texts, placed(number, size))
        writer.publish()


def assert_found(catalogue: Catalogue, number: int) -> None:
    (hit,) = catalogue.collection("c").nearest(placed(number, 12)[3], k=1, where={})
    assert hit.chunk.text == f"text{number}x3 word{number}y3"


@pytest.fixture
def every_row_asked_for(monkeypatch) -> None:
    """Small collections are searched through the index, too."""
    monkeypatch.setattr(vector, "FEW_EXACT", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("every_row_asked_for")
def test_twenty_swaps_leave_two_collections_on_the_server(tmp_path, server, caplog):
    before = server.names()
    files = 0
    with catalogue_of(tmp_path / "data", server.settings) as catalogue:
        for number in range(20):
            put(catalogue, number)
            assert_found(catalogue, number)
            assert len(server.names() - before) == min(number + 1, 2)
            if number == 4:
                files = len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) <= files + 2
        assert doctor.check(catalogue).ok
        assert caplog.text == ""
        catalogue.remove_collection("c")
    assert server.names() == before


@pytest.mark.slow
@pytest.mark.usefixtures("every_row_asked_for")
def test_server_that_is_down_refuses_a_generation_and_nothing_else(tmp_path, server, monkeypatch):
    monkeypatch.setattr(chroma_server, "AGAIN_S", 0.0)
    before = server.names()
    with catalogue_of(tmp_path / "data", server.settings) as catalogue:
        for number in range(3):
            put(catalogue, number)
        server.kill()
        try:
            report = doctor.check(catalogue)
            assert {finding.mend for finding in report.findings} == {"chroma run --path FOLDER"}
            assert doctor.repair(catalogue).repairs == ()
            with pytest.raises(StorageError, match="chroma run"):
                put(catalogue, 3)
            for number in range(4):
                assert_found(catalogue, number)
            catalogue.remove_collection("c")
            assert len(doctor.check(catalogue).findings) == 1
        finally:
            server.start()
        assert len(server.names() - before) == 2
        assert doctor.repair(catalogue).ok
        assert server.names() == before


@pytest.mark.slow
@pytest.mark.usefixtures("every_row_asked_for")
def test_lost_collection_is_built_anew_by_a_repair(tmp_path, server):
    before = server.names()
    with catalogue_of(tmp_path / "data", server.settings) as catalogue:
        put(catalogue, 0)
        put(catalogue, 1)
        home = catalogue.store.indexes / catalogue.collections()[0].generation.folder
        ChromaServer.drop(home / "vectors", settings=server.settings)
        assert_found(catalogue, 0)
        (finding,) = doctor.check(catalogue).findings
        assert (finding.invariant, finding.severity) == ("generations", "warning")
        assert "does not exist" in finding.message
        report = doctor.repair(catalogue)
        assert report.ok
        assert len(report.repairs) == 2
        assert len(server.names() - before) == 2


@pytest.mark.slow
def test_collection_of_a_build_that_was_killed_goes_with_the_next(tmp_path, server):
    before = server.names()
    with catalogue_of(tmp_path / "data", server.settings) as catalogue:
        put(catalogue, 0)
        half = catalogue.store.indexes / "c" / ".building-000002"
        built(ChromaServer, half / "vectors", np.eye(DIM, dtype=np.float32), server.settings)
        assert len(server.names() - before) == 2
        put(catalogue, 1)
        assert len(server.names() - before) == 2
        assert not half.exists()
        assert catalogue.collections()[0].generation.id == 2


@pytest.mark.slow
def test_other_kind_leaves_nothing_on_the_server(tmp_path, server):
    before = server.names()
    with catalogue_of(tmp_path / "data", server.settings) as catalogue:
        put(catalogue, 0)
    with Catalogue.open(tmp_path / "data", create=False, index=server.settings) as catalogue:
        put(catalogue, 1)
        put(catalogue, 2)
    assert server.names() == before


# --- without a server ------------------------------------------------------------------------


def test_building_without_a_server_says_how_to_start_one_and_begins_nothing(tmp_path, rows):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = IndexSettings(
            chroma=ChromaSettings(url=f"http://me:pw@127.0.0.1:{taken.getsockname()[1]}")
        )
        with pytest.raises(StorageError, match="chroma run") as error:
            built(ChromaServer, tmp_path / "index", rows, settings)
    assert "pw" not in str(error.value)
    assert not (tmp_path / "index" / FILE).exists()
    with pytest.raises(StorageError, match=r"\[index.chroma\] url"):
        built(ChromaServer, tmp_path / "other", rows)


def test_generation_of_a_server_that_is_not_set_any_more_is_searched_and_dropped(tmp_path, rows):
    folder = built(Flat, tmp_path / "index", rows)
    Place("promptwell-x", "id").write(folder)
    index = opened(ChromaServer, folder)
    assert_right(index, rows, recall=1.0)
    with pytest.raises(StorageError, match="no Chroma server is set"):
        index.check()
    ChromaServer.drop(folder, settings=PLAIN)
    (folder / FILE).write_text('["no", "place"]')
    with pytest.raises(IndexDamaged):
        opened(ChromaServer, folder)
    ChromaServer.drop(folder, settings=IndexSettings(chroma=ChromaSettings(url="http://127.0.0.1:9")))


class Fake(http.server.BaseHTTPRequestHandler):
    """A server that is no Chroma: it answers all that it is asked with ``body``, and remembers who asked."""

    body = b"[]"
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[http.server.ThreadingHTTPServer]:
    Fake.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def test_token_goes_to_the_server_and_nowhere_else(fake):
    settings = ChromaSettings(url=f"http://127.0.0.1:{fake.server_port}", token="s3cret")
    assert "s3cret" not in repr(settings)
    with contextlib.closing(Server(settings)) as server:
        assert server.call("GET", "") == []
        assert "s3cret" not in str(server)
    assert {"X-Chroma-Token", "Authorization"} <= {name.title() for name in Fake.seen[0]}
    assert Fake.seen[0]["Authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"id": "id"}', b'{"ids": [["x"]]}', b'"text"', b"null", b"7"],
)
def test_whatever_a_server_says_the_answers_are_right(tmp_path, rows, fake, monkeypatch, body):
    monkeypatch.setattr(Fake, "body", body)
    folder = built(Flat, tmp_path / "index", rows)
    Place("promptwell-x", "id").write(folder)
    settings = IndexSettings(chroma=ChromaSettings(url=f"http://127.0.0.1:{fake.server_port}"))
    assert_right(opened(ChromaServer, folder, settings), rows, recall=1.0)
    assert Fake.seen
    index = opened(ChromaServer, folder, settings)
    monkeypatch.setattr(ChromaServer, "check", lambda self: None)
    for answer in ({"ids": [["-1"]]}, {"ids": [[str(COUNT)]]}, {"ids": [["0", "x"]]}, {"ids": []}):
        monkeypatch.setattr(Fake, "body", json.dumps(answer).encode())
        assert unasked(opened(ChromaServer, folder, settings), rows)
    assert_right(index, rows, recall=1.0)
