"""The house stands: imports run down only, and nothing heavy comes in unasked."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ("agents", "recommenders", "reports")
ROOMS = ("simenv", *WINGS, "scenarios")
HEAVY = ("torch", "transformers", "mesa", "openai", "ray", "stable_baselines3", "matplotlib")
HEAVY += ("sentence_transformers",)
PACKAGE_OF = {"yaml": "pyyaml", "sardine": "sardine-rec"}  # modules that bear another name than their package
PACKAGE_OF |= {"sklearn": "scikit-learn"}
PACKAGE_OF |= {"pydantic_core": "pydantic"}  # which pins it, and whose errors are its


def files_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield every absolute module name that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room_of(module: str) -> str | None:
    """Return the room a module of ours lies in."""
    first, _, rest = module.partition(".")
    if first != "simenv":
        return None
    second = rest.partition(".")[0]
    return second if second in ROOMS[1:] else "simenv"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_files(room: str):
    assert files_of(room)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_down_only(room: str):
    below = {"simenv": {"simenv"}, "scenarios": set(ROOMS)} | {wing: {wing, "simenv"} for wing in WINGS}
    upward = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files_of(room)
        if path.name != "__main__.py"  # `python -m simenv`, which is the command line
        for module in imports(path)
        if room_of(module) not in below[room] | {None}
    }
    assert not upward


@pytest.mark.parametrize("room", ROOMS[1:])
def test_a_room_imports_its_own_files_relatively(room: str):
    by_full_name = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files_of(room)
        for module in imports(path)
        if room_of(module) == room
    }
    assert not by_full_name


def test_relative_imports_stay_in_their_room():
    """Two dots lead out of a wing, one dot from a folder in it."""
    leaving = []
    for room in ROOMS:
        for path in files_of(room):
            depth = len(path.relative_to(ROOT / room).parts)
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            leaving += [path for node in tree if isinstance(node, ast.ImportFrom) and node.level > depth]
    assert not leaving


def test_nobody_imports_a_wing_by_its_bare_name():
    bare = {
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in (*ROOMS, "tests", "benchmarks")
        for path in files_of(folder)
        for module in imports(path)
        if module.partition(".")[0] in ROOMS[1:]
    }
    assert not bare


def test_every_dependency_imported_is_declared():
    declared = declared_packages()
    for room in ROOMS:
        for path in files_of(room):
            for module in imports(path):
                name = module.partition(".")[0]
                if name != "simenv" and name not in sys.stdlib_module_names:
                    assert PACKAGE_OF.get(name, name).replace("_", "-") in declared, f"{path} imports {name}"


def declared_packages() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    return {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in [*project["dependencies"], *extras]}


def test_every_declared_package_says_why():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in declared_packages():
        line = next(line for line in text.splitlines() if line.strip().lower().startswith(f'"{package}'))
        assert "#" in line, f"{package} has no reason beside it"


def test_every_folder_with_code_is_installed():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for room in ROOMS for path in files_of(room)}
    names = {".".join(folder.parts if folder.parts[0] == "simenv" else ("simenv", *folder.parts)) for folder in folders}
    assert names == set(tools["packages"])


@pytest.mark.parametrize(
    "code",
    [
        "import simenv",
        "import simenv.checks",
        "import simenv.scenarios.cli",
        "import gymnasium, simenv; gymnasium.make('simenv/Page-v0')",
        "import sys; sys.argv = ['simenv', '--help']\nfrom simenv.scenarios.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_comes_in_unasked(code: str):
    tell = f"{code}\nimport sys; print('LOADED', *(set({HEAVY}) & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "LOADED"


def test_pandas_is_for_the_adapters_alone():
    """Where it is installed scikit-learn takes it along by itself, so what is loaded tells nothing."""
    asking = {
        path.name for room in ROOMS for path in files_of(room) if any(one.startswith("pandas") for one in imports(path))
    }
    assert asking <= {"from_lenskit.py", "from_rectools.py"}


def test_simenv_needs_no_pytest():
    tell = "import simenv.checks, sys; print('pytest' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "False"
