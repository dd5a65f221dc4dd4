"""Every choice that the specification leaves open about labels from fine-grained local semantics."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LabelSource = Literal["cluster", "parser", "fls"]
BelongingsMode = Literal["complement", "cluster_vote", "both", "classifier"]


class FlsConfig(BaseModel):
    """Keys of specification section 5; cells and lengths are stated for a map of 64 x 32 cells.

    On another map, areas scale with its number of cells and lengths with the root of that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: LabelSource = Field(default="fls", description="clusters alone, the parser alone, or both fused")
    clusters: int = Field(default=6, ge=2, description="K_c: part clusters and background, of level 2")
    foreground: Literal["activation", "classifier"] = Field(
        default="activation",
        description="what tells a person from the background: two clusters of activations (ISP), or the network's own "
        "pixel classifier where it has one",
    )
    sharpen: bool = Field(default=True, description="push activations apart before level 1; off for occluded people")
    guard_iou: float = Field(
        default=0.3, ge=0, le=1, description="least overlap of level 1 and parser for an image's foreground to count"
    )
    seed: int = Field(default=0, ge=0, description="of the clustering")

    belongings_mode: BelongingsMode = Field(
        default="complement",
        description="what the parser missed, clusters that vote, the union of both, or what was missed together with "
        "what the pixel classifier of a network calls belongings",
    )
    sure: float = Field(
        default=0.2, gt=0, le=1, description="of `classifier`: least probability of belongings in a cell"
    )
    halo: int = Field(default=2, ge=0, description="cells around the body that are never the seed of a belonging")
    seed_cells: int = Field(default=8, ge=1, description="least area of a seed component")
    growth: int = Field(default=3, ge=0, description="steps that a seed grows back inside the foreground")
    least_cells: int = Field(default=12, ge=1, description="least area of a grown component")
    reach: int = Field(default=2, ge=0, description="farthest distance in cells between component and body")
    heights: tuple[float, float] = Field(
        default=(0.15, 0.85), description="where a component's centroid may lie in the person's height"
    )
    most_of_body: float = Field(
        default=0.5, gt=0, description="more than this fraction of the body is a failure of level 1, and none is kept"
    )
    support: int = Field(default=2, ge=1, description="images of an identity that must show a belonging")

    vote_share: float = Field(default=0.5, ge=0, le=1, description="least share of a cluster that the parser missed")
    vote_heights: tuple[float, float] = Field(
        default=(0.2, 0.85), description="where a voting cluster's mean height may lie"
    )
    vote_most_of_upper: float = Field(
        default=0.4, ge=0, le=1, description="most of an image's upper body that a voting cluster may take"
    )
    speckle: int = Field(default=4, ge=0, description="components of fewer cells become background in the end")
