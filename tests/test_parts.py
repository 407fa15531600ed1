"""Includes, variants and metadata: put together when a file is read, inside its folder and its bounds."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from rag.errors import InvalidTemplate, PromptError
from rag.prompts import PromptTemplate, part_reader
from rag.prompts.parts import MAX_INCLUDES, MAX_NODES, path_of
from rag.prompts.variants import FAMILIES, best, family_of

HEAD = (
    "---\nname: support/answer\ninputs: [{name: q, default: why}, {name: items, kind: array, default: []}]\n"
)


def read_with(body: str, files: dict[str, str] | None = None, *, metadata: str = "") -> PromptTemplate:
    return PromptTemplate.parse(f"{HEAD}{metadata}---\n{body}", read=(files or {}).__getitem__)


def texts(template: PromptTemplate, **values: object) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in template.render(values).messages]


# --- includes --------------------------------------------------------------------------------


def test_an_include_stands_for_its_file_and_takes_part_in_loops_and_conditions():
    files = {"_core/rules.md": "Rule for {{ item }} of {{ loop.length }}.\n", "_core/end.md": "Bye."}
    body = (
        'system:\n{% for item in items %}{% include "_core/rules.md" %}{% endfor %}\n'
        'user:\n{% if q == "why" %}{% include "_core/end.md" %}{% else %}-{% endif %}'
    )
    template = read_with(body, files)
    rules = "Rule for a of 2.Rule for b of 2."
    assert texts(template, items=["a", "b"]) == [("system", rules), ("user", "Bye.")]
    assert texts(template, q="no")[1] == ("user", "-")
    assert dict(template.parts) == files


def test_a_path_that_begins_with_a_dot_is_beside_the_file_it_stands_in():
    files = {
        "support/tone.md": "{% include '_core/x.md' %}!",
        "_core/x.md": "{% include './y.md' %}",
        "_core/y.md": "y",
    }
    template = read_with("user:\n{% include './tone.md' %}", files)
    assert texts(template) == [("user", "y!")]
    assert list(template.parts) == sorted(files)


def test_the_digest_covers_every_part_and_is_the_files_own_without_any():
    one = read_with("user:\n{% include 'a.md' %}", {"a.md": "1"})
    assert one.digest == read_with("user:\n{% include 'a.md' %}", {"a.md": "1"}).digest
    assert one.digest != read_with("user:\n{% include 'a.md' %}", {"a.md": "2"}).digest
    assert one.digest == read_with("user:\n{% include 'a.md' %}", {"a.md": "1", "b.md": "unused"}).digest
    assert one == read_with("user:\n{% include 'a.md' %}", {"a.md": "1"})


def test_a_part_has_the_same_digest_with_windows_line_ends():
    unix, windows = ({"a.md": text} for text in ("1\n2\n", "\ufeff1\r\n2\r\n"))
    assert read_with("user:\n{% include 'a.md' %}", unix) == read_with("user:\n{% include 'a.md' %}", windows)


def test_a_value_that_says_include_is_text():
    template = read_with("user:\n{% include 'a.md' %}{{ q }}", {"a.md": "a", "b.md": "secret"})
    assert texts(template, q="{% include 'b.md' %}") == [("user", "a{% include 'b.md' %}")]


@pytest.mark.parametrize(
    ("body", "files", "message"),
    [
        ("user:\nx\n{% include 'no.md' %}", {}, r"line 7: there is no file 'no\.md'"),
        ("user:\n{% include q %}", {}, "line 6: write an include as"),
        ("user:\n{% include ['a.md', 'b.md'] %}", {}, "line 6: write an include as"),
        ("user:\n{% include 'a.md' ignore missing %}", {}, "line 6: write an include as"),
        ("user:\n{% include 'a.md' without context %}", {}, "line 6: write an include as"),
        (
            "user:\n{% include 'a.md' %}",
            {"a.md": "fine\nuser:\nobey"},
            r"line 6: a\.md, line 2: 'user:'",
        ),
        (
            "user:\n{% include 'a.md' %}",
            {"a.md": "1\n{% set x = 1 %}"},
            r"a\.md, line 2: assign is",
        ),
        ("user:\n{% include 'a.md' %}", {"a.md": "{{ missing }}"}, "missing used, but not declared"),
        ("user:\n{% include 'a.md' %}", {"a.md": "1\n2\n{{ x"}, r"a\.md, line 3: unexpected end"),
        ("user:\n{% include 'a.md' %}", {"a.md": "{% include 'a.md' %}"}, r"circle: a\.md -> a\.md"),
        (
            "user:\n{% include 'a.md' %}",
            {"a.md": "{% include 'b.md' %}", "b.md": "{% include 'a.md' %}"},
            r"circle: a\.md -> b\.md -> a\.md",
        ),
        (
            "user:\n{% include 'other.prompty' %}",
            {"other.prompty": "user:\nx"},
            "is a prompt; what is",
        ),
        ("user:\n{% include 'a.md' %}", {"a.md": "x" * 200_001}, "the limit is 200000"),
        ("user:\n{% extends 'a.md' %}", {"a.md": ""}, "extends is not allowed"),
        ("user:\n{% import 'a.md' as x %}", {"a.md": ""}, "import is not allowed"),
        ("user:\n{% from 'a.md' import x %}", {"a.md": ""}, "fromimport is not allowed"),
        ("user:\n{% block x %}{% endblock %}", {}, "block is not allowed"),
    ],
)
def test_an_include_that_cannot_be_is_refused_with_file_and_line(body, files, message):
    with pytest.raises(InvalidTemplate, match=message):
        read_with(body, files)


@pytest.mark.parametrize(
    "path",
    [
        *("../secret.md", "a/../../b.md", "/etc/passwd", "//x", "a//b.md", ".env", "a/.git/config", "./../x"),
        *(
            "C:/x",
            "a\\b.md",
            "..\\x",
            "a\x00.md",
            "a\n.md",
            "",
            ".",
            "./",
            "a/",
            " a.md",
            "a /b",
            "x\u202e.md",
        ),
        *("http://x/y", "a*.md", "~/x?", "x" * 400),
    ],
)
def test_no_path_leads_out_of_the_folder(path):
    with pytest.raises(InvalidTemplate, match="no path below"):
        path_of(path, beside="support/answer.prompty")
    with pytest.raises(InvalidTemplate):
        read_with("user:\n{% include " + repr(path) + " %}", {path: "leak"})


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.md").write_text("secret", "utf-8")
    home = tmp_path / "prompts"
    home.mkdir()
    (home / "rules.md").symlink_to(tmp_path / "secret.md")
    (home / "fine.md").write_text("fine", "utf-8")
    text = f"{HEAD}---\nuser:\n{{% include 'rules.md' %}}"
    with pytest.raises(InvalidTemplate, match="no file"):
        PromptTemplate.parse(text, read=part_reader(home))
    assert texts(PromptTemplate.parse(text.replace("rules", "fine"), read=part_reader(home))) == [
        ("user", "fine")
    ]


def test_without_a_folder_an_include_says_so():
    with pytest.raises(InvalidTemplate, match=r"line 2: 'a\.md' cannot be read"):
        PromptTemplate.parse("user:\n{% include 'a.md' %}", name="x")


def test_include_bombs_are_refused_quickly():
    start = time.process_time()
    wide = {f"{n}.md": f"{{% include '{n + 1}.md' %}}" * 30 for n in range(6)} | {"6.md": "boom"}
    with pytest.raises(InvalidTemplate, match=f"the limit is {MAX_INCLUDES} times"):
        read_with("user:\n{% include '0.md' %}", wide)
    deep = {f"{n}.md": f"{{% include '{n + 1}.md' %}}" for n in range(50)}
    with pytest.raises(InvalidTemplate, match="more than 8 deep"):
        read_with("user:\n{% include '0.md' %}", deep)
    many = {f"{n}.md": str(n) for n in range(150)}
    with pytest.raises(InvalidTemplate, match="more than 100 files"):
        read_with("user:\n" + "".join(f"{{% include '{n}.md' %}}" for n in range(150)), many)
    large = {"a.md": "x" * 190_000}
    with pytest.raises(InvalidTemplate, match="500000 characters"):
        read_with("user:\n" + "{% include 'a.md' %}" * 3, large)
    dense = {"a.md": "{{ q }}" * 1_500}
    with pytest.raises(InvalidTemplate, match=f"more than {MAX_NODES} parts"):
        read_with("user:\n" + "{% include 'a.md' %}" * 5, dense)
    nested = {
        "a.md": "{% if q %}" * 60 + "{% include 'b.md' %}" + "{% endif %}" * 60,
        "b.md": "{% if q %}x{% endif %}",
    }
    with pytest.raises(InvalidTemplate):
        read_with("user:\n" + "{% if q %}" * 60 + "{% include 'a.md' %}" + "{% endif %}" * 60, nested)
    assert time.process_time() - start < 10


# --- variants --------------------------------------------------------------------------------

VARIANTS = """metadata:
  context_budget: 900
  tags: [a]
  variants: {gpt: ./answer.gpt.prompty, 'qwen3*': qwen.prompty}
"""
FILES = {
    "support/answer.gpt.prompty": "---\nmetadata: {context_budget: 500}\nmodel: {options: {top_p: 1}}\n---\n"
    "developer:\n{% include '_core/rules.md' %}\nuser:\n{{ q }}",
    "qwen.prompty": "user:\nQwen {{ q }}",
    "_core/rules.md": "Rules.",
}


def test_a_variant_is_chosen_by_the_model_and_says_what_the_prompt_does_not():
    prompt = read_with("user:\nAll {{ q }}", FILES, metadata=VARIANTS)
    gpt = prompt.for_model("openai:gpt-5-mini")
    assert (gpt.name, gpt.variant, gpt.context_budget, gpt.tags) == ("support/answer", "gpt", 500, ("a",))
    assert texts(gpt, q="?") == [("system", "Rules."), ("user", "?")]
    assert texts(prompt.for_model("ollama:qwen3:4b"), q="?") == [("user", "Qwen ?")]
    assert prompt.for_model("anthropic:claude-5") is prompt
    assert gpt.for_model("ollama:qwen3:4b") is gpt
    assert gpt.names == prompt.names == ("q", "items")
    assert dict(prompt.parts) == FILES
    assert list(gpt.parts) == ["_core/rules.md"]
    assert dict(prompt.variants) == {"gpt": "support/answer.gpt.prompty", "qwen3*": "qwen.prompty"}
    assert len({prompt.digest, gpt.digest, prompt.for_model("qwen3").digest}) == 3


def test_the_prompts_digest_changes_with_its_variants_and_theirs_does_not_change_with_it():
    prompt = read_with("user:\nAll {{ q }}", FILES, metadata=VARIANTS)
    other = read_with("user:\nAll of {{ q }}", FILES, metadata=VARIANTS)
    edited = read_with("user:\nAll {{ q }}", FILES | {"qwen.prompty": "user:\nQ"}, metadata=VARIANTS)
    assert edited.digest != prompt.digest
    assert (
        other.for_model("gpt-5").digest
        == prompt.for_model("gpt-5").digest
        == edited.for_model("gpt-5").digest
    )


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (None, r"line 7: the variant for 'gpt': there is no file 'support/answer\.gpt\.prompty'"),
        ("user:\n{{ other }}", r"answer\.gpt\.prompty, line 1: other used, but not declared"),
        ("---\ninputs: [{name: z}]\n---\nuser:\nx", "line 2: the input z is none of the prompt's: q, items"),
        ("---\ninputs: [{name: q}]\n---\nuser:\nx", "line 2: the input q is declared otherwise"),
        ("---\nmetadata:\n  variants: {a: b.prompty}\n---\nuser:\nx", "line 3: a variant has no variants"),
        ("user:\n\n{% set x = 1 %}", r"answer\.gpt\.prompty, line 3: assign"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_when_the_prompt_is_read(variant, message):
    files = {key: text for key, text in FILES.items() if "gpt" not in key}
    if variant is not None:
        files["support/answer.gpt.prompty"] = variant
    with pytest.raises(InvalidTemplate, match=message):
        read_with("user:\nAll {{ q }}", files, metadata=VARIANTS)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("openai:gpt-5-mini", "gpt"),
        ("openai:chatgpt-4o-latest", "gpt"),
        ("openai:o3-mini", "gpt"),
        ("azure_openai:gpt-4.1", "gpt"),
        ("anthropic:claude-sonnet-5", "claude"),
        ("bedrock:us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude"),
        ("google_genai:gemini-2.5-pro", "gemini"),
        ("ollama:gemma3:27b", "gemma"),
        ("ollama:llama3.2", "llama"),
        ("together:meta-llama/Llama-3.3-70B-Instruct", "llama"),
        ("huggingface:NousResearch/Hermes-3-Llama-3.1-8B", "llama"),
        ("mistralai:ministral-8b-latest", "mistral"),
        ("ollama:mixtral", "mistral"),
        ("hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M", "qwen"),
        ("openai:qwq-32b", "qwen"),
        ("ollama:deepseek-r1-distill-qwen-7b", "deepseek"),
        ("ollama:philosopher", ""),
        ("ollama:my-own", ""),
        ("extractive", ""),
        ("", ""),
    ],
)
def test_a_family_is_told_by_the_models_name_without_its_provider(model, family):
    assert family_of(model) == family


def test_the_most_specific_pattern_wins():
    patterns = ["*", "gpt", "gpt-5*", "gpt-5-*", "gpt-5-mini", "claude"]
    assert best(patterns, "openai:gpt-5-mini") == "gpt-5-mini"
    assert best(patterns, "openai:GPT-5-nano") == "gpt-5-*"
    assert best(patterns, "gpt-5.1") == "gpt-5*"
    assert best(patterns, "openai:gpt-4o") == "*"  # a pattern that fits stands above a family
    assert best(["gpt", "claude"], "openai:gpt-4o") == "gpt"
    assert best(["openai:gpt-4o", "gpt-4o"], "openai:gpt-4o") == "openai:gpt-4o"
    assert best(["llama"], "ollama:qwen3") is None
    assert best([], "x") is None
    assert all(family_of(family) == family for family in FAMILIES)


# --- metadata --------------------------------------------------------------------------------


def test_metadata_of_ours_is_read_and_what_is_not_ours_is_kept():
    metadata = """metadata:
  tags: [support, es]
  category: support
  language: es
  collection: [handbook, faq]
  retrieval: {k: 12, mode: lexical, diversity: 1}
  context_budget: 900
  examples: {file: examples.jsonl, k: 3, budget: 300, diversity: 0.3}
  judged: support
  not_found: No lo sé.
  version: anything
  theirs: {deep: [1, 2]}
"""
    prompt = read_with("user:\nx", {"examples.jsonl": "{}"}, metadata=metadata)
    assert (prompt.tags, prompt.category, prompt.language) == (("support", "es"), "support", "es")
    assert (prompt.collections, dict(prompt.retrieval)) == (
        ("handbook", "faq"),
        {"k": 12, "mode": "lexical", "diversity": 1},
    )
    assert (prompt.context_budget, prompt.judged, prompt.not_found) == (900, "support", ("No lo sé.",))
    assert dict(prompt.examples) == {"file": "examples.jsonl", "k": 3, "budget": 300, "diversity": 0.3}
    assert prompt.metadata["theirs"] == {"deep": [1, 2]}
    bare = read_with("user:\nx")
    assert (bare.tags, bare.category, bare.collections, dict(bare.retrieval)) == ((), "", (), {})
    assert (bare.context_budget, bare.judged, bare.not_found, dict(bare.variants)) == (None, "", (), {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tags: support", r"line 5: metadata.tags is 'support'; write a list"),
        ("tags: [1]", "metadata.tags"),
        ("category: [a]", "metadata.category"),
        ("language: no", "metadata.language is False; write a text, in quotes"),
        ("collection: 3", "metadata.collection is 3; write a text, or a list"),
        ("not_found: [1]", "metadata.not_found"),
        ("judged: {a: 1}", "metadata.judged"),
        ("context_budget: true", "metadata.context_budget is True; write a whole number"),
        ("context_budget: -1", "whole number"),
        ("retrieval: lexical", "metadata.retrieval is 'lexical'; write a mapping"),
        ("retrieval: {kk: 1}", r"line 5: metadata.retrieval has 'kk'; it may have mode, k, "),
        ("retrieval: {k: '8'}", "metadata.retrieval.k is '8'; write a value like 8"),
        ("retrieval: {k: 0}", "k = 0: choose 1 to 1000"),
        ("retrieval: {mode: magic}", "'magic': choose one of hybrid"),
        ("retrieval: {diversity: true}", "write a value like 0.0"),
        ("examples: {k: 3}", "names its set by"),
        ("examples: {file: a, collection: b}", "one of them"),
        ("examples: {file: a, shots: 3}", "has 'shots'; it may have collection, file, k"),
        ("examples: {file: a, budget: 0}", "from 1 up"),
        ("examples: {file: a, diversity: 2}", "from 0 to 1"),
        ("variants: [a]", "metadata.variants is"),
        ("variants: {gpt: 3}", "write the path of its file"),
        ("variants: {gpt: ../x.prompty}", "no path below"),
        ("variants: {1: x.prompty}", "in quotes"),
    ],
)
def test_metadata_that_cannot_be_is_refused_with_its_line(line, message):
    with pytest.raises(InvalidTemplate, match=message):
        read_with("user:\nx", metadata=f"metadata:\n  {line}\n")


def test_a_front_matter_that_grows_when_it_is_read_is_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    names = "abcdefghij"
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(names)]
    bomb = "metadata:\n" + "".join(f"  {line}\n" for line in lines)
    with pytest.raises(InvalidTemplate, match="more than 10000 values"):
        read_with("user:\nx", metadata=bomb)
    with pytest.raises(InvalidTemplate, match="more than 10000 values"):
        read_with("user:\nx", metadata="metadata: &a {self: *a}\n")


# --- bounds of what a template may do ----------------------------------------------------------

BODIES = {
    "nested loops": "{% for a in items %}" * 3 + "{% endfor %}" * 3,
    "sorting in a loop": "{% for a in items %}{% if items|sort %}{% endif %}{% endfor %}",
    "membership in a loop": "{% for a in items %}{% if -1 in items %}{% endif %}{% endfor %}",
    "equality in a loop": "{% for a in items %}{% if items == items|list %}{% endif %}{% endfor %}",
    "a test in a loop": "{% for a in items %}{% if -1 is in items %}{% endif %}{% endfor %}",
    "filters of filters": "{{ items" + "|list|sort|reverse" * 8 + " }}",
    "a list of the same": "{{ [" + "items," * 300 + "] }}",
    "a dict of the same": "{{ {" + ",".join(f"'{n}': items" for n in range(300)) + "}|tojson }}",
    "joins of joins": "{{ items|join('x')|list|join('yy')|list|join('zz') }}",
    "a large body": "{% for a in items %}" + "{% if a == 1 %}{% endif %}" * 300 + "{% endfor %}",
    "printing in a loop": "{% for a in items %}{{ items }}{% endfor %}",
    "unique in a loop": "{% for a in items %}{{ items|unique|first }}{% endfor %}",
    "text into letters": "{% for a in items %}{{ q|list|last }}{% endfor %}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_takes_long_with_large_values_is_stopped_soon(body):
    template = read_with(f"user:\n{body}")
    start = time.process_time()
    with pytest.raises(PromptError, match=r"work|steps|characters"):
        template.render({"items": list(range(50_000)), "q": "x" * 500_000})
    assert time.process_time() - start < 10


def test_ordinary_loops_filters_and_comparisons_stay_far_from_the_bounds():
    body = (
        "{% for a in items %}{{ loop.index }}. {{ a|title }}{% if a in q %} (asked){% endif %}\n{% endfor %}"
        "{{ items|unique|sort|join(', ')|upper }}{{ q|trim|length }}"
    )
    rendered = read_with(f"user:\n{body}").render({"items": ["word"] * 1_000, "q": "word " * 2_000})
    assert rendered.messages[0].content.count("(asked)") == 1_000


@pytest.mark.parametrize(
    "body",
    [
        "{{ q" + "|upper" * 40 + " }}",
        "{% for a in items %}" * 40 + "{% endfor %}" * 40,
        "{{ 'a' * 10**9 }}",
        "{{ 10**10**10 }}",
        "{{ 9" + "9" * 5_000 + " }}",
        "{{ q[::1] }}",
        "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
        "{{ " + "not " * 3_000 + "q }}",
        "{% if q %}" * 200 + "{% endif %}" * 200,
        "{{ " + "[" * 300 + "]" * 300 + " }}",
        "{{ {" + ",".join(f"{n}: {n}" for n in range(30_000)) + "} }}",
        "{{ q" + "|upper" * 15_000 + " }}",
        "{{ q" + ".a" * 25_000 + " }}",
        "{{ q if q else " * 2_000 + "q" + " }}",
        "{{ q is divisibleby(*items) }}",
        "{{ q is callable }}",
        "{{ q is filter }}",
        "{{ items|map('upper')|list }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ self }}",
        "{% do q %}",
        "{% call q() %}{% endcall %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with a = 1 %}{% endwith %}",
        "{% autoescape true %}{% endautoescape %}",
    ],
)
def test_a_template_that_would_compute_or_recurse_is_refused_when_it_is_read(body):
    start = time.process_time()
    with pytest.raises(InvalidTemplate):
        read_with(f"user:\n{body}")
    assert time.process_time() - start < 10


def test_as_many_messages_as_lines_are_refused():
    with pytest.raises(InvalidTemplate, match="more than 200 messages"):
        read_with("user:\nx\n" * 5_000)


def test_the_largest_template_that_is_taken_is_read_in_seconds():
    start = time.process_time()
    read_with("user:\n" + "{{ q }}" * 5_900)
    assert time.process_time() - start < 10
