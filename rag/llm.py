"""Any LLM that LangChain can name, behind the ChatModel seam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rag.errors import ModelError
from rag.protocols import Message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

DEFAULT_TIMEOUT = 60.0
"""Seconds without a byte from the model before it counts as gone."""
_EXTRAS = ("openai", "anthropic")


class LangChainModel:
    """A LangChain chat model as a :class:`rag.protocols.ChatModel`. Made by :func:`chat_model`."""

    def __init__(self, model: BaseChatModel, *, name: str, parameters: Mapping[str, Any]) -> None:
        self._model = model
        self.name = name
        self.parameters = MappingProxyType(dict(parameters))
        """What shapes its answers, for the receipt: base URL and options, never the key."""

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer piece by piece, as the provider sends it. Raises ModelError."""
        try:
            for chunk in self._model.stream([(message.role, message.content) for message in messages]):
                if chunk.text:
                    yield str(chunk.text)
        except Exception as error:  # each provider raises a tree of its own
            raise ModelError(_explained(self.name, error, self.parameters.get("base_url"))) from error


def chat_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    options: Mapping[str, Any] | None = None,
) -> LangChainModel:
    """The model that LangChain's ``init_chat_model`` calls ``name``: ``openai:gpt-5-mini``, ``ollama:qwen3``.

    ``base_url`` is any endpoint that speaks the provider's API (vLLM, llama.cpp and Ollama speak
    OpenAI's); a key from the environment is never sent to one: pass ``api_key`` where it wants one.
    ``options`` go to the provider (``temperature``, ``max_tokens``). Nothing is sent yet. Raises
    ModelError: unknown provider, its package not installed, no key.
    """
    from langchain.chat_models import init_chat_model

    known = {"base_url": base_url, "timeout": timeout, "max_retries": 1, **(options or {})}
    given = {key: value for key, value in known.items() if value is not None}
    if api_key or base_url:
        given["api_key"] = api_key or "none"  # local servers want no key; their clients insist on one
    try:
        model = init_chat_model(name, **given)
    except ImportError as error:
        provider = name.partition(":")[0]
        extra = f"promptwell[{provider}]" if provider in _EXTRAS else f"langchain-{provider}"
        raise ModelError(f"model {name!r}: {error}. Install it: pip install '{extra}'") from error
    except Exception as error:  # a missing key is each provider's own error
        hint = (
            ""
            if given.get("api_key")
            else "; a key goes into RAG_LLM_API_KEY, or the provider's own variable"
        )
        raise ModelError(_explained(name, error, base_url) + hint) from error
    parameters = {key: value for key, value in known.items() if value is not None}
    return LangChainModel(model, name=name, parameters=parameters)


def _explained(name: str, error: Exception, base_url: object) -> str:
    """What went wrong, for people. Without the provider's words where they may quote the key."""
    where = f"model {name!r}" + (f" at {base_url}" if base_url else "")
    status = getattr(error, "status_code", None)
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if status in (401, 403):
        return f"{where} refused the key (HTTP {status}): check the API key and what it may use"
    if status == 404:
        return f"{where} is not there (HTTP 404): check the model's name and the base URL"
    if status == 429:
        return f"{where} takes no more requests now (HTTP 429): wait, or check the account's quota"
    if any("Timeout" in kind for kind in kinds):
        return f"{where} did not answer in time: is it overloaded? A longer timeout can be set"
    if any("Connect" in kind for kind in kinds):
        return f"{where} cannot be reached: is the server running, and the base URL right?"
    said = " ".join(str(error).split())[:300]
    answered = f" answered HTTP {status}" if status else " failed"
    return f"{where}{answered}: {said or type(error).__name__}"
