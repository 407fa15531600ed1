"""What is wrong with a prompt, as far as that can be told without a model."""

from __future__ import annotations

from rag.prompts.lint.looked import RULES, Finding, Severity
from rag.prompts.lint.rules import lint, refused, variants_of

__all__ = ["RULES", "Finding", "Severity", "lint", "refused", "variants_of"]
