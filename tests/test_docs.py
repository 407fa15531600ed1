"""The documentation names every command, setting, route, error and prompt that there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.settings import keys
from rag import errors, prompts

ROOT = Path(__file__).resolve().parent.parent
DOCS = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
READMES = [ROOT / "README.md", ROOT / "README.es.md"]
PAGES = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[str]:
    from typer.main import get_command

    from api.cli import app

    found: list[str] = []

    def walk(command: object, path: str) -> None:
        children = getattr(command, "commands", None)
        if not children:
            found.append(path)
        for name, child in (children or {}).items():
            walk(child, f"{path} {name}")

    walk(get_command(app), "rag")
    return found


def options() -> list[str]:
    from typer.main import get_command

    from api.cli import app

    found: set[str] = set()

    def walk(command: object) -> None:
        for parameter in getattr(command, "params", ()):
            found.update(name for name in parameter.opts if name.startswith("--") and name != "--help")
        for child in getattr(command, "commands", {}).values():
            walk(child)

    walk(get_command(app))
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str):
    assert f"`{command}" in DOCS or f"$ {command}" in DOCS or f"## {command}" in DOCS


@pytest.mark.parametrize("option", options())
def test_every_option_is_documented(option: str):
    assert re.search(rf"{re.escape(option)}\b", DOCS)


@pytest.mark.parametrize("key", keys())
def test_every_setting_is_documented(key: str):
    assert f"`{key}`" in DOCS


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ("ReasonCode", "RagError")])
def test_every_error_is_documented(name: str):
    assert f"`{name}`" in DOCS


@pytest.mark.parametrize("code", errors.ReasonCode.__args__)
def test_every_reason_code_is_documented(code: str):
    assert f"`{code}`" in DOCS


@pytest.mark.parametrize("name", prompts.names())
def test_every_shipped_prompt_is_documented(name: str):
    assert f"`{name}`" in DOCS


def test_every_route_is_documented():
    code = (
        "from pathlib import Path; from api.http import create_app; from api.settings import load;"
        "from api.services import connect;"
        "app = create_app(connect(load(start=Path('/nonexistent'), env={}, overrides={})));"
        "print(*app.openapi()['paths'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    routes = done.stdout.split()
    assert routes
    assert [route for route in routes if f"{route}`" not in DOCS] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_inside_the_repository_lead_somewhere(page: Path):
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", READMES, ids=lambda path: path.name)
def test_readmes_name_the_two_commands(page: Path):
    text = page.read_text("utf-8")
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_shown_in_the_docs_exist(page: Path):
    known = {command.removeprefix("rag ").split()[0] for command in commands()}
    shown = re.findall(
        r"^\$ (?:\.venv/bin/)?rag (?:--data \S+ )?([a-z-]+)", page.read_text("utf-8"), re.MULTILINE
    )
    assert [name for name in shown if name not in known] == []
