"""What an ingest of unchanged files costs, and how much memory an ingest takes.

    python -m bench.reingest [FOLDER] [--rounds R]
    python -m bench.reingest --memory [--files N ...] [--large MB] [--real]

Without ``--memory``: a copy of FOLDER is ingested, then ingested again without a change, R times in
one process and once by ``rag ingest``; then one paragraph of one file is changed. What was parsed,
cut and embedded is counted at those very calls, not taken from the report.

With ``--memory``: the highest resident memory of an ingest for growing numbers of files and for one
large text file, each in a process of its own. The model is replaced by rag.testing.HashEmbedder,
with vectors as wide as the model's, so that many files take minutes and not hours; ``--real`` loads
the model, and then the large file repeats one section, since only new texts are embedded.
"""

from __future__ import annotations

import argparse
import shutil
import stat
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from bench.process import megabytes, run, table

if TYPE_CHECKING:
    from api.services import Services
    from ingest.job import IngestReport
    from rag.types import Document

ROOT = Path(__file__).resolve().parent.parent
ADDED = " This sentence was added by the benchmark."
COLLECTION = "bench"
HEADER = ("ingest", "seconds", "CPU-s", "documents/s", "parsed", "cut", "embedded", "failed")


def main() -> None:
    options = arguments()
    if options.child:
        with services(options.child, real=options.real) as wired:
            wired.ingest([str(options.folder)])
    elif options.memory:
        memory(options)
    else:
        reingest(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "folder", type=Path, nargs="?", default=ROOT.parent / "shared" / "docs" / "fastapi-docs"
    )
    parser.add_argument("--rounds", type=int, default=5, help="unchanged re-ingests in one process")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--files", type=int, nargs="+", default=[100, 1_000, 5_000])
    parser.add_argument(
        "--large", type=int, default=200, metavar="MB", help="size of the one large file; 0: none"
    )
    parser.add_argument("--real", action="store_true", help="with --memory: the real model")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.folder.exists():
        parser.error(f"{options.folder} does not exist")
    if options.rounds < 1:
        parser.error("--rounds starts at 1")
    return options


def services(data: Path, *, real: bool) -> Services:
    """The product with its defaults; without ``real``, with another embedder and all else as it is."""
    from api.services import Services
    from api.settings import load

    settings = load(start=data.parent, env={}, overrides={"data": data, "collection": COLLECTION})
    if real:
        return Services(settings)
    from rag.testing import HashEmbedder

    class Forgetful(HashEmbedder):
        """Does not keep the texts that it embedded: that would be measured too."""

        precision = "float32"

        def embed(self, texts: Sequence[str], **how: Any) -> Any:
            vectors = super().embed(texts, **how)
            self.embedded.clear()
            return vectors

    embedder: Any = Forgetful(dim=384, max_tokens=256)

    class Quick(Services):
        def embedder(self) -> Any:
            return embedder

    return Quick(settings)


# --- unchanged, and one paragraph changed --------------------------------------------------------


def reingest(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        folder, data = Path(work) / "docs", Path(work) / "data"
        shutil.copytree(options.folder, folder, copy_function=shutil.copyfile)
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)  # the original may be read-only
        rows: list[list[str]] = []
        with services(data, real=True) as wired:
            rows.append(counted_ingest("first", wired, folder)[0])
            rates = []
            for turn in range(options.rounds):
                row, report, seconds = counted_ingest(f"unchanged {turn + 1}", wired, folder)
                rows.append(row)
                rates.append(report.counts.documents_unchanged / seconds)
        whole = run(rag_ingest(folder, data))
        with services(data, real=True) as wired:
            changed, before = change_one_paragraph(folder), set(texts(wired))
            rows.append(counted_ingest("one paragraph changed", wired, folder)[0])
            new = len(set(texts(wired)) - before)
    print(table(HEADER, rows))
    rate = statistics.median(rates)
    print(f"\nUnchanged: {rate:,.0f} documents/s in one process (median of {options.rounds} ingests).")
    print(
        f"The whole `rag ingest`, from starting Python to its end: {whole.wall:.2f} s, {whole.cpu:.2f} CPU-s."
    )
    print(f"Changed: one paragraph of {changed}; texts that were not there before: {new}.")


def rag_ingest(folder: Path, data: Path) -> list[str | Path]:
    script = Path(sys.executable).parent / "rag"
    return [script, "ingest", folder, "--data", data, "--collection", COLLECTION]


def counted_ingest(name: str, wired: Services, folder: Path) -> tuple[list[str], IngestReport, float]:
    """One ingest: its row of the table, its report, its seconds."""
    with counting() as calls:
        began, cpu = time.perf_counter(), time.process_time()
        report = wired.ingest([str(folder)])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    counts = report.counts
    known = counts.documents_added + counts.documents_updated + counts.documents_unchanged
    row = [name, f"{seconds:.3f}", f"{cpu:.3f}", f"{known / seconds:,.0f}"]
    row += [f"{calls[what]:,}" for what in ("parsed", "cut", "embedded")]
    return [*row, f"{counts.documents_failed:,}"], report, seconds


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count files parsed, documents cut and texts embedded, where that is done."""
    from ingest.chunk import Chunker
    from ingest.parse.worker import ParserProcess
    from rag.embed import SentenceTransformerEmbedder

    calls: Counter[str] = Counter()
    parse, cut, embed = ParserProcess.parse, Chunker.cut, SentenceTransformerEmbedder.embed

    def counted_parse(self: ParserProcess, *given: Any, **named: Any) -> Any:
        calls["parsed"] += 1
        return parse(self, *given, **named)

    def counted_cut(self: Chunker, document: Document) -> Any:
        calls["cut"] += 1
        return cut(self, document)

    def counted_embed(self: SentenceTransformerEmbedder, given: Sequence[str], **named: Any) -> Any:
        calls["embedded"] += len(given)
        return embed(self, given, **named)

    with (
        patch.object(ParserProcess, "parse", counted_parse),
        patch.object(Chunker, "cut", counted_cut),
        patch.object(SentenceTransformerEmbedder, "embed", counted_embed),
    ):
        yield calls


def texts(wired: Services) -> Iterator[str]:
    """Every text that stands embedded in the collection."""
    catalogue = wired.catalogue()
    for document in catalogue.documents(COLLECTION):
        for chunk in catalogue.chunks(COLLECTION, document.id):
            yield chunk.embedded_text


def change_one_paragraph(folder: Path) -> str:
    """Add a sentence to a paragraph in the middle of a page of about median size."""
    pages = sorted(folder.rglob("*.md"), key=lambda path: (path.stat().st_size, path))
    for path in pages[len(pages) // 2 :]:
        blocks = path.read_text("utf-8").split("\n\n")
        prose = [at for at, block in enumerate(blocks) if is_prose(block)]
        if prose:
            blocks[prose[len(prose) // 2]] += ADDED
            path.write_text("\n\n".join(blocks), "utf-8")
            return path.relative_to(folder).as_posix()
    sys.exit(f"Error: {folder} has no Markdown page with a paragraph to change")


def is_prose(block: str) -> bool:
    return len(block) >= 80 and block[:1].isalpha() and "\n" not in block


# --- memory --------------------------------------------------------------------------------------


def memory(options: argparse.Namespace) -> None:
    rows = []
    prose = paragraphs(options.folder)
    for count in options.files:
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            folder = Path(work) / "docs"
            write_files(folder, prose, count=count)
            rows.append(measured(f"{count:,} files", folder, real=options.real))
    if options.large:
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            folder = Path(work) / "docs"
            write_large(folder, prose, size=options.large * 1_000_000, repeat=options.real)
            rows.append(measured(f"one file of {options.large} MB", folder, real=options.real))
    print(
        f"Peak resident memory of an ingest, with the {'real model' if options.real else 'hash embedder'}\n"
    )
    print(table(("input", "text", "chunks", "seconds", "main process", "with its children"), rows))


def measured(name: str, folder: Path, *, real: bool) -> list[str]:
    """Ingest in a process of its own."""
    data = folder.parent / "data"
    command = [sys.executable, __file__, str(folder), "--child", str(data), *(["--real"] if real else [])]
    usage = run(command)
    with services(data, real=real) as wired:
        chunks = wired.collection_info(COLLECTION).chunks
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    cells = [f"{size / 1e6:.1f} MB", f"{chunks:,}", f"{usage.wall:.0f}"]
    return [name, *cells, megabytes(usage.root_peak_bytes), megabytes(usage.peak_bytes)]


def paragraphs(folder: Path) -> list[str]:
    """Prose of real pages, to build others of."""
    found = [
        block
        for path in sorted(folder.rglob("*.md"))
        for block in path.read_text("utf-8").split("\n\n")
        if is_prose(block)
    ]
    if not found:
        sys.exit(f"Error: {folder} has no Markdown files with paragraphs to build a corpus of")
    return found


def write_files(folder: Path, prose: Sequence[str], *, count: int) -> None:
    """Pages of about eight paragraphs, all different."""
    for number in range(count):
        page = folder / f"{number // 1000:03}" / f"page-{number:06}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        body = (f"{prose[(8 * number + i) % len(prose)]} ({number}-{i})" for i in range(8))
        page.write_text(f"# Page {number}\n\n" + "\n\n".join(body) + "\n", "utf-8")


def write_large(folder: Path, prose: Sequence[str], *, size: int, repeat: bool) -> None:
    """One text file: all different, or with ``repeat`` one section again and again."""
    folder.mkdir(parents=True)
    written = number = 0
    with (folder / "large.txt").open("w", encoding="utf-8") as file:
        while written < size:
            first = 0 if repeat else 8 * number
            marks = ("" if repeat else f" ({number}-{i})" for i in range(8))
            body = (f"{prose[(first + i) % len(prose)]}{mark}" for i, mark in enumerate(marks))
            section = "\n\n".join(body) + "\n\n"
            file.write(section)
            written += len(section.encode())
            number += 1


if __name__ == "__main__":
    main()
