"""Answers of a model, kept in a file and given again: tests that run without any model, the same each time.

One line a call (JSONL), found by a digest of the messages and the model's name. A call whose messages
have changed since is not answered with what was said to others: it is told as stale.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rag.errors import ModelError, PromptError
from rag.protocols import ChatModel, Message

_FENCE = re.compile(r"(</?(?:passage|example|rubric|text)-)[0-9]{4,}\b")
"""The codes of fences are drawn anew for every request, and say nothing."""


class NotRecorded(ModelError):
    """No answer to these messages is in the recording; ``str(error)`` says why, and what mends it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One call. ``key`` is that of :func:`key_of`; ``prompt``, ``digest`` (of the prompt) and ``test`` say
    what it was made for, so that a stale one can be told as such."""

    key: str
    model: str
    prompt: str
    digest: str
    test: str
    answer: str

    @property
    def made_for(self) -> tuple[str, str, str]:
        return self.prompt, self.test, self.model

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where it stands in a file: two tests that say the same to the model have a line each."""
        return (*self.made_for, self.key)


def key_of(model: str, messages: Sequence[Message]) -> str:
    """SHA-256 (hex) of a call, whatever codes its fences bear.

    >>> one, other = ([Message("user", f"<passage-{code} number=")] for code in ("2043", "77120"))
    >>> key_of("m", one) == key_of("m", other), key_of("m", one) == key_of("n", one)
    (True, False)
    """
    said = [[message.role, _FENCE.sub(r"\g<1>0", message.content)] for message in messages]
    text = json.dumps([model, said], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Recordings:
    """The calls of one file. Safe in any thread."""

    def __init__(self, recordings: Sequence[Recording] = (), *, name: str = "FILE") -> None:
        self.name = name
        self._lock = threading.Lock()
        self._kept = {each.place: each for each in recordings}
        self._by_key = {each.key: each for each in recordings}
        self._new: set[tuple[str, str, str, str]] = set()

    @staticmethod
    def read(path: Path) -> Recordings:
        """Those of a file. Raises PromptError naming the line, or what is wrong with the file."""
        found = []
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            raise PromptError(f"there is no recording {path}; --record {path} makes one") from None
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"{path} cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                found.append(_recording(line, f"{path}:{number}"))
        return Recordings(found, name=str(path))

    def models(self, prompt: str = "") -> tuple[str, ...]:
        """The models whose answers it holds, of this prompt where one is named."""
        return tuple(sorted({each.model for each in self._kept.values() if prompt in ("", each.prompt)}))

    def answer(self, key: str, *, model: str, prompt: str, digest: str, test: str) -> str:
        """What was said. Raises NotRecorded."""
        found = self._kept.get((prompt, test, model, key), self._by_key.get(key))
        if found is not None:
            return found.answer
        same = [each for each in self._kept.values() if (each.prompt, each.test) == (prompt, test)]
        of_model = [each for each in same if each.model == model]
        if any(each.digest == digest for each in of_model):
            why = "its variables, context or rubric changed since the answer was recorded"
        elif of_model:
            why = "the prompt changed since the answer was recorded"
        elif same:
            others = ", ".join(sorted({each.model for each in same}))
            why = f"{self.name} holds no answer of {model} for this test, but of {others}"
        else:
            why = f"{self.name} holds no answer for this test"
        raise NotRecorded(f"{why}; record it: rag prompts test {prompt} --record {self.name}")

    def add(self, recording: Recording) -> None:
        """Keep one, in memory."""
        with self._lock:
            self._kept[recording.place] = self._by_key[recording.key] = recording
            self._new.add(recording.place)

    def write(self, path: Path) -> int:
        """All of them to a file, in a stable order, where any is new; returns how many are.

        What was recorded now stands in place of what was recorded for the same tests before. Raises
        PromptError.
        """
        with self._lock:
            if not self._new:
                return 0
            replaced = {place[:3] for place in self._new}
            kept = [
                each
                for place, each in sorted(self._kept.items())
                if place in self._new or each.made_for not in replaced
            ]
            lines = [json.dumps(asdict(each), ensure_ascii=False) for each in kept]
            new = len(self._new)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.part")
            # A lone surrogate, which some models send, stands as JSON's own escape.
            beside.write_text("".join(f"{line}\n" for line in lines), "utf-8", errors="backslashreplace")
            beside.replace(path)
        except OSError as error:
            raise PromptError(f"{path} cannot be written: {error.strerror}") from error
        return new


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """A chat model that answers from ``replay``; what is not there is asked of ``model``, where there is one,
    and kept in ``record``. ``prompt``, ``digest`` and ``test`` say what for."""

    name: str
    prompt: str
    digest: str
    test: str
    model: ChatModel | None = None
    replay: Recordings | None = None
    record: Recordings | None = None

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer, in one piece. Raises NotRecorded, and what the model raises."""
        key = key_of(self.name, messages)
        told = {"model": self.name, "prompt": self.prompt, "digest": self.digest, "test": self.test}
        try:
            if self.replay is None:
                raise NotRecorded("nothing is replayed")
            answer = self.replay.answer(key, **told)
        except NotRecorded:
            if self.model is None:
                raise
            answer = "".join(self.model.stream(messages))
        if self.record is not None:
            self.record.add(Recording(key, answer=answer, **told))
        yield answer


def _recording(line: str, where: str) -> Recording:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise PromptError(f"{where}: not JSON; a recording has one object a line") from None
    names = Recording.__dataclass_fields__
    if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in names):
        raise PromptError(f"{where}: not a recorded answer; it has {', '.join(names)}, all of them texts")
    return Recording(**{name: record[name] for name in names})
