"""MkDocs hook: generate one reference page for each package from the docstrings of its modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent
SOURCE_ROOTS = {
    "models": "vestigo_models",
    "platform": "vestigo",
    "workers": "vestigo_workers",
    "benchmarks/src": "vestigo_benchmarks",
    "ui": "vestigo_ui",
}


def packages() -> dict[str, list[str]]:
    """Return the dotted names of the public modules of every package, in the order of `SOURCE_ROOTS`."""
    modules: dict[str, list[str]] = {}
    for source_root, package in SOURCE_ROOTS.items():
        for path in sorted((ROOT / source_root / package).rglob("*.py")):
            module = path.relative_to(ROOT / source_root).with_suffix("")
            if path.stem != "__init__" and not path.stem.startswith("_"):
                modules.setdefault(".".join(module.parent.parts), []).append(".".join(module.parts))
    return modules


def page(package: str, modules: list[str]) -> str:
    """Return the Markdown of a package's page."""
    return "\n\n".join([f"# {package}", *(f"::: {module}" for module in modules)]) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages to the site and to its navigation."""
    from mkdocs.structure.files import File

    entries = []
    for package, modules in packages().items():
        address = f"reference/{package}.md"
        files.append(File.generated(config, address, content=page(package, modules)))
        entries.append({package: address})
    assert config.nav is not None
    config.nav.append({"Reference": entries})
    return files
