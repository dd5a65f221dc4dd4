"""`vestigo cameras`: which cameras were seen, and whose clock is wrong by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from vestigo_ui.cli.output import JsonOption, StoreOption, emit, out

app = typer.Typer(help="List cameras and put their clocks right.", no_args_is_help=True)


@app.command("list")
def list_command(store: StoreOption, as_json: JsonOption = False) -> None:
    """List the cameras of a store with their clock offsets.

    Example: vestigo cameras list --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        cameras = [asdict(camera) for camera in opened.cameras.list()]
    emit({"cameras": cameras}, as_json, _print_cameras)


@app.command("set")
def set_command(
    name: Annotated[str, typer.Argument(help="Camera, as `vestigo cameras list` names it.")],
    clock_offset: Annotated[
        float, typer.Option("--clock-offset", help="Seconds to add to its times (its clock is slow by as much).")
    ],
    store: StoreOption,
    as_json: JsonOption = False,
) -> None:
    """Put a camera's clock right; stored crops show the corrected time at once, files are not rewritten.

    Example: vestigo cameras set entrance --clock-offset 42.5 --store archive
    """
    from vestigo.store.open import Store

    with Store.open(store, create=False) as opened:
        opened.cameras.set_clock_offset(name, clock_offset)
        cameras = [asdict(camera) for camera in opened.cameras.list()]
    emit({"cameras": cameras}, as_json, _print_cameras)


def _print_cameras(result: Mapping[str, Any]) -> None:
    table = Table("camera", "clock offset (s)", box=None)
    for camera in result["cameras"]:
        table.add_row(camera["name"], f"{camera['clock_offset_s']:+g}")
    out.print(table)
