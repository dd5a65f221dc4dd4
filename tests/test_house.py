"""The rules of the house: floors import downwards only, in no circle, and every file keeps to its size."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FLOORS = {
    "vestigo_models": ROOT / "models",
    "vestigo": ROOT / "platform",
    "vestigo_workers": ROOT / "workers",
    "vestigo_benchmarks": ROOT / "benchmarks" / "src",
    "vestigo_ui": ROOT / "ui",
}
FORBIDDEN = {
    "vestigo_models": {"ray", "sqlalchemy", "alembic", "psycopg", "streamlit", "typer", "label_studio_sdk"},
    "vestigo": {"ray", "streamlit", "typer"},
    "vestigo_workers": {"streamlit", "typer"},
    "vestigo_benchmarks": {"streamlit", "typer"},
    "vestigo_ui": set(),
}
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MAX_LINES = 450


def module_name(path: Path, source_root: Path) -> str:
    parts = path.relative_to(source_root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path, source_root): path
    for package, source_root in FLOORS.items()
    for path in sorted((source_root / package).rglob("*.py"))
}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]
SOURCES = sorted(
    path
    for folder in ("models", "platform", "workers", "ui", "migrations", "tests", "tools", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever the statement stands; `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """Return the modules of the house that a module imports."""
    modules = set()
    for imported in imports(MODULES[name]):
        target = imported if imported in MODULES else imported.rpartition(".")[0]
        if target in MODULES:
            modules.add(target)
    return modules - {name}


def test_top_level_names_follow_design() -> None:
    names = {"platform", "workers", "models", "ui", "migrations", "tests", "docker-compose.yml"}
    assert names <= {path.name for path in ROOT.iterdir()}


def test_platform_folder_does_not_shadow_standard_module() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    done = subprocess.run([sys.executable, "-c", "import platform; platform.system()"], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_each_source_root_holds_one_package() -> None:
    for package, source_root in FLOORS.items():
        held = {path.name for path in source_root.iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert held == {package}


def test_imports_follow_layers() -> None:
    order = list(FLOORS)
    upward = [
        f"{name} imports {target}"
        for name in MODULES
        for target in own_imports(name)
        if order.index(target.split(".")[0]) > order.index(name.split(".")[0])
    ]
    assert upward == []


def test_layers_do_not_import_forbidden_modules() -> None:
    breaches = [
        f"{name} imports {imported}"
        for name, path in MODULES.items()
        for imported in imports(path)
        if imported.split(".")[0] in FORBIDDEN[name.split(".")[0]]
    ]
    assert breaches == []


def test_imports_have_no_cycle() -> None:
    try:
        graphlib.TopologicalSorter({name: own_imports(name) for name in MODULES}).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_defined(name: str) -> None:
    """A package's `__all__` is its table of contents: everything in it exists, and what it re-exports is in it."""
    package = importlib.import_module(name)
    listed = getattr(package, "__all__", [])
    assert len(listed) == len(set(listed))
    assert [entry for entry in listed if not hasattr(package, entry)] == []
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    exported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FLOORS
        for alias in node.names
    }
    assert exported <= set(listed)


def test_files_keep_line_limit() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


MOST_FILES = 18
COMMANDS = ROOT / "ui" / "vestigo_ui" / "cli" / "commands"
DIALECT = re.compile(
    r"\b(told|heard|asked|gone|nobody|somebody|whoever|beside|worked off|sureness|put right)\b", re.IGNORECASE
)
CONTRACT = ('"told":', '"beside":', '"gone"')
"""Keys of JSON and of the audit log, and a reason of quarantine: scripts read them, so they stay."""


def test_folders_keep_file_limit() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in MODULES.values()}}
    del counts[COMMANDS]
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_file_names_do_not_repeat_folder() -> None:
    repeated = [
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if path.stem.startswith((path.parent.name, path.parent.name.removesuffix("s") + "_"))
    ]
    assert repeated == []


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_words_follow_glossary() -> None:
    """Product code, documents and help texts keep to docs/glossary.md."""
    files = [*MODULES.values(), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*")]
    files += [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path.suffix in {".py", ".md"} and path.name != "glossary.md"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if DIALECT.search(line) and not any(part in line for part in CONTRACT)
    ]
    assert lines == []


def test_files_named_in_architecture_exist() -> None:
    """Each walk of ARCHITECTURE.md names files that exist, and no more than a reader has patience for."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    walks = {
        title: re.findall(r"^\d+\. `([^`]+\.py)`", section, re.MULTILINE)
        for title, section in re.findall(r"^### Walk: (.+?)\n(.*?)(?=^#)", text, re.MULTILINE | re.DOTALL)
    }
    limits = {"index to visible row": 20, "search to results": 15, "annotation to promotion": 25}
    assert walks.keys() == limits.keys()
    for title, files in walks.items():
        assert 5 < len(files) <= limits[title]
        assert [file for file in files if not (ROOT / file).is_file()] == []


def test_no_code_unpickles() -> None:
    breaches = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in SOURCES
        for imported in imports(path)
        if imported.split(".")[0] in UNSAFE and imported != "pickle.UnpicklingError"
    ]
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("weights_only")
                if safe != "True":
                    breaches.append(f"{path.relative_to(ROOT)}:{node.lineno} torch.load without weights_only=True")
    assert breaches == []


def test_files_hold_no_machine_paths() -> None:
    place = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users)/\w")
    texts = {".py", ".toml", ".yml", ".yaml", ".md", ".txt", ".json", ".cfg", ".ini", ""}
    folders = (ROOT / folder for folder in (*FLOORS, "migrations", "tests", "tools", "benchmarks", "docs"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in texts and path.is_file()]
    files += [path for path in ROOT.iterdir() if path.suffix in texts and path.is_file()]
    offending = [
        str(path.relative_to(ROOT)) for path in files if place.search(path.read_text("utf-8", errors="replace"))
    ]
    assert offending == []


def test_single_opencv_has_people_detector() -> None:
    """Newer or fuller builds of OpenCV lack the detector, or break the headless one by lying over it."""
    import cv2

    installed = {dist.name for dist in importlib.metadata.distributions() if dist.name.lower().startswith("opencv")}
    assert installed == {"opencv-python-headless"}
    assert cv2.HOGDescriptor_getDefaultPeopleDetector().size > 0


LIGHT_COMMANDS = [
    ["--help"],
    ["runs", "list"],
    ["runs", "show", "RUN"],
    ["models", "list"],
    ["models", "show", "m"],
    ["cameras", "list"],
    ["audit", "show"],
    ["store", "check"],
]
HEAVY = {"torch", "ray", "transformers", "streamlit", "pandas", "cv2", "scipy", "sklearn"}


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vestigo.store.open import Store

    folder = tmp_path_factory.mktemp("light") / "store"
    with Store.open(folder) as store:
        store.models.register("a" * 64, name="m", location="nowhere")
        store.runs.create(fingerprint="f" * 64, config={}, model="a" * 64, command="{}")
    return folder


@pytest.mark.parametrize("command", LIGHT_COMMANDS, ids=" ".join)
def test_light_command_imports_no_heavy_library(command: list[str], small_store: Path) -> None:
    from vestigo.store.open import Store

    with Store.open(small_store) as store:
        run = store.runs.list()[0].id
    arguments = [run if word == "RUN" else word for word in command]
    arguments += [] if command == ["--help"] else ["--store", str(small_store)]
    heavy = HEAVY | {"numpy"} if command == ["--help"] else HEAVY
    code = (
        "import sys; from vestigo_ui.cli.main import run; status = run(sys.argv[1:]); "
        f"sys.exit(status or ' '.join({heavy!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "")


def test_listing_runs_scans_no_installed_packages(small_store: Path) -> None:
    code = (
        "import sys; from vestigo_ui.cli.main import run; status = run(sys.argv[1:]); "
        "sys.exit(status or 'vestigo_models.parsing.registry' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "runs", "list", "--store", str(small_store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
