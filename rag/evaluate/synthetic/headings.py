"""Headings as questions: one that asks is asked as it stands, a path of others is a few keywords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rag.evaluate.synthetic.reading import Reading, Section, content, plain
from rag.evaluate.synthetic.values import Draft
from rag.sentences import split_sentences

_NUMBER = re.compile(
    r"^(?:(?:§|Art\.|Artículo|Article|Section|Sección|Capítulo|Chapter|Paso|Step)\s*)?[\dIVXLC]{1,4}(?:\.\d+)*[.):]?\s+"
)
_ASKS = {
    "en": re.compile(
        r"(?:what|when|where|which|who|whose|why|how|can|could|do|does|did|is|are|should|will|may)\b", re.I
    ),
    "es": re.compile(r"¿|(?:qué|cuándo|dónde|cuáles?|quiénes?|por qué|cómo|cuánt[oa]s?)\b", re.I),
}
# Headings that say where in a document one is, not what it is about.
_HOLLOW = frozenset(
    """abstract acknowledgements appendix background bibliography conclusion conclusions contents
    discussion examples introduction links methods note notes overview references related results see
    summary usage agradecimientos anexo antecedentes bibliografia contenido conclusiones discusion
    ejemplos enlaces indice introduccion metodos nota notas referencias resultados resumen""".split()  # noqa: SIM905
)
_EVIDENCE = 600
"""Characters of a section's beginning that are taken for what its heading promises."""


def from_headings(reading: Reading) -> Iterator[Draft]:
    """A question for each heading with prose below it; of headings that do not ask, with what is above.

    >>> from rag.types import Document
    >>> text = "# Bikes\\n\\n## What does a day cost?\\n\\nA day costs four euros here.\\n\\n"
    >>> late = "## Late fees\\n\\nWhoever is late pays a euro more."
    >>> reading = Reading.of(Document("d", text + late, metadata={"language": "en"}))
    >>> [draft.text for draft in from_headings(reading)]
    ['What does a day cost?', 'bikes late fees']
    """
    document, stems = reading.document, reading.stems
    for section in reading.sections:
        evidence = _beginning(document.text, section)
        if not section.path or evidence is None:
            continue
        text = _asked(section.path, document.title, reading)
        if text and len(content(text, stems)) >= 2:
            yield Draft(text, "heading", reading.language, document.id, *evidence)


def _asked(path: tuple[str, ...], title: str, reading: Reading) -> str:
    own = _NUMBER.sub("", plain(path[-1]))
    if own.endswith("?"):
        return own
    asking = _ASKS.get(reading.language)
    if asking and asking.match(own) and len(own.split()) >= 4:
        return f"¿{own.lstrip('¿')}?" if reading.language == "es" else f"{own}?"
    # The innermost headings say the most; those above them only what the others leave open.
    words = content(own, reading.stems)
    if not words or set(words) <= _HOLLOW:
        return ""
    names = [own]
    for above in (*reversed(path[:-1]), title):
        name = _NUMBER.sub("", plain(above))
        fresh = set(content(name, reading.stems)) - set(words)
        if fresh and not fresh <= _HOLLOW and len(words) < 3:
            names.insert(0, name)
            words += sorted(fresh)
    return " ".join(names).lower().rstrip(".:")


def _beginning(text: str, section: Section) -> tuple[int, int] | None:
    """Where the first sentences of a section stand, up to about _EVIDENCE characters."""
    found = [
        (section.start + start, section.start + end)
        for start, end in split_sentences(text[section.start : section.end])
        if not text[section.start + start :].startswith(("|", "`", "<"))
    ]
    if not found:
        return None
    start, end = found[0]
    for (_, before), (begin, stop) in pairwise(found):
        if stop - start > _EVIDENCE or "\n\n" in text[before:begin]:
            break
        end = stop
    return (start, end) if end - start >= 20 else None
