"""Reports for people: runs and what tells them apart, as a page, as Markdown, as a picture."""

from rag.evaluate.report.cells import Cell
from rag.evaluate.report.content import Report, report
from rag.evaluate.report.markdown import markdown
from rag.evaluate.report.page import html
from rag.evaluate.report.systems import overview

__all__ = ["Cell", "Report", "html", "markdown", "overview", "report"]
