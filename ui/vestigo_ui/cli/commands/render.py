"""`vestigo render`: rendered people as a dataset with attributes and regions, and as footage with ground truth."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command_line, progress


def render_command(
    folder: Annotated[Path, Argument(metavar="OUT", help="New or empty folder for the dataset.")],
    preset: Annotated[
        str, Option(help="Appearance of the world: default, small, clean, training or real.")
    ] = "default",
    identities: Annotated[int | None, Option(help="Number of people; half for training, half for the test.")] = None,
    cameras: Annotated[int | None, Option(help="Number of cameras, 1 to 9.")] = None,
    images_per_camera: Annotated[int | None, Option(help="Crops of each person by each camera.")] = None,
    video_seconds: Annotated[float, Option(help="Seconds of footage by each camera; 0 writes no video.")] = 0.0,
    schema: opts.SchemaOption = None,
    seed: Annotated[int, Option(help="Of every random choice.")] = 0,
    behind: Annotated[
        bool, Option("--behind", help="Also write regions-behind/: the regions without carried objects.")
    ] = False,
) -> Output:
    """Render synthetic people as a labelled dataset in the Market-1501 layout.

    Rendered people have the attributes of market1501. With --schema FILE.yaml, whose attributes must be among these,
    they are also written to attributes.csv.

    Counts that are not given are the preset's. The same options give the same images on every machine.

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
            schema=opts.read_schema(schema),
        )
    summary = (
        f"{result['images']} crops of {result['identities']} people and {result['videos']} videos in {folder}\n"
        f"digest {result['digest']}\n\nnext: {command_line('evaluate', folder)}"
    )
    return Output(result, summary)
