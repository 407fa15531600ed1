"""Judged sets that nobody judged: questions made of documents, with the words that answer them.

reading.py     a document's sections, paragraphs and sentences; the words of a collection
headings.py facts.py terms.py     questions of three kinds, each with its evidence
wording.py     patterns and question words by language
variants.py    the same questions mistyped, or in other words
written.py     questions by a language model, where there is one
checks.py      found, and clear?
make.py        all of it: a balanced set
agreement.py   does such a set rank systems like people do?
"""

from rag.evaluate.synthetic.agreement import Agreement, Measured, agreement, kendall, warning
from rag.evaluate.synthetic.make import MIX, WITHIN, Synthetic, synthesise
from rag.evaluate.synthetic.material import Material
from rag.evaluate.synthetic.values import HELD_OUT, KINDS, WRITTEN, Draft
from rag.evaluate.synthetic.written import by_model

__all__ = [
    "HELD_OUT",
    "KINDS",
    "MIX",
    "WITHIN",
    "WRITTEN",
    "Agreement",
    "Draft",
    "Material",
    "Measured",
    "Synthetic",
    "agreement",
    "by_model",
    "kendall",
    "synthesise",
    "warning",
]
