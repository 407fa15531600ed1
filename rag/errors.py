"""Every error that promptwell raises on purpose.

RagError
├── UsageError                 the request itself is wrong: exit 2, HTTP 400
│   ├── InvalidSetting         rag.toml, an environment variable or an option
│   ├── InvalidQuery           an empty question, an impossible k
│   ├── InvalidFilter          a --where that cannot be read
│   ├── NotFound               names what was asked for and what there is: HTTP 404
│   │   ├── UnknownCollection
│   │   ├── UnknownDocument
│   │   └── UnknownPrompt
│   ├── PromptError            a prompt, or the values for it
│   │   ├── MissingVariables   names them
│   │   ├── InvalidTemplate    a prompt file that cannot be read, with the line
│   │   ├── InvalidPack        a pack of prompts that is not whole, or may not be one
│   │   └── OverBudget         the fixed part alone exceeds the token budget
│   └── EvaluationError        a judged set that cannot be read, or judges nothing
├── SourceError                one file or URL cannot be taken in; ``code`` says why
├── EmbedderError
│   ├── ModelNotFound          no such model folder, package or hub name
│   └── EmbedderMismatch       vectors of one model were about to meet those of another
├── StorageError
│   ├── LockHeld               another process is writing: HTTP 409
│   ├── SchemaTooNew           a newer promptwell wrote this catalogue
│   ├── CatalogueDamaged       SQLite says that the file is not whole
│   ├── BackupDamaged          a backup is not whole, or no backup
│   └── IndexDamaged           a generation does not verify; searching goes on without it
├── LabelProtected             a protected label asks for a review, or for tests that passed: HTTP 409
└── ModelError                 the LLM could not be reached or refused: HTTP 502

A message says what was wrong, what the valid choices are, and the command that mends it.
"""

from __future__ import annotations

from typing import Literal

__all__ = [
    "BackupDamaged",
    "CatalogueDamaged",
    "EmbedderError",
    "EmbedderMismatch",
    "EvaluationError",
    "IndexDamaged",
    "InvalidFilter",
    "InvalidPack",
    "InvalidQuery",
    "InvalidSetting",
    "InvalidTemplate",
    "LabelProtected",
    "LockHeld",
    "MissingVariables",
    "ModelError",
    "ModelNotFound",
    "NotFound",
    "OverBudget",
    "PromptError",
    "RagError",
    "ReasonCode",
    "SchemaTooNew",
    "SourceError",
    "StorageError",
    "UnknownCollection",
    "UnknownDocument",
    "UnknownPrompt",
    "UsageError",
]

ReasonCode = Literal[
    "empty",  # no bytes, or no text after parsing
    "binary",  # bytes that no parser reads, whatever the name says
    "unsupported",  # a known format that promptwell does not parse
    "damaged",  # truncated, or not what its format demands
    "encrypted",  # asks for a password
    "no_text",  # images only: there is no text layer
    "too_large",  # past the limit on bytes, records, depth or expansion
    "unreadable",  # the system refuses: permissions, an input/output error
    "vanished",  # was listed, is gone
    "loop",  # a symbolic link that leads back to itself
    "timeout",  # the parser or the server took too long
    "out_of_memory",  # the parser hit its memory limit
    "crashed",  # the parser's process died
    "blocked",  # a URL whose address is private, loopback or link-local; a link out of the folder
    "http",  # the server answered with an error
    "network",  # the server could not be reached
]


class RagError(Exception):
    """The root. ``str(error)`` is a message for people, complete in itself."""


class UsageError(RagError):
    """The request itself is wrong."""


class InvalidSetting(UsageError):
    """A setting in rag.toml, the environment or an option cannot be used."""


class InvalidQuery(UsageError):
    """A question that cannot be asked."""


class InvalidFilter(UsageError):
    """A metadata filter that cannot be read."""


class NotFound(UsageError):
    """What was named does not exist."""


class UnknownCollection(NotFound):
    """No collection has this name."""


class UnknownDocument(NotFound):
    """No document of the collection has this id."""


class UnknownPrompt(NotFound):
    """The library holds no prompt of this name."""


class SourceError(RagError):
    """One file or URL cannot be taken in. The others go on; the report has one line for it.

    >>> error = SourceError("encrypted", "the PDF asks for a password; save it without one")
    >>> error.code, str(error)
    ('encrypted', 'the PDF asks for a password; save it without one')
    """

    def __init__(self, code: ReasonCode, detail: str) -> None:
        super().__init__(detail)
        self.code: ReasonCode = code


class EmbedderError(RagError):
    """Texts could not be embedded."""


class ModelNotFound(EmbedderError):
    """No model at this path, in this package or under this hub name."""


class EmbedderMismatch(EmbedderError):
    """Vectors of one embedder were about to be compared or stored with those of another."""


class StorageError(RagError):
    """The data folder cannot be used as it is."""


class LockHeld(StorageError):
    """Another process holds the writer's lock; ``pid`` is its process id, 0 when unknown."""

    def __init__(self, message: str, *, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class SchemaTooNew(StorageError):
    """The catalogue was written by a newer promptwell."""


class CatalogueDamaged(StorageError):
    """SQLite reports that the catalogue is not whole."""


class BackupDamaged(StorageError):
    """A backup that is not as it was written, or a file that never was one. Nothing is restored."""


class IndexDamaged(StorageError):
    """A generation does not verify. It is left out of searches until rebuilt."""


class PromptError(UsageError):
    """A prompt cannot be read or rendered."""


class MissingVariables(PromptError):
    """A prompt was rendered without values it declares; ``names`` lists them."""

    def __init__(self, message: str, *, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.names = names


class InvalidTemplate(PromptError):
    """A prompt file that cannot be read."""


class InvalidPack(PromptError):
    """A pack of prompts that is not as it was written, or files that may not be in one."""


class OverBudget(PromptError):
    """The part of a prompt that does not depend on the context exceeds the token budget."""


class EvaluationError(UsageError):
    """A judged set that cannot be read, or that judges nothing of what is there."""


class LabelProtected(RagError):
    """A protected label may not move to a version yet, or be taken away."""


class ModelError(RagError):
    """The LLM could not be reached, timed out or refused."""
