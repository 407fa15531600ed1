"""CSV and TSV to a Markdown table, or to one document a row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain, islice

from ingest.parse.decode import charset, lines
from ingest.parse.jsons import BadRecords, RecordIds, record_draft
from ingest.parse.metadata import stem
from ingest.parse.options import Draft, Piece, Source
from rag.errors import ReasonCode, SourceError

_DELIMITERS = ",;\t|"


def read(source: Source) -> Iterator[Draft]:
    """The first row is the head. ``csv_documents`` decides: one document a table, or one a row.

    A table that is cut repeats its head in each part. Raises SourceError ``too_large`` past
    ``max_columns`` columns or 131,072 characters in a field (the csv module's limit).
    """
    rows = _rows(source)
    head = next(rows, [])
    names = [name.strip() or f"column {number}" for number, name in enumerate(head, 1)]
    if source.options.csv_documents == "row":
        yield from _records(rows, names, source)
        return
    opening = f"{_line(names)}\n|{'---|' * len(names)}\n"
    body = (Piece(_line(row) + "\n") for row in rows)
    first = next(body, None)
    if first is None:  # a head alone is all the text there is
        yield Draft([Piece(opening)] if names else [], title=stem(source.uri))
    else:
        yield Draft(chain([first], body), title=stem(source.uri), opening=opening)


def _records(rows: Iterator[list[str]], names: list[str], source: Source) -> Iterator[Draft]:
    problems, ids = BadRecords("row"), RecordIds()
    for number, row in enumerate(rows, 2):
        record = {name: value for name, value in zip(names, row, strict=False) if value.strip()}
        if len(row) > len(names) and any(value.strip() for value in row[len(names) :]):
            problems.add(number, f"{len(row)} values under {len(names)} columns")
            continue
        if not record:
            continue
        draft = record_draft(record, str(number), source.options)
        if not ids.new(draft.record):
            problems.add(number, f"the id {draft.record[:80]!r} appears a second time")
            continue
        problems.good += 1
        yield draft
    problems.complain()


def _rows(source: Source) -> Iterator[list[str]]:
    text = (
        line.replace("\x00", "\ufffd") + "\n"
        for line in lines(source.data, declared=charset(source.media_type))
    )
    sample = list(islice(text, 50))
    reader = csv.reader(chain(sample, text), delimiter=_delimiter(sample))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            code: ReasonCode = "too_large" if "larger than" in str(error) else "damaged"
            raise SourceError(code, f"line {reader.line_num}: {error}") from None
        if len(row) > source.options.max_columns:
            raise SourceError(
                "too_large",
                f"line {reader.line_num} has {len(row):,} columns, more than {source.options.max_columns:,}",
            )
        if any(value.strip() for value in row):
            yield row


def _delimiter(sample: list[str]) -> str:
    """The mark that cuts the most lines into the same number of columns, two or more.

    >>> _delimiter(["año;kilos\\n", "2023;1,5\\n", "2024;2,5\\n"])
    ';'
    """

    def score(mark: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=mark) if row]
        except csv.Error:
            return 0, 0
        usual = max(set(widths), key=lambda width: (widths.count(width), width), default=1)
        return (widths.count(usual), usual) if usual > 1 else (0, 0)

    return max(_DELIMITERS, key=score)


def _line(row: list[str]) -> str:
    """One Markdown table row; a pipe or a line break inside a value cannot end it.

    >>> _line(["a|b", "two\\nlines"])
    '| a\\\\|b | two lines |'
    """
    cells = (" ".join(value.split()).replace("|", "\\|") for value in row)
    return f"| {' | '.join(cells)} |"
