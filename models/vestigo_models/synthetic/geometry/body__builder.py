"""Collecting a body's solids in the body's own frame: x to the person's left, y up, z forward, metres."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vestigo_models.synthetic.geometry.raycast import ROUND_CONE, Solids
from vestigo_models.synthetic.materials.clothes import Part

HEAD, UPPER, LOWER, SHOES, BELONGINGS = 1, 2, 3, 4, 5
Vector = NDArray[np.float64]
UP = np.array([0.0, 1.0, 0.0])
FRONT = np.array([0.0, 0.0, 1.0])


@dataclass
class Builder:
    """Solids of one body, in the order they were added."""

    rows: list[tuple[int, Vector, Vector, Vector, float, float, float, float, int, int, bool]] = field(
        default_factory=list
    )

    def add(
        self,
        start: Vector,
        end: Vector,
        r0: float,
        r1: float,
        part: Part,
        region: int,
        *,
        front: Vector = FRONT,
        wide: float = 1.0,
        deep: float = 1.0,
        kind: int = ROUND_CONE,
        torso: bool = False,
    ) -> None:
        """Add a solid from start to end; `wide` and `deep` stretch it across and along `front`."""
        self.rows.append((kind, start, end, front, r0, r1, wide, deep, int(part), region, torso))

    def solids(self, turn: Vector, shift: Vector) -> tuple[Solids, NDArray[np.bool_]]:
        """Move everything into the world: rotate by `turn` (3, 3), then shift."""
        start = np.array([r[1] for r in self.rows]) @ turn.T + shift
        end = np.array([r[2] for r in self.rows]) @ turn.T + shift
        front = np.array([r[3] for r in self.rows]) @ turn.T
        span = end - start
        length = np.linalg.norm(span, axis=1)
        y = span / np.maximum(length, 1e-9)[:, None]
        x = np.cross(y, front)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        z = np.cross(x, y)
        numbers = np.array([(r[0], r[4], r[5], r[6], r[7], r[8], r[9], r[10]) for r in self.rows])
        scale = np.stack((numbers[:, 3], np.ones(len(y)), numbers[:, 4]), axis=1)
        axes = np.stack((x, y, z), axis=1)
        solids = Solids(
            kind=numbers[:, 0].astype(np.int64),
            frame=(axes / scale[:, :, None]).astype(np.float32),
            axes=np.swapaxes(axes * scale[:, :, None], 1, 2).astype(np.float32),
            origin=start.astype(np.float32),
            radius0=numbers[:, 1].astype(np.float32),
            radius1=numbers[:, 2].astype(np.float32),
            length=length.astype(np.float32),
            material=numbers[:, 5].astype(np.int64),
            region=numbers[:, 6].astype(np.uint8),
        )
        return solids, numbers[:, 7].astype(bool)
