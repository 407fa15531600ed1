"""The job keeps a collection in step with its sources, and a plan promises what an ingest does."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from indexes.catalogue import Catalogue
from indexes.settings import ChromaSettings, IndexSettings
from ingest import job
from ingest.decide import Entry, Failure, Source, texts_source
from rag.errors import EmbedderMismatch, SourceError
from rag.protocols import Item, Space
from rag.testing import HashEmbedder
from rag.types import Chunk, Document


class Paragraphs:
    """One chunk a paragraph; ``width`` joins that many, to make another chunker of it."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self.fingerprint = f"paragraphs-{width}"

    def cut(self, document: Document) -> Iterator[Chunk]:
        start = 0
        parts = document.text.split("\n\n")
        for at in range(0, len(parts), self.width):
            text = "\n\n".join(parts[at : at + self.width])
            yield Chunk(document.id, text, start, start + len(text), title=document.title)
            start += len(text) + 2


@dataclass
class Folder:
    """Texts by name, as a folder of files would give them. "BAD" cannot be parsed after its first line."""

    files: dict[str, str]
    prefix: str = "mem://docs/"
    whole: bool = True
    parser: str = "p1"
    parsed: list[str] = field(default_factory=list)
    unlistable: tuple[str, ...] = ()

    def count(self) -> int:
        return len(self.files)

    def entries(self) -> Iterator[Entry | Failure]:
        for uri in self.unlistable:
            yield Failure(uri, "unreadable", "permission denied")
        for name, text in sorted(self.files.items()):
            uri = self.prefix + name
            item = Item(uri, sha256(text.encode()).hexdigest(), self.parser)
            yield Entry(item, lambda uri=uri, text=text: self._parse(uri, text))

    def _parse(self, uri: str, text: str) -> Iterator[Document]:
        self.parsed.append(uri)
        if text.startswith("RECORDS"):
            for number, line in enumerate(text.splitlines()[1:]):
                if line == "BAD":
                    raise SourceError("damaged", f"line {number} cannot be read")
                yield Document(f"{uri}#{number}", line, title="record")
            return
        if "BAD" in text:
            raise SourceError("damaged", "cannot be read")
        yield Document(uri, text, title=uri)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "data", create=True) as opened:
        yield opened


@dataclass
class Desk:
    """An ingest with everything it needs."""

    catalogue: Catalogue
    embedder: HashEmbedder = field(default_factory=lambda: HashEmbedder(dim=1024))
    chunker: Paragraphs = field(default_factory=Paragraphs)

    @property
    def space(self) -> Space:
        return Space(self.chunker.fingerprint, self.embedder.info)

    def ingest(self, *sources: Source, name: str = "kb", **options: object) -> job.IngestReport:
        with self.catalogue.writer(name, self.space) as writer:
            return job.run(
                sources, writer, space=self.space, chunker=self.chunker, embedder=self.embedder, **options
            )

    def plan(self, *sources: Source, name: str = "kb") -> job.Plan:
        ledger = self.catalogue.ledger(name)
        return job.plan(sources, ledger, space=self.space, chunker=self.chunker)

    def find(self, text: str, *, k: int = 3, name: str = "kb") -> list[str]:
        vector = self.embedder.embed([text], input_type="query")[0]
        collection = self.catalogue.collection(name, embedder=self.embedder.info)
        return [hit.chunk.text for hit in collection.nearest(vector, k=k, where={})]

    def texts(self, name: str = "kb") -> dict[str, str]:
        found = self.catalogue.documents(name)
        return {info.id: self.catalogue.document(name, info.id).text for info in found}


@pytest.fixture
def desk(catalogue: Catalogue) -> Desk:
    return Desk(catalogue)


def test_unchanged_reingest_parses_cuts_embeds_and_commits_nothing(desk: Desk):
    folder = Folder({"a.md": "one\n\ntwo", "b.md": "three"})
    first = desk.ingest(folder).counts
    assert (first.documents_added, first.chunks, first.texts_embedded) == (2, 3, 3)
    keys = [c.key for c in desk.catalogue.chunks("kb", "mem://docs/a.md")]
    folder.parsed.clear()
    desk.embedder.embedded.clear()
    again = desk.ingest(folder).counts
    assert again == job.Counts(documents_unchanged=2)
    assert folder.parsed == []
    assert desk.embedder.embedded == []
    assert [c.key for c in desk.catalogue.chunks("kb", "mem://docs/a.md")] == keys


def test_one_changed_paragraph_embeds_one_text(desk: Desk):
    folder = Folder({"a.md": "one\n\ntwo\n\nthree", "b.md": "four"})
    desk.ingest(folder)
    desk.embedder.embedded.clear()
    folder.files["a.md"] = "one\n\nTWO\n\nthree"
    counts = desk.ingest(folder).counts
    assert desk.embedder.embedded == ["TWO"]
    assert (counts.documents_updated, counts.documents_unchanged) == (1, 1)
    assert (counts.chunks, counts.texts_embedded, counts.texts_reused) == (3, 1, 2)
    assert "two" not in desk.find("two", k=10)


def test_same_text_is_embedded_once_in_a_run_and_across_collections(desk: Desk):
    desk.ingest(Folder({"a.md": "same\n\nsame", "b.md": "same"}))
    desk.ingest(Folder({"c.md": "same"}), name="other")
    assert desk.embedder.embedded == ["same"]
    assert desk.find("same", name="other") == ["same"]


def test_files_that_are_gone_from_a_folder_are_removed(desk: Desk):
    folder = Folder({"a.md": "one", "b.md": "two"})
    desk.ingest(folder)
    del folder.files["b.md"]
    assert desk.ingest(folder).counts.documents_removed == 1
    assert desk.texts() == {"mem://docs/a.md": "one"}
    assert desk.find("two") == ["one"]


def test_empty_folder_that_had_files_removes_nothing_and_says_so(desk: Desk):
    folder = Folder({"a.md": "one"})
    desk.ingest(folder)
    report = desk.ingest(Folder({}))
    assert [failure.code for failure in report.counts.failures] == ["vanished"]
    assert "rag documents remove --under" in report.counts.failures[0].detail
    assert list(desk.texts()) == ["mem://docs/a.md"]


def test_what_lies_below_a_folder_that_cannot_be_listed_is_kept(desk: Desk):
    desk.ingest(Folder({"a.md": "one", "sub/b.md": "two"}))
    report = desk.ingest(Folder({"a.md": "one"}, unlistable=("mem://docs/sub",)))
    assert report.counts.documents_removed == 0
    assert len(desk.texts()) == 2


def test_source_that_is_not_whole_removes_nothing(desk: Desk):
    desk.ingest(Folder({"a.md": "one", "b.md": "two"}, whole=False))
    desk.ingest(Folder({"a.md": "one"}, whole=False))
    assert len(desk.texts()) == 2


def test_item_that_two_sources_name_is_taken_in_once(desk: Desk):
    folder = Folder({"a.md": "one"})
    counts = desk.ingest(folder, Folder({"a.md": "one"}, whole=False)).counts
    assert (counts.documents_added, counts.chunks) == (1, 1)


def test_document_that_no_longer_parses_keeps_its_last_good_version(desk: Desk):
    folder = Folder({"a.md": "one", "b.md": "two"})
    desk.ingest(folder)
    folder.files["a.md"] = "BAD"
    report = desk.ingest(folder)
    assert not report.ok
    assert [(f.uri, f.code) for f in report.counts.failures] == [("mem://docs/a.md", "damaged")]
    assert desk.texts()["mem://docs/a.md"] == "one"
    folder.files["a.md"] = "one"
    mended = desk.ingest(folder)
    assert mended.ok
    assert mended.counts.documents_unchanged == 2


def test_known_bad_bytes_are_reported_again_without_being_parsed_again(desk: Desk):
    folder = Folder({"a.md": "BAD"})
    first = desk.ingest(folder)
    folder.parsed.clear()
    again = desk.ingest(folder)
    assert again.counts.failures == first.counts.failures
    assert folder.parsed == []


def test_records_before_a_bad_one_are_kept_and_nothing_known_is_removed(desk: Desk):
    folder = Folder({"r": "RECORDS\nred\ngreen\nblue"})
    desk.ingest(folder)
    folder.files["r"] = "RECORDS\nred\nBAD\nblue"
    counts = desk.ingest(folder).counts
    assert (counts.documents_failed, counts.documents_removed) == (1, 0)
    assert sorted(desk.texts().values()) == ["blue", "green", "red"]


def test_record_that_is_gone_is_removed_and_the_others_are_left_alone(desk: Desk):
    folder = Folder({"r": "RECORDS\nred\ngreen"})
    desk.ingest(folder)
    folder.files["r"] = "RECORDS\nred"
    counts = desk.ingest(folder).counts
    assert (counts.documents_removed, counts.documents_unchanged, counts.texts_embedded) == (1, 1, 0)


def test_changed_parser_reads_again_and_leaves_equal_documents_alone(desk: Desk):
    folder = Folder({"a.md": "one"})
    desk.ingest(folder)
    desk.embedder.embedded.clear()
    folder.parser = "p2"
    planned = desk.plan(folder).counts
    counts = desk.ingest(folder).counts
    assert planned == counts
    assert (counts.items_reparsed, counts.documents_unchanged) == (1, 1)
    assert desk.embedder.embedded == []
    assert desk.ingest(folder).counts.items_reparsed == 0


def test_changed_chunker_cuts_every_document_anew_and_embeds_only_new_texts(desk: Desk):
    folder = Folder({"a.md": "one\n\ntwo\n\nthree", "b.md": "alone"})
    desk.ingest(folder)
    desk.embedder.embedded.clear()
    desk.chunker = Paragraphs(2)
    planned = desk.plan(folder)
    assert planned.moves
    assert desk.embedder.embedded == []
    report = desk.ingest(folder)
    assert report.counts.documents_rechunked == 2
    assert sorted(desk.embedder.embedded) == ["one\n\ntwo"]
    assert counts_that_a_plan_knows(planned.counts) == counts_that_a_plan_knows(report.counts)
    assert desk.find("one two", k=1) == ["one\n\ntwo"]


def test_changed_embedder_answers_from_the_old_vectors_until_the_new_ones_are_complete(desk: Desk):
    folder = Folder({f"{n}.md": f"text number {n}" for n in range(20)})
    desk.ingest(folder)
    old = desk.embedder
    desk.embedder = HashEmbedder(dim=1024, seed=1)
    planned = desk.plan(folder)
    assert (planned.moves, planned.counts.texts_embedded) == (True, 20)
    answers = []

    def look(_: job.Progress) -> None:
        vector = old.embed(["text number 7"], input_type="query")[0]
        hits = desk.catalogue.collection("kb", embedder=old.info).nearest(vector, k=1, where={})
        answers.append(hits[0].chunk.text)

    with pytest.raises(EmbedderMismatch):  # once it has moved, the old model's questions are refused
        desk.ingest(folder, on_progress=look)
    assert set(answers) == {"text number 7"}
    assert desk.find("text number 3", k=1) == ["text number 3"]
    desk.embedder.embedded.clear()
    assert desk.ingest(folder).counts.documents_unchanged == 20
    assert desk.embedder.embedded == []


def test_interrupted_move_goes_on_where_it_stopped(desk: Desk):
    folder = Folder({f"{n}.md": f"text number {n}" for n in range(600)})
    desk.ingest(folder)
    desk.embedder = HashEmbedder(dim=1024, seed=1)
    committed = 0

    def stop(progress: job.Progress) -> None:
        nonlocal committed
        committed = progress.texts_embedded
        if progress.texts_embedded >= 550:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.ingest(folder, on_progress=stop)
    assert committed >= 550
    done_before = set(desk.embedder.embedded[: job.POOL_TEXTS])
    desk.embedder.embedded.clear()
    counts = desk.ingest(folder).counts
    assert not done_before & set(desk.embedder.embedded)
    assert counts.documents_rechunked == 600 - job.POOL_TEXTS
    assert desk.find("text number 599", k=1) == ["text number 599"]


def test_document_of_many_texts_appears_whole_although_its_vectors_are_kept_ahead(desk: Desk):
    many = 3 * job.POOL_TEXTS + 7
    folder = Folder({"big.md": "\n\n".join(f"paragraph {n}" for n in range(many))})
    seen = set()

    def look(_: job.Progress) -> None:
        infos = desk.catalogue.collections()
        seen.add(infos[0].chunks if infos else 0)

    counts = desk.ingest(folder, on_progress=look).counts
    assert counts.texts_embedded == many
    assert seen <= {0, many}
    assert len(desk.catalogue.chunks("kb", "mem://docs/big.md")) == many


def test_text_that_does_not_say_its_language_is_told_it_so_that_its_words_are_stemmed():
    spanish = "La soberanía nacional reside en el pueblo español, del que emanan los poderes."
    documents = [
        Document("a", spanish, metadata={"tags": "law"}),
        Document("b", spanish, metadata={"language": "gl"}),
        Document("c", "x = f(y)"),
    ]
    entries = list(texts_source(documents).entries())
    read = [document for entry in entries if isinstance(entry, Entry) for document in entry.parse()]
    assert [document.metadata for document in read] == [
        {"tags": "law", "language": "es"},
        {"language": "gl"},
        {},
    ]


def test_plan_promises_what_the_ingest_does_over_random_edits(desk: Desk):
    dice = random.Random(7)
    words = ["red", "green", "blue", "BAD", "sun\n\nmoon", "RECORDS\na\nb", "RECORDS\na\nBAD"]
    folder = Folder({})
    for _ in range(25):
        for name in dice.sample("abcdef", 3):
            if dice.random() < 0.3:
                folder.files.pop(name, None)
            else:
                folder.files[name] = dice.choice(words)
        if dice.random() < 0.2:
            desk.chunker = Paragraphs(dice.choice([1, 2]))
        if dice.random() < 0.2:
            folder.parser = dice.choice(["p1", "p2"])
        planned, done = desk.plan(folder).counts, desk.ingest(folder).counts
        assert counts_that_a_plan_knows(planned) == counts_that_a_plan_knows(done)
        settled = desk.ingest(folder).counts
        assert (settled.chunks, settled.texts_embedded, settled.documents_removed) == (0, 0, 0)


def counts_that_a_plan_knows(counts: job.Counts) -> tuple[object, ...]:
    return tuple(getattr(counts, name) for name in job.Counts.__dataclass_fields__)


def test_index_that_cannot_be_built_is_told_and_all_of_it_is_stored_and_found(tmp_path):
    down = IndexSettings(kind="chroma-server", chroma=ChromaSettings(url="http://127.0.0.1:9", timeout_s=0.5))
    folder = Folder({"tea": "boil the water", "train": "leaves at noon"})
    with Catalogue.open(tmp_path / "data", create=True, index=down) as catalogue:
        report = Desk(catalogue).ingest(folder)
        assert report.counts.documents_added == 2
        assert "127.0.0.1:9" in report.unindexed
        assert not report.ok
        (hit,) = catalogue.collection("kb").matching("noon", k=3, where={})
        assert hit.chunk.text == "leaves at noon"
    with Catalogue.open(tmp_path / "data", create=True) as catalogue:
        again = Desk(catalogue).ingest(folder)
        assert (again.counts.documents_unchanged, again.unindexed, again.ok) == (2, "", True)
        assert catalogue.collections()[0].generation.count == 2
