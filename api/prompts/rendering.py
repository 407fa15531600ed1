"""What a model would get of a prompt: retrieved or not, with what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.prompts.examples import ExampleSets
from rag.context import Context, fit
from rag.errors import MissingVariables
from rag.filters import EVERYTHING, Where
from rag.prompts import PromptTemplate, RenderedPrompt
from rag.prompts.examples import VARIABLE
from rag.receipt import Receipt

if TYPE_CHECKING:
    from api.sections import Collections
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Shown:
    """A prompt as the model would get it. ``model`` is the one it was made for, "" for none; ``context`` and
    ``receipt`` are None where nothing was searched."""

    template: PromptTemplate
    prompt: RenderedPrompt
    model: str
    context: Context | None
    receipt: Receipt | None

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        template = self.template
        return {
            "prompt": template.name,
            "prompt_version": template.version,
            "prompt_digest": template.digest,
            "variant": template.variant,
            "model": self.model,
            "messages": [{"role": each.role, "content": each.content} for each in self.prompt.messages],
            "tokens": dict(self.prompt.tokens),
            "total_tokens": self.prompt.total_tokens,
            "receipt": None if self.receipt is None else self.receipt.as_json(),
        }


def render(
    services: Services,
    reference: str,
    variables: Mapping[str, str],
    *,
    collection: Collections = None,
    k: int | None = None,
    where: Where = EVERYTHING,
    retrieval: bool = True,
) -> Shown:
    """The prompt that a reference names, with these variables, for the model that the settings name.

    Where it takes a context and no value is given for it, passages are searched for by the variable
    ``question``; without ``retrieval`` the context is empty. Raises as :func:`api.prompts.library.find` and
    :meth:`rag.answer.Pipeline.render`.
    """
    model = services.settings.llm.model
    template = services.prompt(reference).for_model(model)
    question = variables.get("question", "")
    if retrieval and "context" in template.names and "context" not in variables:
        if not question:
            raise MissingVariables(
                f"prompt {template.name!r} takes passages, and nothing says what to search for: give "
                '--var question="…", --var context="…", or --no-retrieval',
                names=("question",),
            )
        found = services.render(
            question, collection=collection, k=k, where=where, prompt=template, variables=variables
        )
        return Shown(found.template, found.prompt, model, found.context, found.receipt)
    values: dict[str, Any] = dict(variables)
    if template.examples and VARIABLE not in values and question:
        chosen = ExampleSets(services)(template, question)
        values[VARIABLE] = [each.as_value() for each in chosen]
    empty = fit((), budget=0) if "context" not in values else None
    rendered = template.render(values, context=empty, count_tokens=services.count_tokens)
    return Shown(template, rendered, model, None, None)
