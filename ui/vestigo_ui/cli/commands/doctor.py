"""`vestigo doctor`: installed and missing components, with remedies."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
from rich.text import Text
from typer import Exit, Option

from vestigo_models.errors import ModelError, StoreError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import emit, out

GIB = 2**30
LITTLE_DISK = 5 * GIB
LITTLE_MEMORY = 4 * GIB
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding; `missing` is essential, `warn` is a limitation."""

    name: str
    status: Literal["ok", "warn", "missing"]
    found: str
    remedy: str = ""


def _ok(name: str, found: str) -> Check:
    return Check(name=name, status="ok", found=found)


def _warn(name: str, found: object, remedy: str) -> Check:
    return Check(name=name, status="warn", found=_line(found), remedy=remedy)


def _missing(name: str, found: object, remedy: str) -> Check:
    return Check(name=name, status="missing", found=_line(found), remedy=remedy)


def _line(found: object) -> str:
    return " ".join(str(found).split())


def all_checks(store: str | None) -> Iterator[Check]:
    """Check everything, fast checks first; `store` is checked if it is given."""
    yield check_python()
    yield from check_libraries()
    yield check_opencv()
    yield check_device()
    yield from check_machine(Path(store).parent if store else Path())
    yield check_video()
    yield check_model()
    yield check_ray()
    yield check_postgres_driver()
    if store:
        yield check_store(store)
    yield check_browser()


def check_python() -> Check:
    """Check the Python version; pip installs Vestigo only on supported ones."""
    return _ok("python", f"{platform.python_version()} {sys.executable}")


def check_libraries(distribution: str = "vestigo") -> Iterator[Check]:
    """Check the installed version of every library that the distribution requires."""
    import importlib.metadata

    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(distribution) or ():
        required = Requirement(line)
        if required.marker is not None and not required.marker.evaluate({"extra": ""}):
            continue
        remedy = f"pip install '{required.name}{required.specifier}'"
        try:
            version = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            yield _missing(required.name, "not installed", remedy)
            continue
        if required.specifier.contains(version, prereleases=True):
            yield _ok(required.name, version)
        else:
            yield _missing(required.name, f"{version}, not {required.specifier}", remedy)


def check_opencv() -> Check:
    """Check for exactly one OpenCV distribution, with the people detector of the default detector."""
    import importlib.metadata

    name = "opencv people detector"
    remedy = "pip uninstall every opencv package, then pip install 'opencv-python-headless<4.13'"
    names = (distribution.name for distribution in importlib.metadata.distributions())
    installed = sorted({name for name in names if name and name.lower().startswith("opencv")})
    if len(installed) != 1:
        return _missing(name, " and ".join(installed) or "not installed", remedy)
    try:
        import cv2
    except ImportError as error:
        return _missing(name, error, remedy)
    if not hasattr(cv2, "HOGDescriptor_getDefaultPeopleDetector"):
        return _missing(name, f"{cv2.__version__} has none", remedy)
    return _ok(name, f"{installed[0]} {cv2.__version__}")


def check_device() -> Check:
    """Check where the networks can run."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return _missing("device", error, "install torch again")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return _ok("device", ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)))
    if shutil.which("nvidia-smi"):
        remedy = "install a CUDA build of torch that suits the driver"
        return _warn("device", "cpu, though this machine has an NVIDIA driver", remedy)
    return _ok("device", "cpu")


def check_machine(place: Path) -> Iterator[Check]:
    """Check processors, memory and the disk of the store."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield _ok("processors", str(processors))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{memory / GIB:.1f} GiB"
    remedy = f"at least {LITTLE_MEMORY // GIB} GiB let several workers run"
    yield _warn("memory", found, remedy) if memory < LITTLE_MEMORY else _ok("memory", found)
    while not place.exists():
        place = place.absolute().parent
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free"
    remedy = "an index takes about 10 GiB per million crops"
    yield _warn("disk", found, remedy) if free < LITTLE_DISK else _ok("disk", found)


def check_video() -> Check:
    """Check decoding and encoding of H.264 with the FFmpeg in PyAV."""
    remedy = "pip install --force-reinstall av (its wheels carry FFmpeg)"
    try:
        import av
    except (ImportError, OSError) as error:
        return _missing("video", error, remedy)
    codecs: dict[str, tuple[str, Literal["r", "w"]]] = {"decoding": ("h264", "r"), "encoding": ("libx264", "w")}
    lacking = []
    for task, (codec, mode) in codecs.items():
        try:
            av.codec.Codec(codec, mode)
        except av.codec.codec.UnknownCodecError:
            lacking.append(task)
    if lacking:
        found = f"PyAV {av.__version__} without {' and '.join(lacking)} of H.264"
        return (_missing if "decoding" in lacking else _warn)("video", found, remedy)
    return _ok("video", "H.264 decoding and encoding")


def check_model() -> Check:
    """Check the package of `--model default`."""
    try:
        from vestigo_models.inference.package import ModelPackage

        package = ModelPackage.from_pretrained("default")
    except (ImportError, OSError, ModelError) as error:
        return _missing("default model", error, "install Vestigo again")
    height, width = package.input_size
    return _ok("default model", f"{package.name} {height}x{width}, {package.digest[:12]}")


def check_ray() -> Check:
    """Check that Ray can be imported; no cluster is started."""
    try:
        import ray
    except (ImportError, OSError) as error:
        return _warn("ray", error, "--executor inline works without it")
    address = os.environ.get("RAY_ADDRESS")
    where = f"would join {address}" if address else "would start on this machine"
    return _ok("ray cluster", f"{ray.__version__}, {where}")


def check_postgres_driver() -> Check:
    """Check the driver of stores with a catalogue in PostgreSQL."""
    try:
        import psycopg
    except ImportError as error:
        remedy = "pip install 'psycopg[binary]'; stores in a folder work without it"
        return _warn("postgresql driver", error, remedy)
    return _ok("postgresql driver", f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__})")


def check_store(ref: str) -> Check:
    """Check that the store of --store or VESTIGO_STORE can be opened and read."""
    try:
        with opts.open_store(ref) as store:
            return _ok("store", f"{store.describe()}, {len(store.runs.list())} runs")
    except StoreError as error:
        return _missing("store", error, "correct --store or VESTIGO_STORE, or create a store with `vestigo index`")


def check_browser() -> Check:
    """Check for a browser, which only the project's tests use."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser:
        return _ok("browser", Path(browser).name)
    return _warn("browser", "none on the PATH", "only the project's own tests use one; `make test` provides it")


def doctor_command(
    store: Annotated[str | None, Option("--store", "-s", envvar="VESTIGO_STORE", help="Also check this store.")] = None,
    as_json: opts.JsonOption = False,
) -> None:
    """Print what is installed and missing, and the remedies.

    Exits 1 if something essential is missing.

    Example: vestigo doctor --store archive
    """
    checks = [asdict(check) for check in all_checks(store)]
    emit({"checks": checks}, as_json, _print_checks)
    if any(check["status"] == "missing" for check in checks):
        raise Exit(1)


def _print_checks(result: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in result["checks"]:
        remedy = f" → {check['remedy']}" if check["remedy"] else ""
        table.add_row(Text(check["status"], style=STYLES[check["status"]]), check["name"], check["found"] + remedy)
    out.print(table)
