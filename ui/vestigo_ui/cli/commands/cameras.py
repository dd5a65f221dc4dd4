"""`vestigo cameras`: cameras and their clock offsets."""

import math
from dataclasses import asdict
from typing import Annotated

from typer import Argument, Option, Typer

from vestigo.store.crops.cameras import match_cameras
from vestigo_models.errors import UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, make_table

app = Typer(help="List cameras and correct their clocks.", no_args_is_help=True)


@command(app, "list")
def list_command(store: opts.OpenStore) -> Output:
    """List the cameras of a store with their clock offsets.

    Example: vestigo cameras list --store archive
    """
    cameras = store.cameras.list()
    rows = ((camera.name, f"{camera.clock_offset_s:+g}") for camera in cameras)
    return Output({"cameras": list(map(asdict, cameras))}, make_table(("camera", "clock offset (s)"), rows))


@command(app, "set")
def set_command(
    name: Annotated[str, Argument(help="Camera, as `vestigo cameras list` names it.")],
    clock_offset: Annotated[float, Option(help="Seconds to add to its times (its clock is slow by as much).")],
    store: opts.OpenStore,
    audit: opts.AuditOptions,
) -> Output:
    """Set the clock offset of a camera; stored crops show the corrected time at once, files are not rewritten.

    The change is written to the audit log before it is made.

    Example: vestigo cameras set entrance --clock-offset 42.5 --store archive
    """
    if not math.isfinite(clock_offset):
        raise UsageError(f"--clock-offset {clock_offset}: give a number of seconds")
    named = match_cameras([name], [camera.name for camera in store.cameras.list()])
    before = [camera.clock_offset_s for camera in store.cameras.list() if camera.name in named]
    details = {"cameras": list(named), "offsets_before_s": before, "clock_offset_s": clock_offset}
    audit.record(store, "camera", details)
    store.cameras.set_clock_offset(name, clock_offset)
    return list_command(store)
