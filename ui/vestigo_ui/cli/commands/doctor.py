"""`vestigo doctor`: what is installed, found, missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from packaging.requirements import Requirement
from rich.table import Table
from rich.text import Text

from vestigo_models.errors import ModelError, StoreError
from vestigo_ui.cli.output import JsonOption, emit, out

GIB = 2**30
LITTLE_DISK = 5 * GIB
LITTLE_MEMORY = 4 * GIB
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding. `missing` is essential and not there; `warn` works, but less well or less widely."""

    name: str
    status: Literal["ok", "warn", "missing"]
    found: str
    remedy: str = ""


def all_checks(store: str | None) -> Iterator[Check]:
    """Look at everything, cheap things first; `store` is looked at when it is named."""
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
    """Which Python runs this; pip has made sure that it is one that Vestigo supports."""
    return Check(name="python", status="ok", found=f"{platform.python_version()} {sys.executable}")


def check_libraries(distribution: str = "vestigo") -> Iterator[Check]:
    """Every library that the distribution asks for, against the version that is installed."""
    for line in importlib.metadata.requires(distribution) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        remedy = f"pip install '{wanted.name}{wanted.specifier}'"
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name=wanted.name, status="missing", found="not installed", remedy=remedy)
            continue
        if wanted.specifier.contains(version, prereleases=True):
            yield Check(name=wanted.name, status="ok", found=version)
        else:
            yield Check(name=wanted.name, status="missing", found=f"{version}, not {wanted.specifier}", remedy=remedy)


def check_opencv() -> Check:
    """Exactly one OpenCV distribution, with the people detector that the default detector is made of."""
    remedy = "pip uninstall every opencv package, then pip install 'opencv-python-headless<4.13'"
    named = (dist.name for dist in importlib.metadata.distributions())
    installed = sorted({name for name in named if name and name.lower().startswith("opencv")})
    if len(installed) != 1:
        found = " and ".join(installed) or "not installed"
        return Check(name="opencv people detector", status="missing", found=found, remedy=remedy)
    try:
        import cv2
    except ImportError as error:
        return Check(name="opencv people detector", status="missing", found=_line(error), remedy=remedy)
    if not hasattr(cv2, "HOGDescriptor_getDefaultPeopleDetector"):
        found = f"{cv2.__version__} has none"
        return Check(name="opencv people detector", status="missing", found=found, remedy=remedy)
    return Check(name="opencv people detector", status="ok", found=f"{installed[0]} {cv2.__version__}")


def check_device() -> Check:
    """Where the networks can run."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check(name="device", status="missing", found=_line(error), remedy="install torch again")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check(name="device", status="ok", found=", ".join(f"cuda:{i} {name}" for i, name in enumerate(names)))
    if shutil.which("nvidia-smi"):
        remedy = "install a CUDA build of torch that suits the driver"
        return Check(name="device", status="warn", found="cpu, though this machine has an NVIDIA driver", remedy=remedy)
    return Check(name="device", status="ok", found="cpu")


def check_machine(place: Path) -> Iterator[Check]:
    """Processors, memory and the disk that would hold the store."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check(name="processors", status="ok", found=str(processors))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    remedy = f"at least {LITTLE_MEMORY // GIB} GiB let several workers run"
    yield _amount("memory", memory, LITTLE_MEMORY, "", remedy)
    while not place.exists():
        place = place.absolute().parent
    free = shutil.disk_usage(place).free
    yield _amount("disk", free, LITTLE_DISK, " free", "an index takes about 10 GiB a million crops")


def check_video() -> Check:
    """Decoding and encoding of H.264, through the FFmpeg that PyAV carries."""
    remedy = "pip install --force-reinstall av (its wheels carry FFmpeg)"
    try:
        import av
    except (ImportError, OSError) as error:
        return Check(name="video", status="missing", found=_line(error), remedy=remedy)
    needed: dict[str, tuple[str, Literal["r", "w"]]] = {"decoding": ("h264", "r"), "encoding": ("libx264", "w")}
    lacking = [what for what, (codec, mode) in needed.items() if not _has_codec(codec, mode)]
    if lacking:
        found = f"PyAV {av.__version__} without {' and '.join(lacking)} of H.264"
        return Check(name="video", status="missing" if "decoding" in lacking else "warn", found=found, remedy=remedy)
    return Check(name="video", status="ok", found="H.264 decoding and encoding")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av

    try:
        av.codec.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def check_model() -> Check:
    """The package that `--model default` names."""
    try:
        from vestigo_models.inference.package import ModelPackage

        package = ModelPackage.from_pretrained("default")
    except (ImportError, OSError, ModelError) as error:
        return Check(name="default model", status="missing", found=_line(error), remedy="install Vestigo again")
    height, width = package.input_size
    return Check(name="default model", status="ok", found=f"{package.name} {height}x{width}, {package.digest[:12]}")


def check_ray() -> Check:
    """Ray can be imported; no cluster is started for it."""
    try:
        import ray
    except (ImportError, OSError) as error:
        return Check(name="ray", status="warn", found=_line(error), remedy="--executor inline works without it")
    address = os.environ.get("RAY_ADDRESS")
    where = f"would join {address}" if address else "would start on this machine"
    return Check(name="ray cluster", status="ok", found=f"{ray.__version__}, {where}")


def check_postgres_driver() -> Check:
    """The driver of stores whose catalogue is in PostgreSQL."""
    try:
        import psycopg
    except ImportError as error:
        remedy = "pip install 'psycopg[binary]'; stores in a folder work without it"
        return Check(name="postgresql driver", status="warn", found=_line(error), remedy=remedy)
    found = f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__})"
    return Check(name="postgresql driver", status="ok", found=found)


def check_store(ref: str) -> Check:
    """The store that --store or VESTIGO_STORE names can be opened and read."""
    from vestigo.store.open import Store

    try:
        with Store.open(ref, create=False) as store:
            return Check(name="store", status="ok", found=f"{store.describe()}, {len(store.runs.list())} runs")
    except StoreError as error:
        remedy = "correct --store or VESTIGO_STORE, or make a store with `vestigo index`"
        return Check(name="store", status="missing", found=_line(error), remedy=remedy)


def check_browser() -> Check:
    """A browser, which only the project's own tests drive."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return Check(name="browser", status="ok", found=Path(found).name)
    remedy = "only the project's own tests drive one; `make test` provides it"
    return Check(name="browser", status="warn", found="none on the PATH", remedy=remedy)


def _amount(name: str, amount: int, little: int, suffix: str, remedy: str) -> Check:
    found = f"{amount / GIB:.1f} GiB{suffix}"
    if amount < little:
        return Check(name=name, status="warn", found=found, remedy=remedy)
    return Check(name=name, status="ok", found=found)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


STYLES = {"ok": "green", "warn": "yellow", "missing": "bold red"}


def doctor_command(
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", envvar="VESTIGO_STORE", help="Also look at this store.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, found and missing, and what to do about it.

    Ends with status 1 when something essential is missing.

    Example: vestigo doctor --store archive
    """

    checks = [asdict(check) for check in all_checks(store)]
    emit({"checks": checks}, as_json, _print_checks)
    if any(check["status"] == "missing" for check in checks):
        raise typer.Exit(1)


def _print_checks(result: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in result["checks"]:
        remedy = f" → {check['remedy']}" if check["remedy"] else ""
        table.add_row(Text(check["status"], style=STYLES[check["status"]]), check["name"], check["found"] + remedy)
    out.print(table)
