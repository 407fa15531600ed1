"""The arrows between packages, and what an import may cost."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {"rag": set(), "indexes": {"rag"}, "ingest": {"rag"}, "api": {"rag", "indexes", "ingest"}}
HEAVY = (
    "torch",
    "sentence_transformers",
    "transformers",
    "chromadb",
    "faiss",
    "tantivy",
    "langchain",
    "onnxruntime",
)


def modules() -> dict[str, Path]:
    found = {}
    for package in MAY_IMPORT:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: set[str], *, at_load_only: bool) -> set[str]:
    """Our modules that ``path`` imports; ``at_load_only`` leaves out functions and TYPE_CHECKING."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide the arrows; write them out"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                found.add(longer if longer in known else node.module)
        skip = at_load_only and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        )
        if not skip:
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(path.read_text("utf-8"), str(path)))
    return {name for name in found if name.split(".")[0] in MAY_IMPORT}


def test_packages_import_in_one_direction():
    known = modules()
    wrong = [
        f"{name} imports {target}"
        for name, path in known.items()
        for target in imports(path, set(known), at_load_only=False)
        if target.split(".")[0] not in MAY_IMPORT[name.split(".")[0]] | {name.split(".")[0]}
    ]
    assert not wrong


def test_no_cycle_between_modules():
    known = modules()
    graph = {
        name: imports(path, set(known), at_load_only=True) & set(known) - {name}
        for name, path in known.items()
    }
    state: dict[str, int] = {}

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != 1, "cycle: " + " -> ".join([*trail, name])
        if state.get(name) == 2:
            return
        state[name] = 1
        for target in sorted(graph[name]):
            walk(target, (*trail, name))
        state[name] = 2

    for name in graph:
        walk(name, ())


@pytest.mark.parametrize(
    "command", ["import rag, indexes, ingest, api, rag.types, rag.protocols", "import api.cli"]
)
def test_heavy_libraries_are_imported_on_use_only(command):
    code = f"{command}; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_tests_folder_stays_flat():
    assert not list((ROOT / "tests").rglob("__init__.py")), "a package here would shadow the real ones"


def test_only_the_settings_and_what_hands_it_to_them_touch_the_environment():
    touching = {
        path.relative_to(ROOT).as_posix()
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb", "putenv")
    }
    assert touching == {"api/settings.py", "api/cli/common.py"}


def test_library_never_prints():
    printing = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for name, path in modules().items()
        if not name.startswith("api.cli")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_wheel_holds_the_four_packages_with_their_data_and_nothing_else(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(MAY_IMPORT)
    tracked = subprocess.run(
        ["git", "ls-files", *MAY_IMPORT], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    assert set(tracked) <= set(names)
    assert "rag/prompts/shipped/answer.prompty" in names
    assert "rag = api.cli:main" in scripts
