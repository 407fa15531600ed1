"""Which variant of a prompt is for which model.

A pattern is a model's name (``gpt-5-mini``), a name with ``*`` and ``?`` (``qwen3*``), or a family (``gpt``,
``claude``, ``llama``, …). A model's name is compared as a whole and without what stands before it: provider,
organisation, folder. The most specific pattern wins: a whole name, then the pattern with most letters, then
the family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "claude": ("claude",),
        "command": ("command", "c4ai-command"),
        "deepseek": ("deepseek",),
        "gemini": ("gemini",),
        "gemma": ("gemma", "codegemma", "medgemma", "shieldgemma"),
        "glm": ("glm", "chatglm"),
        "gpt": ("gpt", "chatgpt", "o1", "o3", "o4"),
        "granite": ("granite",),
        "grok": ("grok",),
        "kimi": ("kimi",),
        "llama": ("llama", "codellama", "tinyllama"),
        "mistral": (
            *("mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral"),
            *("open-mistral", "open-mixtral"),
        ),
        "nova": ("nova",),
        "phi": ("phi",),
        "qwen": ("qwen", "qwq", "qvq", "codeqwen"),
    }
)
"""How the names of a family's models begin."""
_BEGINS = [
    (family, re.compile(rf"{re.escape(start)}(?![a-z])"))
    for family, starts in FAMILIES.items()
    for start in starts
]


def family_of(model: str) -> str:
    """The family of a model, "" when its name does not tell.

    The last part of the name decides, and what it begins with: a distilled model is of the family whose name
    it bears first.

    >>> [family_of(name) for name in ("openai:gpt-5-mini", "ollama:qwen3:4b", "unsloth/Meta-Llama-3-GGUF")]
    ['gpt', 'qwen', 'llama']
    >>> family_of("ollama:deepseek-r1-distill-llama-70b"), family_of("ollama:my-own")
    ('deepseek', '')
    """
    segments = [segment for segment in re.split(r"[:/]", model.lower()) if segment][::-1]
    for segment in segments:
        for start in _starts(segment):
            for family, begins in _BEGINS:
                if begins.match(segment, start):
                    return family
    return ""


def _starts(segment: str) -> Iterable[int]:
    """Where words of a name begin: its beginning first."""
    yield 0
    yield from (found.end() for found in re.finditer(r"[-_.]", segment))


def best(patterns: Iterable[str], model: str) -> str | None:
    """The most specific of the patterns that fit the model; None where none does.

    >>> best(["gpt", "gpt-5*", "claude"], "openai:gpt-5-mini")
    'gpt-5*'
    >>> best(["claude", "gpt"], "ollama:gemma3") is None
    True
    """
    names = _names(model)
    family = family_of(model)

    def rank(pattern: str) -> tuple[int, int]:
        wanted = pattern.lower()
        if wanted in FAMILIES:
            return (1, 0) if wanted == family else (0, 0)
        if wanted in names:
            return (3, 0)
        letters = len(re.sub(r"[*?]|\[[^]]*\]", "", wanted))
        return (2, letters) if any(fnmatchcase(name, wanted) for name in names) else (0, 0)

    ranked = {pattern: rank(pattern) for pattern in patterns}
    fitting = [pattern for pattern, (kind, _) in ranked.items() if kind]
    return max(fitting, key=lambda pattern: ranked[pattern], default=None)


def _names(model: str) -> frozenset[str]:
    """The name, and what is left without its first parts: ``a:b/c`` is also ``b/c`` and ``c``."""
    lowered = model.lower()
    ends = [found.end() for found in re.finditer(r"[:/]", lowered)]
    return frozenset([lowered, *(lowered[end:] for end in ends if lowered[end:])])
