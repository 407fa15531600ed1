"""Markdown as it stands; YAML front matter becomes metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ingest.parse.decode import blocks, charset
from ingest.parse.metadata import flat
from ingest.parse.options import Draft, Piece, Source
from rag.types import MetadataValue, clean_text

MAX_FRONT_MATTER = 1 << 16
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)


def read(source: Source) -> Iterator[Draft]:
    """The text, untouched but for front matter, which leaves it when it can be read.

    Front matter that is no mapping, is not YAML or uses aliases (the way to a YAML bomb) stays in
    the text: its words can then still be found, and nothing is lost.
    """
    text = blocks(source.data, declared=charset(source.media_type))
    first = next(text, "")
    about, first = front_matter(first)

    def pieces() -> Iterator[Piece]:
        yield Piece(first)
        for block in text:
            yield Piece(block)

    title = about.pop("title", "")
    yield Draft(pieces(), title=title if isinstance(title, str) else str(title), metadata=about)


def front_matter(text: str) -> tuple[dict[str, MetadataValue], str]:
    """What the YAML between two ``---`` lines at the very start says, and the text after it.

    >>> front_matter("---\\ntags: [a, b]\\n---\\n# Hi\\n")
    ({'tags': ('a', 'b')}, '# Hi\\n')
    >>> front_matter("---\\njust a line\\n---\\n")
    ({}, '---\\njust a line\\n---\\n')
    """
    if not text.startswith("---"):
        return {}, text
    match = _FRONT_MATTER.match(text[:MAX_FRONT_MATTER])
    if match is None:
        return {}, text
    values = _yaml(clean_text(match[1] or ""))
    if values is None:
        return {}, text
    return flat(values), text[match.end() :]


def _yaml(text: str) -> Mapping[object, object] | None:
    import yaml

    class NoAliases(yaml.SafeLoader):
        """Refuses ``*alias``: ten lines of them expand to gigabytes."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases are not expanded")
            return super().compose_node(parent, index)

    try:
        values = yaml.load(text, Loader=NoAliases)  # noqa: S506 - derives from SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return None
    return values if isinstance(values, Mapping) else None
