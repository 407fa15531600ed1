"""How good a ranking is, by people's judgements: sets, runs, measures, comparisons.

Everything here takes callables and values; it knows nothing of indexes.
"""

from rag.evaluate.compare import Comparison, Verdict, compare
from rag.evaluate.formats.beir import read_beir
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement, Qrels
from rag.evaluate.measure import MEASURES, evaluate, measured
from rag.evaluate.paired import bootstrap, holm, mcnemar, sign_flip
from rag.evaluate.run import Evaluation, Found, Run, document_scores

__all__ = [
    "MEASURES",
    "Comparison",
    "Evaluation",
    "Found",
    "JudgedSet",
    "Judgement",
    "Qrels",
    "Run",
    "Verdict",
    "bootstrap",
    "compare",
    "document_scores",
    "evaluate",
    "holm",
    "mcnemar",
    "measured",
    "read_beir",
    "sign_flip",
]
