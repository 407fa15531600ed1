"""A kill at any moment of an ingest: nothing acknowledged is lost, the next run completes."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexes import doctor
from indexes.catalogue import Catalogue
from rag.errors import LockHeld
from rag.testing import HashEmbedder

ROOT = Path(__file__).resolve().parent.parent

INGEST = """
import json, os, signal, sys, time
from pathlib import Path
from indexes.catalogue import Catalogue
from ingest import job
from ingest.chunk import Chunker
from ingest.parse import ParseOptions
from ingest.parse.worker import ParserProcess
from ingest.read import ParsedSource
from ingest.sources import SourceSettings, open_source
from rag.protocols import Space
from rag.testing import HashEmbedder

data, folder, point, slow, wait = sys.argv[1:]
job.POOL_TEXTS = 16  # many commits, so that a kill meets them

def on_point(name):
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)

class Slow(HashEmbedder):
    def embed(self, texts, *, input_type):
        time.sleep(float(slow))
        return super().embed(texts, input_type=input_type)

embedder = Slow(dim=256, max_tokens=64)
chunker = Chunker(embedder.tokenizer, max_tokens=64)
space = Space(chunker.fingerprint, embedder.info)
with Catalogue.open(Path(data), create=True, on_point=on_point) as catalogue, ParserProcess() as parser:
    source = ParsedSource(open_source(folder, settings=SourceSettings()), parser, ParseOptions())
    with catalogue.writer("kb", space, wait=float(wait)) as writer:
        commit = writer.commit
        def acknowledging(changes, **vectors):
            commit(changes, **vectors)
            done = [change.document.id for change in changes if hasattr(change, "document")]
            print(json.dumps(done), flush=True)
        writer.commit = acknowledging
        print("started", flush=True)
        report = job.run([source], writer, space=space, chunker=chunker, embedder=embedder)
    sys.exit(0 if report.ok else 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dice = random.Random(3)
    words = ["río", "sierra", "puente", "piedra", "siglo", "city", "council", "bridge", "stone", "water"]
    home = tmp_path / "docs"
    home.mkdir()
    for number in range(60):
        paragraphs = [
            f"{number}-{n} " + " ".join(dice.choices(words, k=30)) for n in range(dice.randint(1, 6))
        ]
        (home / f"doc{number:02}.md").write_text(f"# Document {number}\n\n" + "\n\n".join(paragraphs))
    return home


def start(tmp_path: Path, folder: Path, *, point: str = "", slow: float = 0.0, wait: float = 0.0):
    arguments = [str(tmp_path / "data"), str(folder), point, str(slow), str(wait)]
    return subprocess.Popen(
        [sys.executable, "-c", INGEST, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def acknowledged(output: str) -> set[str]:
    lines = [line for line in output.splitlines() if line.startswith("[") and line.endswith("]")]
    return {uri for line in lines for uri in json.loads(line)}


def stored(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """Document id to the texts of its chunks; checks every invariant on the way."""
    data = tmp_path / "data"
    if not (data / "catalogue.db").exists():
        return {}
    with Catalogue.open(data, create=False) as catalogue:
        report = doctor.check(catalogue)
        errors = [finding for finding in report.findings if finding.severity == "error"]
        assert not errors, errors
        if not catalogue.collections():
            return {}
        found = catalogue.documents("kb")
        return {d.id: tuple(c.text for c in catalogue.chunks("kb", d.id)) for d in found}


def finish(tmp_path: Path, folder: Path) -> None:
    run = start(tmp_path, folder)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    whole = stored(tmp_path)
    assert len(whole) == 60
    assert all(whole.values())
    with Catalogue.open(tmp_path / "data", create=False) as catalogue:
        assert doctor.check(catalogue).ok


@pytest.mark.slow
def test_random_kills_lose_nothing_acknowledged_and_the_next_run_completes(tmp_path: Path, folder: Path):
    dice = random.Random(11)
    before: dict[str, tuple[str, ...]] = {}
    kills = 0
    for _ in range(8):
        run = start(tmp_path, folder, slow=0.03)
        assert run.stdout is not None
        line = run.stdout.readline()
        assert line == "started\n", run.communicate()[1]
        time.sleep(dice.uniform(0.0, 0.5))
        run.send_signal(signal.SIGKILL)
        output, _ = run.communicate(timeout=60)
        kills += run.returncode == -signal.SIGKILL
        after = stored(tmp_path)
        assert acknowledged(output) <= after.keys()
        assert before.items() <= after.items()
        before = after
    assert kills >= 2, "the ingest was over before most kills: make it slower"
    finish(tmp_path, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    ["commit:begun", "commit:before", "commit:after", "publish:built", "publish:renamed", "publish:recorded"],
)
def test_kill_at_a_named_point_loses_nothing_acknowledged(tmp_path: Path, folder: Path, point: str):
    run = start(tmp_path, folder, point=point)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == -signal.SIGKILL, errors
    assert acknowledged(output) <= stored(tmp_path).keys()
    finish(tmp_path, folder)


@pytest.mark.slow
def test_second_ingest_names_the_holder_or_waits_and_searching_goes_on(tmp_path: Path, folder: Path):
    first = start(tmp_path, folder, slow=0.1)
    assert first.stdout is not None
    assert first.stdout.readline() == "started\n"
    impatient = start(tmp_path, folder)
    _, errors = impatient.communicate(timeout=60)
    assert impatient.returncode != 0
    assert LockHeld.__name__ in errors
    assert str(first.pid) in errors
    patient = start(tmp_path, folder, wait=100.0)
    embedder = HashEmbedder(dim=256, max_tokens=64)
    vector = embedder.embed(["puente de piedra"], input_type="query")[0]
    counts = []
    with Catalogue.open(tmp_path / "data", create=False) as catalogue:
        while first.poll() is None:
            infos = catalogue.collections()
            if infos and infos[0].chunks >= 5:
                hits = catalogue.collection("kb").nearest(vector, k=5, where={})
                assert len(hits) == 5
                counts.append(infos[0].documents)
            time.sleep(0.01)
    assert len(set(counts)) > 2, "a search sees new documents as they are committed"
    assert counts == sorted(counts)
    assert first.wait() == 0
    output, errors = patient.communicate(timeout=100)
    assert patient.returncode == 0, errors
    assert acknowledged(output) == set(), "the second ingest finds everything done"
    assert len(stored(tmp_path)) == 60
