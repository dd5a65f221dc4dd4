"""`vestigo render`: rendered people as a dataset with attributes and regions, and as footage with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vestigo_ui.cli.options import SchemaOption, read_schema
from vestigo_ui.cli.output import JsonOption, emit, out, progress


def render_command(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder for the dataset.")],
    preset: Annotated[
        str, typer.Option("--preset", help="How the world looks: default, small, clean or training.")
    ] = "default",
    identities: Annotated[
        int | None, typer.Option("--identities", help="Number of people; half train, half test.", show_default=False)
    ] = None,
    cameras: Annotated[
        int | None, typer.Option("--cameras", help="Number of cameras, 1 to 9.", show_default=False)
    ] = None,
    images_per_camera: Annotated[
        int | None, typer.Option("--images-per-camera", help="Crops of each person by each camera.", show_default=False)
    ] = None,
    video_seconds: Annotated[
        float, typer.Option("--video-seconds", help="Seconds of footage by each camera; 0 writes no video.")
    ] = 0.0,
    schema: SchemaOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Fixes everything that is drawn.")] = 0,
    behind: Annotated[
        bool, typer.Option("--behind", help="Also write regions-behind/: the regions if nobody carried anything.")
    ] = False,
    json_mode: JsonOption = False,
) -> None:
    """Render people who exist nowhere, as a labelled dataset in the Market-1501 layout.

    Rendered people have the attributes of market1501. With --schema FILE.yaml, whose attributes must be among these,
    they are also written to attributes.csv.

    Counts that are not given are the preset's. The same options give the same pictures on every machine.

    Example: vestigo render people/ --identities 100 --cameras 4 --video-seconds 20
    """
    from vestigo.datasets.synthetic import write_rendered

    with progress("rendering") as update:
        result = write_rendered(
            folder,
            preset,
            identities,
            cameras,
            images_per_camera,
            video_seconds,
            seed,
            progress=update,
            behind=behind,
            schema=read_schema(schema),
        )
    emit(
        result,
        json_mode,
        lambda r: out.print(
            f"{r['images']} crops of {r['identities']} people and {r['videos']} videos in {folder}\n"
            f"digest {r['digest']}\n\nnext: vestigo evaluate {folder}"
        ),
    )
