"""How good a ranking is, by people's judgements: sets, runs, measures.

Everything here takes callables and values; it knows nothing of indexes.
"""

from rag.evaluate.judged import JudgedSet, Qrels, read_beir
from rag.evaluate.measure import MEASURES, Row, Run, document_scores, evaluate, measured

__all__ = [
    "MEASURES",
    "JudgedSet",
    "Qrels",
    "Row",
    "Run",
    "document_scores",
    "evaluate",
    "measured",
    "read_beir",
]
