"""Which words of a passage answer to the words of a question."""

from __future__ import annotations

from rag.words import Language, Terms, language_of


def matches(question: str, text: str, *, language: Language | None = None) -> list[tuple[int, int]]:
    """The spans (characters) of the words in ``text`` that ``question`` asks for, in order, apart.

    Case, accents and Spanish or English endings do not count; the question's stop words are left
    out. ``language`` is the text's, guessed when None.

    >>> text = "Las peticiones fallan; la petición HTTP se repite."
    >>> [text[start:end] for start, end in matches("¿Qué hace una peticion http?", text)]
    ['peticiones', 'petición', 'HTTP']
    """
    terms = Terms(question, language=language_of(text) if language is None else language)
    return [(start, end) for start, end, _ in terms.find(text)]
