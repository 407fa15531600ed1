"""JSON, and JSON Lines: one document a record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b

from ingest.parse.decode import charset, lines, whole
from ingest.parse.metadata import flat, stem
from ingest.parse.options import Draft, ParseOptions, Piece, Source
from rag.errors import SourceError
from rag.types import clean_text

MAX_NAMED = 5


class RecordIds:
    """Gives each record its id, and knows which were given before: 8 bytes a record."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def new(self, record: str) -> bool:
        digest = blake2b(record.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


class BadRecords:
    """Counts what could not be taken, and says it once, at the end."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.good = 0
        self.bad = 0
        self.named: list[str] = []

    def add(self, number: int, why: str) -> None:
        self.bad += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(f"{self.unit} {number}: {why}")

    def complain(self) -> None:
        if self.bad:
            more = f"; and {self.bad - len(self.named)} more" if self.bad > len(self.named) else ""
            raise SourceError(
                "damaged",
                f"{'; '.join(self.named)}{more}. The other {self.good:,} were read; mend these",
            )


def read_json(source: Source) -> Iterator[Draft]:
    """One document: a record with a text field becomes that text, anything else an indented list.

    A file that turns out to hold one JSON value a line is read as JSON Lines.
    """
    text = whole(source.data, declared=charset(source.media_type))
    try:
        value = json.loads(text)
    except ValueError as error:
        first, _, rest = text.lstrip().partition("\n")
        if rest.strip() and _is_object(first) and _is_object(rest.lstrip().partition("\n")[0]):
            yield from read_jsonl(source)
            return
        raise SourceError("damaged", f"not JSON: {error}") from None
    if isinstance(value, Mapping) and first_of(value, source.options.text_fields):
        draft = record_draft(value, "", source.options)
        yield Draft(draft.pieces, title=draft.title or stem(source.uri), metadata=draft.metadata)
        return
    title = first_of(value, source.options.title_fields) if isinstance(value, Mapping) else ""
    yield Draft([Piece(outline(value, source.options.max_depth))], title=title or stem(source.uri))


def read_jsonl(source: Source) -> Iterator[Draft]:
    """One document a line. Bad lines are told at the end, after the good ones; ids must be unique."""
    problems, ids = BadRecords("line"), RecordIds()
    for number, line in enumerate(lines(source.data, declared=charset(source.media_type)), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except RecursionError:
            problems.add(number, "nested too deeply")
            continue
        except ValueError as error:
            problems.add(number, f"not JSON ({error})")
            continue
        if not isinstance(value, Mapping):
            problems.add(number, f"a JSON {type(value).__name__}, not an object")
            continue
        draft = record_draft(value, str(number), source.options)
        if not ids.new(draft.record):
            problems.add(number, f"the id {draft.record[:80]!r} appears a second time")
            continue
        problems.good += 1
        yield draft
    problems.complain()


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), Mapping)
    except (ValueError, RecursionError):
        return False


def record_draft(record: Mapping[str, object], number: str, options: ParseOptions) -> Draft:
    """A record as a document: its text field, or all its fields as a list when it has none."""
    record_id = " ".join(clean_text(first_of(record, options.id_fields) or number).split())
    title = first_of(record, options.title_fields)
    text = first_of(record, options.text_fields)
    used = {name for names in (options.id_fields, options.title_fields) for name in names}
    if text:
        used.update(name for name in options.text_fields if isinstance(record.get(name), str))
    else:
        text = outline({k: v for k, v in record.items() if k not in used}, options.max_depth) or title
    wanted = options.metadata_fields or [name for name in record if name not in used]
    metadata = flat({name: record[name] for name in wanted if name in record})
    return Draft([Piece(text)], title=title or record_id, metadata=metadata, record=record_id)


def first_of(record: Mapping[str, object], names: tuple[str, ...]) -> str:
    """The first of these fields that holds a text or a number, as text."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def outline(value: object, max_depth: int) -> str:
    """A JSON value as an indented Markdown list: words without braces and quotes.

    >>> print(outline({"name": "Ana", "tags": ["a", "b"], "at": {"city": "Jaén"}}, 9))
    - name: Ana
    - tags:
      - a
      - b
    - at:
      - city: Jaén
    """
    written: list[str] = []
    stack: list[tuple[int, str, object]] = [(0, "", value)]
    while stack:
        depth, name, item = stack.pop()
        if depth > max_depth:
            raise SourceError("too_large", f"JSON nested more than {max_depth} levels deep")
        label = "  " * (depth - 1) + "- " + (f"{name}:" if name else "")
        if isinstance(item, Mapping | list):
            if depth:
                written.append(label)
            stack.extend((depth + 1, key, child) for key, child in reversed(_children(item)))
        elif words := str(_CONSTANTS.get(item, item) if isinstance(item, bool | None) else item):
            written.append(f"{label} {words}" if name else label + words)
    return "\n".join(written)


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _children(item: Mapping[str, object] | list[object]) -> list[tuple[str, object]]:
    """Names and values; the objects of a list are numbered, so that they stay apart."""
    if isinstance(item, Mapping):
        return list(item.items())
    return [
        (str(number) if isinstance(child, Mapping | list) else "", child)
        for number, child in enumerate(item, 1)
    ]
