"""Prompts from other formats and into them: the same messages for the same values, and every loss told."""

from __future__ import annotations

import contextlib
import json
import time
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag.errors import InvalidTemplate, PromptError
from rag.prompts import PromptTemplate, load, names
from rag.prompts.exchange import FORMATS, exported, format_of, imported
from rag.prompts.filling import Filling
from rag.prompts.testing.suite import read_suite
from rag.types import clean_text

ROUND = [name for name in FORMATS if name != "prompty"]

SHARDS = [
    "{",
    "}",
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "\\",
    "\\\\",
    "{{a}}",
    "{{ a }}",
    "{a}",
    "{{#if a}}",
    "{{/if}}",
]
SHARDS += [
    "\n",
    "\n\n",
    " ",
    "\t",
    "user:",
    "system:\n",
    "\nassistant:\n",
    "# system:",
    "---",
    "<<<",
    '"',
    "'",
    "`",
    "~",
    "!",
]
SHARDS += [
    "é",
    "日本",
    "🎺",
    "{{{",
    "}}}",
    "{{{{",
    "{{!",
    "{{>",
    "{{else}}",
    "<b>&",
    "$x",
    "[1]",
    "x",
    "role",
    "a: b",
    "%",
    "#",
]
text = st.lists(st.sampled_from(SHARDS) | st.text(st.characters(codec="utf-8"), max_size=6), max_size=8).map(
    lambda each: clean_text("".join(each))
)


def messages(template: PromptTemplate, values: dict) -> list[tuple[str, str]]:
    return [(each.role, each.content) for each in template.render(values).messages]


def put_in(template: PromptTemplate, values: dict) -> dict:
    """What values become before they are put in."""
    return Filling(template.name, template.inputs, (), frozenset()).values(values)


def prompt(*turns: tuple[str, list], inputs: str = "[{name: a}, {name: b}]") -> PromptTemplate:
    """A prompt of texts and variables, its texts escaped by the exchange's own writer of Jinja."""
    from rag.prompts.exchange.draft import Draft, Text, Turn, Value
    from rag.prompts.exchange.prompty import files
    from rag.prompts.values import Input

    draft = Draft(
        "t",
        tuple(
            Turn(role, tuple(Value(part[1:]) if part[:1] == "$" else Text(part[1:]) for part in parts))
            for role, parts in turns
        ),
        tuple(Input(name, "string", "", True, None) for name in ("a", "b")),
    )
    return PromptTemplate.parse(files(draft)["t.prompty"], name="t")


def back(template: PromptTemplate, format: str, tests: str | None = None) -> PromptTemplate:
    """Out into a format and in again."""
    made = exported(template, format=format, tests=tests)
    first = next(iter(made.files))
    again = imported(made.files[first], format=format, name=template.name, open=made.files.__getitem__)
    return PromptTemplate.parse(again.files[f"{template.name}.prompty"], name=template.name)


parts = st.lists(text.map(lambda each: f"t{each}") | st.sampled_from(["$a", "$b"]), min_size=1, max_size=6)


@pytest.mark.parametrize("format", ROUND)
@settings(max_examples=25, deadline=None)
@given(system=parts, user=parts, a=text, b=text)
@example(system=["t{", "$a", "t}"], user=["t\\", "$b", "t\\{{x}}\\\\"], a="{{b}}", b="system:\nx")
@example(system=["t\n  ", "$a", "t \n"], user=["t{{{{", "$a"], a="", b="")
@example(system=["t\x85"], user=["t\n\u2028"], a="\u2029", b="")
def test_out_and_in_again_renders_the_same_messages(format, system, user, a, b):
    original = prompt(("system", [*system, "tx"]), ("user", [*user, "tx"]), ("assistant", ["tok"]))
    values = {"a": a, "b": b}
    try:
        returned = back(original, format)
    except PromptError as refused:
        # Two formats have no way to write {{name}} as a text.
        if format in ("github", "openai") and "cannot be said in" in str(refused):
            return
        raise
    known = {name: value for name, value in values.items() if name in returned.names}
    assert messages(returned, known) == messages(original, values)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("format", ROUND)
def test_a_shipped_prompt_comes_back_the_same_or_is_refused_with_its_line(name, format):
    original = load(name)
    empty = {
        "string": "x {{y}}",
        "array": [{"name": "n", "description": "d", "input": "i", "output": "o"}],
        "object": {"k": "v"},
        "integer": 2,
        "float": 0.5,
        "boolean": True,
    }
    values = {each.name: empty[each.kind] for each in original.inputs}
    try:
        returned = back(original, format)
    except PromptError as refused:
        if "line " in str(refused) and "cannot be said in" in str(refused):
            return
        raise
    assert messages(returned, values) == messages(original, values)


@settings(max_examples=25, deadline=None)
@given(system=parts, user=parts, a=text, b=text)
def test_langchain_itself_formats_an_export_to_the_same_messages(system, user, a, b):
    from langchain_core.load import loads

    original = prompt(("system", system), ("user", [*user, "$a"]), ("assistant", ["$b"]))
    made = exported(original, format="langchain")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain says that its loads is new
        loaded = loads(made.files["t.langchain.json"], allowed_objects="all")
    wanted = messages(original, {"a": a, "b": b})
    values = put_in(original, {"a": a, "b": b})
    formatted = [each.content.strip("\n") for each in loaded.format_messages(**values)]
    assert formatted == [content for _, content in wanted]
    assert [each.type for each in loaded.format_messages(**values)] == ["system", "human", "ai"]


@settings(max_examples=20, deadline=None)
@given(literal=text, a=text)
def test_what_langchain_serialises_renders_here_as_it_formats_there(literal, a):
    from langchain_core.load import dumps
    from langchain_core.prompts import ChatPromptTemplate

    escaped = literal.replace("{", "{{").replace("}", "}}")
    theirs = ChatPromptTemplate.from_messages(
        [("system", f"x{escaped}"), ("human", f"{escaped}{{a}}{escaped}.")]
    )
    made = imported(dumps(theirs), format="langchain", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    value = put_in(ours, {"a": a})["a"]
    expected = [str(each.content) for each in theirs.format_messages(a=value)]
    assert [content for _, content in messages(ours, {"a": a})] == [each.strip("\n") for each in expected]


def test_langchains_three_languages_say_the_same():
    from langchain_core.load import dumps
    from langchain_core.prompts import ChatPromptTemplate

    texts = {
        "f-string": "Hi {who}, {{x}}",
        "mustache": "Hi {{{who}}}, {x}",
        "jinja2": "Hi {{ who }}, {x}",
    }
    for format, body in texts.items():
        theirs = ChatPromptTemplate.from_messages([("human", body)], template_format=format)
        made = imported(dumps(theirs), format="langchain", name="t")
        ours = PromptTemplate.parse(made.files["t.prompty"])
        assert messages(ours, {"who": "<Ana>"}) == [("user", theirs.format_messages(who="<Ana>")[0].content)]


def test_mustaches_sections_are_conditions_and_loops():
    from langchain_core.load import dumps
    from langchain_core.prompts import ChatPromptTemplate

    body = "{{^q}}No question.\n{{/q}}{{#xs}}\n- {{{.}}}\n{{/xs}}\n{{#q}}Q: {{{q}}}{{/q}}"
    theirs = ChatPromptTemplate.from_messages([("human", body)], template_format="mustache")
    made = imported(dumps(theirs), format="langchain", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    for values in ({"q": "why", "xs": ["a", "b"]}, {"q": "", "xs": []}):
        assert messages(ours, values)[0][1] == theirs.format_messages(**values)[0].content.strip("\n")
    assert any("condition" in line for line in made.lost)


def test_what_langchain_has_and_a_prompt_here_has_not_is_told_or_refused():
    from langchain_core.load import dumps
    from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

    theirs = ChatPromptTemplate.from_messages(
        [
            ("system", "Be {tone}."),
            MessagesPlaceholder("history"),
            ("human", [{"type": "text", "text": "{q}"}, {"type": "image_url", "image_url": "{u}"}]),
        ]
    ).partial(tone="kind")
    made = imported(dumps(theirs), format="langchain", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    assert messages(ours, {"q": "?"}) == [("system", "Be kind."), ("user", "?")]
    assert any("history" in line for line in made.lost)
    assert any("ImagePromptTemplate" in line for line in made.lost)
    for bad in ("{q!r}", "{q:>10}"):
        data = {"lc": 1, "type": "constructor", "id": ["PromptTemplate"], "kwargs": {"template": bad}}
        with pytest.raises(InvalidTemplate, match="not taken over"):
            imported(json.dumps(data), format="langchain", name="t")
    evil = {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "true"}}
    with pytest.raises(InvalidTemplate, match="system is not taken over"):
        imported(json.dumps(evil), format="langchain", name="t")


DOTPROMPT = """---
# a comment
name: greeting
model: googleai/gemini-1.5-flash
config:
  temperature: 0.9
input:
  schema:
    place: string, where
    style?: string
    names(array, who comes): string
    open: boolean
  default:
    place: a bar
output:
  format: json
  schema:
    greeting: string, what to say
---
{{! nobody reads this }}
{{role "system"}}
You work at {{place}}. \\{{place}} stays. Open: {{open}}

{{#if style}}
In the style of {{style}}.
{{else}}
Plainly.
{{/if}}
{{role "user"}}
{{#each names}}
{{@index}}: {{this}} ({{../style}}){{#unless @last}},{{/unless}}
{{/each}}
{{role "model"}}
Hm.
"""


def test_a_dotprompt_file_is_taken_over_whole():
    made = imported(DOTPROMPT, format="dotprompt", name="greet")
    ours = PromptTemplate.parse(made.files["greet.prompty"])
    assert messages(ours, {"names": ["Ana", "Leo"], "open": True, "style": "a pirate"}) == [
        ("system", "You work at a bar. {{place}} stays. Open: true\n\nIn the style of a pirate."),
        ("user", "0: Ana (a pirate),\n1: Leo (a pirate)"),
        ("assistant", "Hm."),
    ]
    assert messages(ours, {"names": [], "open": False})[0][1].endswith("Open: false\n\nPlainly.")
    assert ours.model["options"] == {"temperature": 0.9}
    assert [each.kind for each in ours.inputs] == ["string", "string", "array", "boolean"]
    assert made.lost == ("output.format json: say in the prompt what form the answer takes",)
    again = back(ours, "dotprompt")
    values = {"names": ["Ana", "Leo"], "open": True, "style": ""}
    assert messages(again, values) == messages(ours, values)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a\n{{#if x}}\nb\n{{/if}}\nc", "a\nb\nc"),
        ("a {{#if x}} b {{/if}} c", "a  b  c"),
        ("a\n  {{#if x}}  \n  b\n  {{/if}}\nc", "a\n  b\nc"),
        ("a {{~#if x~}} b {{~/if~}} c", "abc"),
        ("{{#if y}}\n1\n{{else if x}}\n2\n{{else}}\n3\n{{/if}}\n4", "2\n4"),
        ("{{#unless y}}no{{/unless}}", "no"),
        ("\\{{x}} {{x}} \\\\{{x}}", "{{x}} X \\X"),
        ("{{!-- {{x}} --}}{{{x}}}{{&x}}", "XX"),
        ("a\n{{! alone }}\nb", "a\nb"),
        ("{{this.x}}{{[x]}}", "XX"),
        ("{{#ifEquals x 'X'}}same{{/ifEquals}}{{#unlessEquals x \"X\"}}other{{/unlessEquals}}", "same"),
        ("{{#if x}}\n\n{{else}}\n{{/if}}|", "\n|"),
        ("{{x~}}   }", "X}"),
    ],
)
def test_handlebars_whitespace_and_escapes_are_as_handlebars_has_them(body, expected):
    made = imported(f"s\n{body}\ne", format="dotprompt", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    values = {each.name: {"x": "X", "y": ""}[each.name] for each in ours.inputs}
    assert messages(ours, values) == [("user", f"s\n{expected}\ne")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{{> part}}", "line 1: the partial"),
        ("a\n{{shout x}}", "line 2: the helper"),
        ("a\n\n{{#with x}}{{/with}}", "line 3: {{#with x}} is not taken over"),
        ("{{#if x}}", "never closed"),
        ("{{/if}}", "closes nothing"),
        ("{{#if x}}{{/each}}", "closes {{#if}}"),
        ("{{x}}}", "not a Handlebars tag"),
        ("{{{{raw}}}}{{{{/raw}}}}", "raw blocks"),
        ("{{#if x}}{{role 'user'}}{{/if}}", "within a block"),
        ("{{role 'tool'}}x", "the role 'tool'"),
        ("{{@root.x}}", "@root.x is not taken over"),
        ("{{this}}", "name one"),
        ("{{../x}}", "not taken over"),
        ("{{x", "not a Handlebars tag"),
        ("{{#if x}}" * 60 + "{{/if}}" * 60, "50 deep"),
        ("   \n", "no message"),
    ],
)
def test_what_is_not_taken_over_from_handlebars_is_refused_with_its_line(body, told):
    with pytest.raises(InvalidTemplate) as caught:
        imported(body, format="dotprompt", name="t")
    assert told in str(caught.value)


def test_history_media_and_sections_are_told():
    body = '{{role "system"}}a{{history}}b{{media url=u}}{{section "code"}}'
    made = imported(body, format="dotprompt", name="t")
    assert [line.split("{{")[1].split("}}")[0] for line in made.lost] == [
        "history",
        "media",
        'section "code"',
    ]
    assert messages(PromptTemplate.parse(made.files["t.prompty"]), {}) == [
        ("system", "a"),
        ("assistant", "b"),
    ]


def test_names_that_are_none_here_are_changed_and_told():
    made = imported("{{user-name}} {{[first name]}} {{if_}} {{loop}}", format="dotprompt", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    assert ours.names == ("user_name", "first_name", "if_", "loop_")
    assert "the variable 'user-name' is called user_name here" in made.lost


GITHUB = """name: Text Summarizer
description: Summarizes input text concisely
model: openai/gpt-4o-mini
modelParameters: {temperature: 0.5, maxTokens: 100}
responseFormat: text
messages:
  - role: system
    content: You are a text summarizer. {% not jinja %} {{ input }}
  - role: user
    content: |
      Summarize, beginning with "Summary -":
      <text>
      {{input}}
      </text>
testData:
  - input: |
      The quick brown fox.
    expected: Summary - A fox.
evaluators:
  - name: starts
    string: {startsWith: 'Summary -'}
  - name: alike
    uses: github/similarity
  - name: ends
    string: {endsWith: '.'}
"""


def test_a_prompt_of_github_is_taken_over_with_its_tests():
    made = imported(GITHUB, format="github", name="sum")
    ours = PromptTemplate.parse(made.files["sum.prompty"])
    assert messages(ours, {"input": "x"}) == [
        ("system", "You are a text summarizer. {% not jinja %} {{ input }}"),
        ("user", 'Summarize, beginning with "Summary -":\n<text>\nx\n</text>'),
    ]
    assert ours.model == {"id": "openai/gpt-4o-mini", "options": {"temperature": 0.5, "maxOutputTokens": 100}}
    [case] = read_suite(made.files["sum.tests.yaml"], name="t").cases
    assert case.vars == {"input": "The quick brown fox.\n"}
    assert [(each.type, each.value) for each in case.assertions] == [
        ("starts-with", "Summary -"),
        ("similar", ["Summary - A fox."]),
    ]
    told = "\n".join(made.lost)
    assert "responseFormat" in told
    assert "{{ input }} stays text" in told
    assert "'ends': nothing here checks this" in told


def test_tests_that_all_assert_the_same_become_evaluators():
    tests = """tests:
- vars: {a: one, b: "1"}
  assert: [{type: icontains, value: x}, {type: cites}]
- vars: {a: two, b: "2"}
  assert: [{type: icontains, value: x}, {type: cites}]
"""
    original = prompt(("user", ["$a", "$b"]))
    made = exported(original, format="github", tests=tests)
    again = imported(made.files["t.prompt.yml"], format="github", name="t")
    cases = read_suite(again.files["t.tests.yaml"], name="t").cases
    assert [dict(case.vars) for case in cases] == [{"a": "one", "b": "1"}, {"a": "two", "b": "2"}]
    assert [each.value for each in cases[0].assertions] == ["x"]
    assert any("cites" in line for line in made.lost)


PROMPTFOO = """description: translations
prompts:
  - 'Translate to {{language}}: {{text}}{% if tone %} ({{ tone }}){% endif %}'
  - file://chat.json
  - {id: file://two.txt, label: Two}
  - file://make.py
providers: [openai:gpt-5-mini, anthropic:claude]
defaultTest:
  assert: [{type: not-contains, value: sorry}]
tests:
  - vars: {language: French, text: Hello}
    assert: [{type: icontains, value: bonjour}, {type: javascript, value: output.length < 100}]
  - file://more.yaml
"""


def test_a_promptfoo_configuration_becomes_prompts_with_tests():
    files = {
        "chat.json": json.dumps(
            [{"role": "system", "content": "Translate."}, {"role": "user", "content": "{{text}}"}]
        ),
        "two.txt": "One {{text}}\n---\nTwo {{text}}\n",
        "more.yaml": "- vars: {language: es, text: Bye}\n",
    }
    made = imported(PROMPTFOO, format="promptfoo", name="tr", open=files.__getitem__)
    assert sorted(made.files) == [
        *("chat.prompty", "chat.tests.yaml", "tr-1.prompty", "tr-1.tests.yaml"),
        *("two-1.prompty", "two-1.tests.yaml", "two-2.prompty", "two-2.tests.yaml"),
    ]
    first = PromptTemplate.parse(made.files["tr-1.prompty"])
    assert messages(first, {"language": "es", "text": "x"}) == [("user", "Translate to es: x")]
    assert messages(first, {"language": "es", "text": "x", "tone": "y"}) == [
        ("user", "Translate to es: x (y)")
    ]
    chat = PromptTemplate.parse(made.files["chat.prompty"])
    assert messages(chat, {"text": "x"}) == [("system", "Translate."), ("user", "x")]
    assert len(read_suite(made.files["chat.tests.yaml"], name="t").cases) == 2
    told = "\n".join(made.lost)
    assert "make.py" in told
    assert "anthropic:claude" in told


def test_tests_go_out_to_promptfoo_without_what_only_we_know():
    tests = """tests:
- description: one
  vars: {a: one, b: x}
  context: [a passage, {title: T, text: another}]
  assert: [{type: contains, value: one}, {type: cites}]
"""
    made = exported(prompt(("user", ["$a", "$b"])), format="promptfoo", tests=tests)
    config = made.files["t.promptfooconfig.yaml"]
    assert "cites" not in config
    assert "a passage" in config
    assert any("cites" in line for line in made.lost)
    assert any("fences" in line for line in made.lost)
    assert json.loads(made.files["t.chat.json"]) == [{"role": "user", "content": "{{ a }}{{ b }}"}]


def test_messages_of_openai_keep_model_and_options():
    request = {
        "model": "gpt-5-mini",
        "temperature": 0,
        "stop": "END",
        "tools": [],
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be {{tone}}."}]},
            {"role": "user", "content": "user:\n{{q}} {% \ud800"},
        ],
    }
    made = imported(json.dumps(request), format="openai", name="t")
    ours = PromptTemplate.parse(made.files["t.prompty"])
    assert messages(ours, {"tone": "kind", "q": "?"}) == [
        ("system", "Be kind."),
        ("user", "user:\n? {% \ufffd"),
    ]
    assert ours.model == {"id": "gpt-5-mini", "options": {"temperature": 0, "stopSequences": ["END"]}}
    assert made.lost == ("tools: []",)
    again = json.loads(exported(ours, format="openai").files["t.messages.json"])
    assert (again["model"], again["stop"]) == ("gpt-5-mini", ["END"])


def test_an_export_puts_what_is_included_in_its_place():
    parts = {"_core/rules.md": "Be {{ tone }}.\n{% include './more.md' %}\n", "_core/more.md": "Cite {x}.\n"}
    source = "---\nname: t\ninputs: [{name: tone}]\n---\nuser:\n{% include '_core/rules.md' %}\nGo.\n"
    original = PromptTemplate.parse(source, name="t", read=parts.__getitem__)
    for format in ROUND:
        assert messages(back(original, format), {"tone": "kind"}) == [("user", "Be kind.\nCite {x}.\nGo.")]
    assert exported(original, format="prompty").files == {"t.prompty": source, **parts}


def test_variants_examples_and_metadata_that_cannot_go_along_are_told():
    front = "name: t\nmetadata: {tags: [x], category: c}\ninputs: [{name: n, kind: integer, default: 3}]"
    source = f"---\n{front}\n---\nuser:\n{{{{ n }}}}\n"
    template = PromptTemplate.parse(source, name="t")
    told = exported(template, format="github").lost
    assert "the metadata: tags, category" in told
    assert "the default of n: 3" in told
    assert exported(template, format="dotprompt").lost == ()


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("a\n{{ a | upper }}", 6),
        ("{% if a and b %}x{% endif %}", 5),
        ("\n\n{% for k, v in a | items %}x{% endfor %}", 7),
    ],
)
def test_what_handlebars_cannot_say_is_refused_with_its_line(body, line):
    source = f"---\nname: t\ninputs: [{{name: a}}, {{name: b, required: false}}]\n---\nuser:\n{body}\n"
    source = source.replace("user:\n", "user:\n", 1)
    template = PromptTemplate.parse(source, name="t")
    with pytest.raises(PromptError, match=rf"line {line + 1}: .* cannot be said in Handlebars"):
        exported(template, format="dotprompt")


@pytest.mark.parametrize(
    ("format", "content", "told"),
    [
        ("github", "a: [", "not YAML"),
        ("github", "name: x\n", "no messages"),
        ("github", "messages: [{role: tool, content: x}]\n", "the role 'tool'"),
        ("github", "messages: [{role: user, content: !!python/object:os.system x}]\n", "tag"),
        ("openai", "{", "line 1: not JSON"),
        ("openai", "[" * 100_000, "not JSON"),
        ("openai", "[3]", "message 1"),
        ("langchain", "[]", "not a serialised prompt"),
        ("promptfoo", "prompts: []", "no prompt"),
        ("promptfoo", "prompts: ['{% set x = 1 %}']", "line 1: {% set %} is not allowed"),
        ("promptfoo", "prompts: ['file://../secret.txt']", "cannot be read from here"),
        ("dotprompt", "---\na: [\n---\nx", "line "),
        ("dotprompt", "x" * 1_000_001, "the limit is"),
        (
            "github",
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
            ),
            "more than",
        ),
        ("yaml", "", "there is no format"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused_with_a_reason(format, content, told):
    with pytest.raises(PromptError) as caught:
        imported(content, format=format, name="t")
    assert told in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(body=text)
def test_any_dotprompt_body_is_read_or_refused_and_never_breaks(body):
    try:
        made = imported(body, format="dotprompt", name="t")
    except PromptError:
        return
    assert PromptTemplate.parse(made.files["t.prompty"]).name == "t"


def test_the_format_is_told_by_name_and_content():
    assert format_of("x/promptfooconfig.yaml", "prompts: []") == "promptfoo"
    assert format_of("x.yaml", "name: a\nmessages: []\n") == "github"
    assert format_of("x.json", "[]") == "openai"
    with pytest.raises(PromptError, match="name one of dotprompt"):
        format_of("x.txt", "")


@pytest.mark.parametrize("format", ["dotprompt", "openai", "langchain", "mustache", "jinja2"])
@pytest.mark.parametrize(
    "unit",
    [
        "{{",
        "{{x}}",
        "{{#if x}}{{/if}}",
        "{{#x}}",
        "{",
        "\\",
        "\\{{",
        "\n",
        " ",
        "{{!",
        "{{ [",
        "{% if x %}",
        "user:\n",
    ],
)
def test_a_file_made_to_be_slow_is_read_or_refused_at_once(format, unit):
    body = unit * (40_000 // len(unit)) + "x"
    content = body
    if format == "openai":
        content = json.dumps([{"role": "user", "content": body}])
    elif format != "dotprompt":
        kwargs = {"template": body, "template_format": format if format != "langchain" else "f-string"}
        content = json.dumps({"lc": 1, "type": "constructor", "id": ["PromptTemplate"], "kwargs": kwargs})
    started = time.process_time()
    with contextlib.suppress(PromptError):
        imported(content, format=format if format in FORMATS else "langchain", name="t")
    assert time.process_time() - started < 3
