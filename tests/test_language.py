"""Language detection: the languages that meet in one collection, and what must not confuse it."""

import json
import random
from pathlib import Path

import pytest

from rag.language import detect

SHARED = Path(__file__).resolve().parents[2] / "shared"

ES = "Esta página explica cómo declarar los parámetros de una función y qué ocurre cuando faltan."
EN = "This page explains how to declare the parameters of a function and what happens without them."
CODE = """```python
def create_item(item: Item, settings: Settings = Depends(get_settings)) -> Item:
    # Save the item and return it to the user of the application when it has been stored
    return store.save(item, with_the_name="default", and_the_size=10)
```
"""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("es", ES),
        ("en", EN),
        ("ca", "La Constitució reconeix i garanteix el dret a l'autonomia de les nacionalitats i regions."),
        ("gl", "A Constitución recoñece e garante o dereito á autonomía das nacionalidades e rexións."),
        (
            "eu",
            "Konstituzioak nazionalitateen eta eskualdeen autonomia-eskubidea aitortzen eta bermatzen du.",
        ),
        ("pt", "A República Portuguesa é um Estado de direito democrático, baseado na soberania popular."),
        ("it", "La Repubblica riconosce e garantisce i diritti inviolabili dell'uomo, sia come singolo."),
        ("fr", "La France est une République indivisible, laïque, démocratique et sociale."),
        ("de", "Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung aller Gewalt."),
        ("no", "Dette er en side om hvordan man skriver kode, og hva som skjer når noe mangler i den."),
        ("zh", "宪法是国家的根本法，具有最高的法律效力，任何组织都必须遵守。"),
        ("ru", "Конституция имеет высшую юридическую силу и применяется на всей территории страны."),
    ],
)
def test_each_language_is_told_from_its_neighbours(language, text):
    assert detect(text) == language


@pytest.mark.parametrize(("language", "prose"), [("es", ES), ("en", EN)])
def test_code_and_markup_do_not_outweigh_the_prose(language, prose):
    page = f"# `fastapi.Depends` {{ #depends }}\n\n{CODE * 5}\n{prose}\n\n{CODE * 5}"
    assert detect(page) == language
    links = "".join(
        f"[`Item{i}`](https://example.org/the/name/of/the/item?with={i}) <br/>\n" for i in range(50)
    )
    assert detect(f"{links}\n{prose}\n{links}") == language
    assert detect(f"~~~~\nthe cat and the dog\n~~~\nof the house\n~~~~\n{prose}") == language


def test_a_quotation_does_not_decide_the_language_of_a_long_document():
    for own, other, language in ((ES, EN, "es"), (EN, ES, "en")):
        document = "\n\n".join([other] * 15 + [own] * 85)
        assert detect(document) == language


@pytest.mark.parametrize(
    "text", ["", "  \n", "12345 67", "x = f(y)", CODE, "\x00", "https://example.org/a", "…"]
)
def test_what_holds_no_prose_has_no_language(text):
    assert detect(text) == ""


def test_a_fence_inside_a_quote_or_a_list_is_code_too():
    quoted = "\n".join(f"> {line}" for line in CODE.splitlines())
    listed = "\n".join(f"    {line}" for line in CODE.splitlines())
    assert detect(f"{quoted}\n{listed}") == ""


def test_odd_texts_are_read_in_one_pass():
    # Each of these took minutes or more with a pattern that goes back over what it has read.
    for unit in ("[](((", "{", "<a ", "a@", "`", "```x\n", "w" * 50, "https:", "_a", "palabra (de la ley) "):
        detect(unit * (1_000_000 // len(unit)))


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "es"])
def test_no_page_of_real_documentation_is_taken_for_another_language(language):
    folder = SHARED / "docs" / "fastapi-docs" / language
    if not folder.is_dir():
        pytest.skip("needs the documentation pages beside the project")
    pages = sorted(folder.rglob("*.md"))
    for page in random.Random(0).sample(pages, 40):
        assert detect(page.read_text("utf-8")) in (language, ""), page


@pytest.mark.shared
def test_short_questions_are_right_or_unsure():
    folder = SHARED / "data" / "xquad-es-wiki-dev"
    if not folder.is_dir():
        pytest.skip("needs the judged set xquad-es-wiki-dev beside the project")
    for name, language in (("queries.jsonl", "es"), ("queries_en.jsonl", "en"), ("queries_de.jsonl", "de")):
        lines = (folder / name).read_text("utf-8").splitlines()
        found = [detect(json.loads(line)["text"]) for line in lines]
        assert found.count(language) >= 0.95 * len(found)
        assert sum(one not in (language, "") for one in found) <= 0.005 * len(found)
