"""What is wrong with a prompt, as far as that can be told without a model: findings with a rule and a fix.

Some rules are certain (a variable that nothing uses), some go by the words that people use for a thing in
English and Spanish (that passages are material, and no instructions). What they get wrong is silenced in
the file, with intent: ``metadata.lint: {ignore: [rule]}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from rag.errors import PromptError
from rag.prompts.anatomy import instructions_of
from rag.prompts.lint import messages as says
from rag.prompts.lint.looked import CONTEXT, RULES, Finding, Looked, finding
from rag.prompts.template import PromptTemplate
from rag.prompts.twins import Twins
from rag.tokens import TokenCounter, estimate_tokens

FIXED_TOKENS = 1_500
"""Instructions above this cost more than most contexts, and small models lose their beginning."""
WINDOW_SHARE = 0.25
"""Share of the model's window that instructions may take."""
_TODO = re.compile(r"\bTODO\b(?=\s*[:(\[-]|\s*$)|\bFIXME\b|\bXXX+\b|\bTBD\b|\blorem ipsum\b")
_ASSIGNED = re.compile(
    r"\b(?:api[_-]?key|apikey|password|passwd|secret|access[_-]?token|contraseña)\b\s*[:=]\s*[\"']?"
    r"(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])([A-Za-z0-9+/_.~-]{8,})",
    re.IGNORECASE,
)


def refused(error: PromptError, source: str = "") -> Finding:
    """A file that could not even be read, as a finding. In ``source``, its text, an undefined variable is
    found by the line.

    >>> refused(PromptError("line 4: pasages used, but not declared under inputs")).rule
    'undefined-variable'
    """
    text = str(error)
    told = re.match(r"line (\d+): ", text)
    line = int(told[1]) if told else 0
    message = text[told.end() :] if told else text
    if undefined := re.match(r"(\w+).* used, but not declared under inputs", message):
        used = re.compile(rf"\{{[{{%][^}}]*\b{undefined[1]}\b")
        lines = enumerate(source.split("\n"), 1)
        line = next((number for number, each in lines if number >= line and used.search(each)), line)
        fix = "Declare it under inputs, or correct its name where it is used."
        return Finding("undefined-variable", "error", line, message, fix)
    fix = "Mend what the message names; until then nothing can use this prompt."
    return Finding("unreadable", "error", line, message, fix)


def lint(
    template: PromptTemplate,
    *,
    others: Twins | None = None,
    count_tokens: TokenCounter = estimate_tokens,
    window: int | None = None,
) -> tuple[Finding, ...]:
    """What is to be mended, by line. What the file ignores is not told.

    ``others`` are the prompts among which duplicates are looked for, by their
    :func:`~rag.prompts.anatomy.instructions_of`; ``window`` is what the model reads, in tokens.

    >>> prompt = PromptTemplate.parse("---\\nname: t\\ninputs: [{name: a}]\\n---\\nuser:\\nTODO: write this.")
    >>> [(finding.rule, finding.line) for finding in lint(prompt)][-2:]
    [('unused-variable', 3), ('todo-left', 6)]
    """
    looked = Looked(template, others, count_tokens, window)
    ignored = _ignored(template)
    found = [each for rule in _CHECKS for each in rule(looked) if each.rule not in ignored]
    return tuple(sorted(found, key=lambda each: (each.line, each.rule)))


def variants_of(template: PromptTemplate) -> dict[str, PromptTemplate]:
    """The variants of a prompt, by the path of their file."""
    return {path: template.for_model(pattern) for pattern, path in template.variants.items()}


def _ignored(template: PromptTemplate) -> frozenset[str]:
    about = template.metadata.get("lint")
    named = about.get("ignore", ()) if isinstance(about, Mapping) else ()
    return frozenset([named] if isinstance(named, str) else map(str, named or ()))


def _unknown_rules(looked: Looked) -> Iterator[Finding]:
    about = looked.template.metadata.get("lint")
    if about is not None and not (isinstance(about, Mapping) and set(about) <= {"ignore"}):
        yield finding(
            "unknown-rule",
            looked.line_of("lint"),
            "metadata.lint is not understood",
            "Write it as `lint: {ignore: [near-duplicate]}`.",
        )
    for name in sorted(_ignored(looked.template) - set(RULES)):
        yield finding(
            "unknown-rule",
            looked.line_of("lint"),
            f"there is no rule {name!r} to ignore",
            f"Name one of {', '.join(RULES)}.",
        )


def _unused(looked: Looked) -> Iterator[Finding]:
    template = looked.template
    if template.variant:
        return  # it takes the variables of its prompt, and need not use them all
    used = template.used.union(*(each.used for each in variants_of(template).values()))
    for name in template.names:
        if name not in used:
            yield finding(
                "unused-variable",
                looked.line_of(name),
                f"the variable {name} is declared and never used",
                f"Use {{{{ {name} }}}} in a message, or take it out of inputs.",
            )


def _large(looked: Looked) -> Iterator[Finding]:
    tokens = looked.count_tokens(looked.text)
    budget = looked.template.context_budget
    limits = [(FIXED_TOKENS, f"more than {FIXED_TOKENS:,}, which small models do not follow to the end")]
    if looked.window:
        share = int(looked.window * WINDOW_SHARE)
        limits.append((share, f"more than a quarter of the model's window of {looked.window:,}"))
    if budget and looked.puts(CONTEXT):
        limits.append((budget, f"more than the {budget:,} of context that they are for"))
    for limit, told in limits:
        if tokens > limit:
            yield finding(
                "large-fixed-part",
                looked.messages[0].line,
                f"the instructions take about {tokens:,} tokens, {told}",
                "Take out what the model does without, or give examples by similarity (metadata.examples).",
            )
            return


def _duplicates(looked: Looked) -> Iterator[Finding]:
    if looked.others is None:
        return
    template = looked.template
    variants = set(template.variants.values())  # they say the same, and should
    twins = [
        twin
        for twin in looked.others.of(instructions_of(template.source), but=template.name)
        if f"{twin.name}.prompty" not in variants
    ]
    if twins:
        more = f", and nearly as much as {len(twins) - 1} more" if len(twins) > 1 else ""
        yield finding(
            "near-duplicate",
            0,
            f"it is {twins[0].likeness:.0%} the same as {twins[0].name}{more}",
            "Keep one and give it a variable for the difference, or share a part by an include.",
        )


def _described(looked: Looked) -> Iterator[Finding]:
    if not looked.template.description.strip():
        yield finding(
            "missing-description",
            looked.line_of("description"),
            "there is no description, so nobody will find this prompt",
            "Add `description:`, one sentence that says what it is for.",
        )
    if not looked.template.metadata.get("category"):
        yield finding(
            "missing-category",
            looked.line_of("category"),
            "there is no category",
            "Add `category:` under metadata, such as summary or classification.",
        )


def _lines(looked: Looked) -> Iterator[Finding]:
    yield from _left(looked.template.source)
    apart = set(looked.template.variants.values())  # linted by themselves
    for path, text in looked.template.parts.items() if not looked.template.variant else ():
        for each in _left(text) if path not in apart else ():
            yield replace(each, line=0, message=f"{path}, line {each.line}: {each.message}")


def _left(text: str) -> Iterator[Finding]:
    """What should not have been left in a file."""
    from rag.redact import redacted

    for number, line in enumerate(text.split("\n"), 1):
        if match := _TODO.search(line):
            yield finding(
                "todo-left", number, f"{match[0]} is left", "Write what is missing, or take it out."
            )
        if redacted(line, ()) != line or _ASSIGNED.search(line):
            # What it is stays unsaid: findings are printed in logs that others read.
            yield finding(
                "secret",
                number,
                "this looks like a key or a password",
                "Take it out and have it replaced, for the file's history keeps it; keys come from the "
                "environment.",
            )


_CHECKS: tuple[Callable[[Looked], Iterator[Finding]], ...] = (
    *(_unknown_rules, _unused, says.value_in_system, says.unfenced, says.not_found, says.roles),
    *(says.language, says.unbounded, _large, _duplicates, _described, _lines),
)
