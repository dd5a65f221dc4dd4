"""`vestigo doctor`: installed and missing components, with remedies."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from packaging.requirements import Requirement
from rich.text import Text
from typer import Exit, Option

from vestigo_models.devices import memory_bytes
from vestigo_models.errors import VestigoError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, make_table, out

GIB = 2**30
LITTLE_DISK = 5 * GIB
LITTLE_MEMORY = 4 * GIB
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}
Status = Literal["ok", "warn", "missing"]


class ComponentError(Exception):
    """A component does not suffice; `status` replaces the usual status of a failed check."""

    def __init__(self, found: str, status: Status | None = None) -> None:
        super().__init__(found)
        self.status = status


COMPONENTS: list[tuple[str, Callable[[], str], Status, str]] = []
"""Name, description, status in the case of an error, and remedy of the components of this machine."""


def component(name: str, failed: Status = "missing", remedy: str = "") -> Callable[[Callable[[], str]], None]:
    """Add a function that describes a component to `COMPONENTS`; arguments as `run_check`."""
    return lambda describe: COMPONENTS.append((name, describe, failed, remedy))


def run_check(name: str, describe: Callable[[], str], failed: Status = "missing", remedy: str = "") -> dict[str, str]:
    """Return a row of the result; `describe` raises an error if the component cannot be used."""
    try:
        return {"name": name, "status": "ok", "found": describe(), "remedy": ""}
    except (ImportError, OSError, VestigoError, ComponentError) as error:
        status = getattr(error, "status", None) or failed
        return {"name": name, "status": status, "found": " ".join(str(error).split()), "remedy": remedy}


def run_checks(store: str | None) -> Iterator[dict[str, str]]:
    """Check everything, fast checks first; `store` is checked if it is given."""
    yield run_check("python", lambda: f"{platform.python_version()} {sys.executable}")
    yield from check_libraries()
    place = Path(store).parent if store else Path()
    yield run_check("disk", partial(_describe_disk, place), "warn", "an index takes about 10 GiB per million crops")
    if store:
        remedy = "correct --store or VESTIGO_STORE, or create a store with `vestigo index`"
        yield run_check("store", partial(_describe_store, store), "missing", remedy)
    for row in COMPONENTS:
        yield run_check(*row)


def check_libraries(distribution: str = "vestigo") -> Iterator[dict[str, str]]:
    """Check the installed version of every library that the distribution requires."""
    for line in importlib.metadata.requires(distribution) or ():
        required = Requirement(line)
        if required.marker is None or required.marker.evaluate({"extra": ""}):
            remedy = f"pip install '{required.name}{required.specifier}'"
            yield run_check(required.name, partial(_describe_library, required), "missing", remedy)


def _describe_library(required: Requirement) -> str:
    try:
        version = importlib.metadata.version(required.name)
    except importlib.metadata.PackageNotFoundError:
        raise ComponentError("not installed") from None
    if not required.specifier.contains(version, prereleases=True):
        raise ComponentError(f"{version}, not {required.specifier}")
    return version


@component(
    "opencv people detector",
    remedy="pip uninstall every opencv package, then pip install 'opencv-python-headless<4.13'",
)
def _describe_opencv() -> str:
    """Describe the one OpenCV distribution, which must have the people detector of `hog`."""
    names = (distribution.name for distribution in importlib.metadata.distributions())
    installed = sorted({name for name in names if name and name.lower().startswith("opencv")})
    if len(installed) != 1:
        raise ComponentError(" and ".join(installed) or "not installed")
    import cv2

    if not hasattr(cv2, "HOGDescriptor_getDefaultPeopleDetector"):
        raise ComponentError(f"{cv2.__version__} has none")
    return f"{installed[0]} {cv2.__version__}"


@component("device", remedy="install torch again; for an NVIDIA driver, a CUDA build")
def _describe_device() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ", ".join(f"cuda:{i} {name}" for i, name in enumerate(names))
    if shutil.which("nvidia-smi"):
        raise ComponentError("cpu, though this machine has an NVIDIA driver", "warn")
    return "cpu"


@component("processors")
def _describe_processors() -> str:
    return str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _require_size(size: int, needed: int) -> str:
    text = f"{size / GIB:.1f} GiB"
    if size < needed:
        raise ComponentError(text)
    return text


@component("memory", "warn", f"at least {LITTLE_MEMORY // GIB} GiB let several workers run")
def _describe_memory() -> str:
    return _require_size(memory_bytes(), LITTLE_MEMORY)


def _describe_disk(place: Path) -> str:
    while not place.exists():
        place = place.absolute().parent
    return _require_size(shutil.disk_usage(place).free, LITTLE_DISK) + " free"


def _describe_store(ref: str) -> str:
    with opts.open_store(ref) as store:
        return f"{store.describe()}, {len(store.runs.list())} runs"


@component("video", remedy="pip install --force-reinstall av (its wheels carry FFmpeg)")
def _describe_video() -> str:
    """Describe the FFmpeg in PyAV, which must decode H.264."""
    import av

    codecs: dict[str, tuple[str, Literal["r", "w"]]] = {"decoding": ("h264", "r"), "encoding": ("libx264", "w")}
    lacking = []
    for task, (codec, mode) in codecs.items():
        try:
            av.codec.Codec(codec, mode)
        except av.codec.codec.UnknownCodecError:
            lacking.append(task)
    if lacking:
        text = f"PyAV {av.__version__} without {' and '.join(lacking)} of H.264"
        raise ComponentError(text, "missing" if "decoding" in lacking else "warn")
    return "H.264 decoding and encoding"


@component("default model", remedy="install Vestigo again")
def _describe_model() -> str:
    from vestigo_models.inference.package import ModelPackage

    package = ModelPackage.from_pretrained("default")
    height, width = package.input_size
    return f"{package.name} {height}x{width}, {package.digest[:12]}"


@component("ray cluster", "warn", "--executor inline works without it")
def _describe_ray() -> str:
    """Describe the installed Ray; no cluster is started."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    return f"{ray.__version__}, would {f'join {address}' if address else 'start on this machine'}"


@component("postgresql driver", "warn", "pip install 'psycopg[binary]'; stores in folders need none")
def _describe_postgres_driver() -> str:
    import psycopg

    return f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__})"


@component("browser", "warn", "only the project's own tests use one; `make test` provides it")
def _describe_browser() -> str:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ComponentError("none on the PATH")
    return Path(browser).name


def doctor_command(
    store: Annotated[str | None, Option("--store", "-s", envvar="VESTIGO_STORE", help="Also check this store.")] = None,
) -> Output:
    """Print what is installed and missing, and the remedies.

    Exits 1 if something essential is missing.

    Example: vestigo doctor --store archive
    """
    checks = list(run_checks(store))
    is_complete = all(check["status"] != "missing" for check in checks)
    return Output({"checks": checks}, _print_checks, None if is_complete else Exit(1))


def _print_checks(result: Mapping[str, Any]) -> None:
    rows = []
    for check in result["checks"]:
        remedy = f" → {check['remedy']}" if check["remedy"] else ""
        status = Text(check["status"], style=STYLES[check["status"]])
        rows.append((status, check["name"], check["found"] + remedy))
    out.print(make_table(("", "", "~"), rows, show_header=False, padding=(0, 2, 0, 0), pad_edge=True))
