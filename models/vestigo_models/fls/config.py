"""The configuration of fine-grained local semantics."""

from typing import Literal

from pydantic import Field

from vestigo_models.strict_model import StrictModel

LabelSource = Literal["cluster", "parser", "fls"]
BelongingsMode = Literal["complement", "cluster_vote", "both", "classifier"]


class FlsConfig(StrictModel):
    """Keys of docs/method.md, section "FLS"; areas and lengths are stated for a grid of 64 x 32 cells.

    On another grid, areas scale with its number of cells and lengths with the root of that (`scale_config`).
    """

    labels: LabelSource = Field(default="fls", description="clusters alone, the parser alone, or both fused")
    clusters: int = Field(default=6, ge=2, le=255, description="K_c: part clusters and background, of level 2")
    foreground: Literal["activation", "classifier"] = Field(
        default="activation",
        description="level 1: two clusters of activations (ISP), or the pixel classifier of a network that has one",
    )
    sharpen: bool = Field(default=True, description="push activations apart before level 1; off for occluded people")
    guard_iou: float = Field(default=0.3, ge=0, le=1, description="least overlap of level 1 and parser")
    seed: int = Field(default=0, ge=0, description="seed of the clustering")

    belongings_mode: BelongingsMode = Field(
        default="complement",
        description="belongings: foreground outside the parser's body, clusters that vote, the union of both, or the "
        "first and what the pixel classifier calls belongings",
    )
    sure: float = Field(default=0.2, gt=0, le=1, description="`classifier`: smallest probability of belongings")
    halo: int = Field(default=2, ge=0, description="cells around the body that are never the seed of a belonging")
    seed_cells: int = Field(default=8, ge=1, description="smallest area of a seed component")
    growth: int = Field(default=3, ge=0, description="steps that a seed grows inside the foreground")
    least_cells: int = Field(default=12, ge=1, description="smallest area of a grown component")
    reach: int = Field(default=2, ge=0, description="largest distance in cells between component and body")
    heights: tuple[float, float] = Field(default=(0.15, 0.85), description="range of a centroid in the person's height")
    most_of_body: float = Field(default=0.5, gt=0, description="larger belongings, as a share of the body, are dropped")
    support: int = Field(default=2, ge=1, description="images of an identity that must show belongings")

    vote_share: float = Field(default=0.5, ge=0, le=1, description="smallest share of a cluster outside the body")
    vote_heights: tuple[float, float] = Field(default=(0.2, 0.85), description="heights of a cluster that votes")
    vote_most_of_upper: float = Field(default=0.4, ge=0, le=1, description="most of the upper body that votes take")
    speckle: int = Field(default=4, ge=0, description="components of fewer cells become background")
