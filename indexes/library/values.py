"""What the prompt library tells: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rag.prompts.versions import Facts


@dataclass(frozen=True, slots=True)
class Head:
    """What a push compares with: the newest version's digest, the SHA-256 (hex) of its file's text and of
    each part by path, and of the prompt's tests ("" without any)."""

    number: int
    digest: str
    sha256: str
    parts: Mapping[str, str]
    tests: str
    removed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A prompt at a glance: number, facts, author, time of its newest version, and its labels."""

    name: str
    latest: int
    labels: Mapping[str, int]
    facts: Facts
    author: str
    changed_at: str
    tests: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a prompt's tests on a version. ``tests_digest`` says which tests they were."""

    number: int
    tests_digest: str
    passed: int
    failed: int
    unevaluated: int
    detail: Mapping[str, Any]
    author: str
    at: str

    @property
    def ok(self) -> bool:
        """Whether some passed and none did not."""
        return self.passed > 0 and not self.failed and not self.unevaluated


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did: versions by prompt as (before, now), prompts whose tests changed, and labels that
    moved as (before, now); before is 0 where there was none."""

    versions: Mapping[str, tuple[int, int]]
    tests: tuple[str, ...]
    labels: Mapping[str, tuple[int, int]]
