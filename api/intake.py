"""Taking documents in: what an ingest is put together from, as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from api.embedders import characters_per_second, remember_rate
from api.parts import Parts
from ingest import job
from ingest.decide import Source, texts_source
from ingest.parse.worker import ParserProcess
from ingest.read import ParsedSource, UploadedFiles
from ingest.sources import open_source
from rag.protocols import Space
from rag.types import Document

if TYPE_CHECKING:
    from ingest.job import IngestReport, Plan, Progress

Tell = Callable[["Progress"], None]


def _quiet(_: Progress) -> None:
    pass


class Intake(Parts):
    """Folders, files, URLs and texts into collections. Safe in any thread."""

    def ingest(
        self,
        arguments: Sequence[str],
        *,
        collection: str | None = None,
        wait: float = 0.0,
        on_progress: Tell = _quiet,
    ) -> IngestReport:
        """Bring a collection in step with folders, files and URLs. Raises NotFound, LockHeld, …"""
        with self._parser() as parser:
            return self.take_in(
                self._sources(arguments, parser), collection=collection, wait=wait, on_progress=on_progress
            )

    def ingest_texts(
        self, documents: Sequence[Document], *, collection: str | None = None, wait: float = 30.0
    ) -> IngestReport:
        """Take in documents that need no parsing. Their language is told where they do not say it."""
        return self.take_in([texts_source(documents)], collection=collection, wait=wait)

    def ingest_files(
        self, files: Sequence[tuple[str, bytes]], *, collection: str | None = None, wait: float = 30.0
    ) -> IngestReport:
        """Take in files by name and content."""
        with self._parser() as parser:
            source = UploadedFiles(tuple(files), parser, self.settings.ingest.parse_options())
            return self.take_in([source], collection=collection, wait=wait)

    def plan(
        self, arguments: Sequence[str], *, collection: str | None = None, on_progress: Tell = _quiet
    ) -> Plan:
        """What :meth:`ingest` would do now, and how long its embedding would take here."""
        with self._parser() as parser:
            sources = self._sources(arguments, parser)  # a wrong name is told before anything is made
            embedder = self.embedder()
            chunker = self.chunker(embedder)
            catalogue = self.catalogue(create=True)
            planned = job.plan(
                sources,
                catalogue.ledger(collection or self.settings.collection),
                space=Space(chunker.fingerprint, embedder.info),
                chunker=chunker,
                on_progress=on_progress,
            )
        if not planned.counts.characters_embedded:
            return replace(planned, seconds=0.0)
        speed = characters_per_second(catalogue, embedder)
        return replace(planned, seconds=planned.counts.characters_embedded / speed)

    def _sources(self, arguments: Sequence[str], parser: ParserProcess) -> list[ParsedSource]:
        section = self.settings.ingest
        settings = replace(section.source_settings(), leave=(self.settings.data,))
        opened = [open_source(argument, settings=settings) for argument in arguments]
        return [ParsedSource(source, parser, section.parse_options()) for source in opened]

    def take_in(
        self,
        sources: Sequence[Source],
        *,
        collection: str | None = None,
        wait: float = 0.0,
        on_progress: Tell = _quiet,
    ) -> IngestReport:
        """Bring a collection in step with any sources."""
        embedder = self.embedder()
        chunker = self.chunker(embedder)
        space = Space(chunker.fingerprint, embedder.info)
        catalogue = self.catalogue(create=True)
        self._embedders.remember(catalogue, embedder, wait=wait)
        with catalogue.writer(collection or self.settings.collection, space, wait=wait) as writer:
            report = job.run(
                sources, writer, space=space, chunker=chunker, embedder=embedder, on_progress=on_progress
            )
        if (speed := report.characters_per_second) is not None:
            remember_rate(catalogue, embedder, speed)
        return report

    @contextmanager
    def _parser(self) -> Iterator[ParserProcess]:
        section = self.settings.ingest
        with ParserProcess(
            timeout_s=section.parser_timeout_s,
            memory_mb=section.parser_memory_mb,
            options=section.parse_options(),
        ) as parser:
            yield parser
