"""The tests of a prompt as a file: promptfoo's shape is read, and what is wrong is told by its line."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import PromptError
from rag.prompts.testing.located import MAX_TEXT, read_yaml
from rag.prompts.testing.suite import Given, read_suite

ASSERT = "assert: [{type: contains, value: x}]"


def suite(text: str):
    return read_suite(text, name="t.tests.yaml")


def one(text: str):
    (case,) = suite(text).cases
    return case


def test_a_test_has_variables_a_context_and_assertions():
    case = one("""
tests:
  - description: opening hours
    vars: {question: When?, tone: dry, n: 3}
    context: [We open at nine., {title: Prices, text: Entry is free.}]
    threshold: 0.5
    options: {collection: faq, k: 4, where: language=en}
    assert:
      - {type: not-icontains, value: ten, weight: 2, metric: facts}
      - type: similar
        value: at nine
        threshold: 0.8
""")
    assert case.description == "opening hours"
    assert dict(case.vars) == {"question": "When?", "tone": "dry", "n": 3}
    assert case.context == (Given("We open at nine."), Given("Entry is free.", "Prices"))
    assert (case.threshold, case.collection, case.k, case.where) == (0.5, "faq", 4, "language=en")
    first, second = case.assertions
    assert (first.type, first.negated, first.value) == ("icontains", True, "ten")
    assert (first.weight, first.metric) == (2.0, "facts")
    assert (case.line, first.line, second.line) == (3, 9, 10)
    assert (second.type, second.value, second.threshold) == ("similar", ["at nine"], 0.8)


def test_a_context_may_stand_among_the_variables_as_promptfoo_has_it():
    assert one(f"tests: [{{vars: {{context: One text.}}, {ASSERT}}}]").context == (Given("One text."),)
    assert one(f"tests: [{{vars: {{context: []}}, {ASSERT}}}]").context == ()
    assert one(f"tests: [{{vars: {{}}, {ASSERT}}}]").context is None
    with pytest.raises(PromptError, match=r"line 1: the context is given twice"):
        suite(f"tests: [{{vars: {{context: a}}, context: b, {ASSERT}}}]")


def test_default_test_goes_before_every_test():
    cases = suite("""
defaultTest:
  vars: {tone: plain, city: Roma}
  threshold: 0.7
  options: {k: 3}
  context: [Shared.]
  assert: [{type: is-json}]
tests:
  - vars: {city: Lugo}
    assert: [{type: contains, value: "{{ city }}"}]
  - options: {k: 5, disableDefaultAsserts: true}
    threshold: 1
    context: [Own.]
    assert: [{type: cites}]
""").cases
    assert dict(cases[0].vars) == {"tone": "plain", "city": "Lugo"}
    assert [each.name for each in cases[0].assertions] == ["is-json", "contains"]
    assert cases[0].assertions[1].filled(cases[0].vars) == "Lugo"
    assert (cases[0].threshold, cases[0].k, cases[0].context) == (0.7, 3, (Given("Shared."),))
    assert [each.name for each in cases[1].assertions] == ["cites"]
    assert (cases[1].threshold, cases[1].k, cases[1].context) == (1.0, 5, (Given("Own."),))
    assert [case.description for case in cases] == ["test 1", "test 2"]


def test_a_list_among_the_variables_is_one_test_for_each_element():
    case = one(f"tests: [{{description: d, vars: {{a: [1, 2], b: [x, y], c: z}}, {ASSERT}}}]")
    assert [dict(each.vars) for each in case.each(lists=())] == [
        {"a": 1, "b": "x", "c": "z"},
        {"a": 1, "b": "y", "c": "z"},
        {"a": 2, "b": "x", "c": "z"},
        {"a": 2, "b": "y", "c": "z"},
    ]
    assert [each.description for each in case.each(lists=("b",))] == ["d (a: 1)", "d (a: 2)"]
    whole = one(f"tests: [{{vars: {{a: [1, 2]}}, options: {{disableVarExpansion: true}}, {ASSERT}}}]")
    assert [dict(each.vars) for each in whole.each(lists=())] == [{"a": [1, 2]}]


def test_a_promptfoo_configuration_is_read_and_what_it_says_of_providers_passed_over():
    read = suite("""
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
description: Translations
prompts: [file://prompt1.txt, 'Translate: {{input}}']
providers: [openai:gpt-5-mini, {id: vertex:gemini, config: {temperature: 0}}]
evaluateOptions: {maxConcurrency: 4}
outputPath: out.json
tests:
  - vars: {language: French, input: Hello world}
    metadata: {owner: ana}
    assert:
      - {type: contains-json}
      - {type: javascript, value: "output.length < 10"}
      - {type: similar, value: was geht, threshold: 0.6, provider: openai:embedding}
      - type: assert-set
        threshold: 0.5
        assert: [{type: cost, threshold: 0.001}, {type: equals, value: Bonjour}]
""")
    assert read.description == "Translations"
    plain, code, elsewhere, group = read.cases[0].assertions
    assert plain.unsupported == ""
    assert code.unsupported == "the type javascript of promptfoo is not evaluated here"
    assert "`provider`" in elsewhere.unsupported
    assert [part.unsupported != "" for part in group.parts] == [True, False]


def test_a_bare_list_of_tests_is_a_file_too():
    assert len(suite(f"- {{vars: {{}}, {ASSERT}}}\n- {{vars: {{}}, {ASSERT}}}").cases) == 2


def test_numbers_times_and_dates_are_the_text_that_was_written():
    case = one("""
tests:
  - vars: {a: 2026-01-01, b: 12:30, c: 010, d: 1.50, e: 1e3, f: true, g: null}
    assert:
      - {type: contains, value: 12:30}
      - {type: contains-all, value: [1.50, 2026-01-01, 7]}
""")
    assert dict(case.vars) == {
        "a": "2026-01-01",
        "b": "12:30",
        "c": "010",
        "d": 1.5,
        "e": "1e3",
        "f": True,
        "g": None,
    }
    assert case.assertions[0].value == "12:30"
    assert case.assertions[1].value == ["1.50", "2026-01-01", "7"]


def test_a_part_of_the_file_may_be_referred_to_as_in_promptfoo():
    case = one("""
tests: [{vars: {body: Yes}, assert: [$ref: '#/assertionTemplates/noise', {type: is-json}]}]
assertionTemplates:
  noise: {$ref: '#/assertionTemplates/arrr'}
  arrr: {type: icontains, value: arrr}
""")
    assert dict(case.vars) == {"body": "Yes"}
    assert [(each.name, each.line) for each in case.assertions] == [("icontains", 5), ("is-json", 2)]
    with pytest.raises(PromptError, match="line 2: it refers to itself"):
        suite("tests: [{assert: [$ref: '#/env/a']}]\nenv: {a: {$ref: '#/env/a'}}")


def test_anchors_and_merges_are_read():
    cases = suite("""
tests:
  - &first
    vars: &vars {question: When?, tone: dry}
    assert: [{type: contains, value: a}]
  - <<: *first
    vars: {<<: *vars, tone: warm}
""").cases
    assert dict(cases[1].vars) == {"question": "When?", "tone": "warm"}
    assert cases[1].assertions[0].value == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the tests are empty; write them here, as a list"),
        ("description: x", "line 1: the file has no `tests:`"),
        ("tests: file://more.yaml", "line 1: the tests are a text; write them here, as a list"),
        ("tests: []\nscenarios: []", "line 2: no key 'scenarios' in the file"),
        ("test: []", "line 1: no key 'test' in the file; did you mean tests?"),
        ("tests:\n- vars: {}\n  asert: []", "line 3: no key 'asert' in a test; did you mean assert?"),
        ("tests:\n- just text", "line 2: a test is a text; write a mapping"),
        ("tests:\n- vars: file://v.yaml", "line 2: variables in a file of their own are not read"),
        ("tests:\n- vars:\n    a: file://v.txt", "line 3: file://v.txt is not read; write its text here"),
        ("tests:\n- provider: openai:x", "line 2: no key 'provider' in a test"),
        ("tests:\n- options:\n    transform: output.trim()", "line 3: no key 'transform' in options"),
        ("tests:\n- options: {k: many}", "line 2: k is a text; write a whole number"),
        ("tests:\n- options: {k: true}", "line 2: k is true; write a whole number"),
        ("tests:\n- threshold: 2", "line 2: threshold must be a number from 0 to 1"),
        ("tests:\n- context: [{titel: x}]", "line 2: no key 'titel' in a passage; did you mean title?"),
        ("tests:\n- context: [{title: x}]", "line 2: the passage has no text"),
        ("tests:\n- assert: contains", "line 2: assert is a text; write a list"),
        ("tests:\n- assert:\n  - contains", "line 3: an assertion is a text; write {type: contains"),
        ("tests:\n- assert:\n  - value: x", "line 3: the assertion has no type"),
        ("tests:\n- assert:\n  - type: contain", "line 3: no assertion 'contain'; did you mean contains?"),
        ("tests:\n- assert:\n  - type: not-not-contains", "line 3: no assertion 'not-not-contains'"),
        ("tests:\n- assert:\n  - type: contains", "line 3: contains needs a value"),
        ("tests:\n- assert:\n  - type: regex\n    value: '(a'", "line 4: not a regular expression"),
        (
            "tests:\n- assert:\n  - type: json-schema\n    value: {type: thing}",
            "line 4: not a JSON schema: type:",
        ),
        ("tests:\n- assert:\n  - type: json-schema", "line 3: json-schema needs a value"),
        (
            "tests:\n- vars: {a: x}\n  assert:\n  - {type: contains, value: '{{ a() }}'}",
            "line 4: in the value",
        ),
        ("tests:\n- vars: {a: 1, a: 2}", "line 2: 'a' stands twice"),
        ("tests:\n  - a\n - b", "line 3: not YAML"),
        ("tests: !!python/object/apply:os.system [ls]", "line 1: "),
        ("tests:\n- !thing x", "line 2: the tag !thing is not read here"),
        ("tests: &t [*t]", "line 1: it refers to itself"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text, message):
    with pytest.raises(PromptError) as told:
        suite(text)
    assert str(told.value).startswith(f"t.tests.yaml: {message}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("assertion", "message"),
    [
        ("{type: contains, value: true}", "the value is true; write a text; put it in quotes"),
        ("{$ref: '#/none'}", "there is no #/none in the file"),
        ("{$ref: 'other.yaml'}", "$ref stands alone"),
        ("{$ref: '#/tests', weight: 2}", "$ref stands alone"),
        ("{type: contains, vlaue: x}", "no key 'vlaue' in an assertion"),
        ("{type: contains-all, value: x}", "the value is a text; write a list"),
        ("{type: contains-all, value: []}", "the value is a list; write a list"),
        ("{type: contains, value: x, threshold: 1}", "contains has no threshold"),
        ("{type: similar, value: x, threshold: 7}", "threshold must be a number"),
        ("{type: contains, value: x, weight: -1}", "weight must be a number"),
        ("{type: found, value: x}", "found takes no value"),
        ("{type: cites, value: 0}", "the value must be a whole number from 1"),
        ("{type: max-tokens, value: 1.5}", "the value must be a whole number"),
        ("{type: language, value: Spanish}", "write the language as two letters"),
        ("{type: is-json, value: {pattern: '(a'}}", "not a JSON schema: pattern: '(a' is not a"),
        ("{type: is-json, value: file://s.json}", "the value is a text; write a JSON"),
        ("{type: contains, value: 'file://x'}", "file://x is not read"),
        ("{type: contains, value: '{{ a }}'}", "the value uses a, which the test"),
        ("{type: contains, value: '{{ a'}", "in the value, line 1:"),
        ("{type: assert-set}", "an assert-set needs a list `assert:`"),
        ("{type: cites, assert: []}", "only an assert-set holds assertions"),
        (
            "{type: is-json, value: {$ref: 'http://127.0.0.1/s.json'}}",
            "the schema refers to http://127.0.0.1/s.json",
        ),
    ],
)
def test_what_is_wrong_with_an_assertion_is_told_with_its_line(assertion, message):
    with pytest.raises(PromptError) as told:
        suite(f"tests:\n- vars: {{b: x}}\n  assert:\n  - {assertion}")
    assert str(told.value).startswith(f"t.tests.yaml: line 4: {message}")


def test_lists_do_not_multiply_into_more_tests_than_anyone_wants():
    values = ", ".join(f"v{n}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for n in range(4))
    with pytest.raises(PromptError, match=r"line 1: the lists make 10,000 tests of one; the limit is 1,000"):
        suite(f"tests: [{{vars: {{{values}}}, {ASSERT}}}]")


def test_aliases_do_not_multiply_into_billions_of_values():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(PromptError, match="holds more than 200,000 values"):
        suite("\n".join(lines))


def test_files_are_bounded_in_size_and_depth():
    with pytest.raises(PromptError, match="the limit is 2,000,000"):
        suite("#" * (MAX_TEXT + 1))
    for deep in ("[" * 100_000, "a: " * 100_000, "{" * 5_000 + "}" * 5_000):
        with pytest.raises(PromptError):
            suite(deep)
    sets = "{type: cites}"
    for _ in range(8):
        sets = f"{{type: assert-set, assert: [{sets}]}}"
    with pytest.raises(PromptError, match="more than 5 deep"):
        suite(f"tests: [{{assert: [{sets}]}}]")


def test_the_digest_is_that_of_the_text_as_the_library_keeps_it():
    text = f"tests: [{{vars: {{}}, {ASSERT}}}]\n"
    assert suite(text).digest == hashlib.sha256(text.encode()).hexdigest()
    assert suite("\ufeff" + text.replace("\n", "\r\n")).digest == suite(text).digest


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("tests:-[]{} &*!|>'\"\n,assert vars type contains value {{}}%é")))
def test_no_text_breaks_the_reader(text):
    for read in (read_yaml, suite):
        with suppress(PromptError):
            read(text)
