"""From a person and a pose to solids: an articulated skeleton with a walking gait, dressed in rounded cones and frusta.

Body frame: x to the person's left, y up, z forward; the origin lies on the ground between the feet.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.geometry.raycast import FRUSTUM, ROUND_CONE, Solids
from vestigo_models.synthetic.materials.clothes import Part
from vestigo_models.synthetic.people import Person

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


def add_handbag(build: Builder, person: Person, grip: Vector, unit: float) -> None:
    """Hang a handbag from `grip`: a hand, or the crook of the arm."""
    size = person.wear.bag_size
    side = np.array([1.0, 0, 0])
    top = grip - 0.12 * UP * size
    half = (0.13, 0.17, 0.15)[person.wear.bag_style] * size
    tall = (0.2, 0.32, 0.22)[person.wear.bag_style] * size
    build.add(
        top - tall * UP, top, half * 1.05, half * 0.85, Part.BELONGING, BELONGINGS,
        front=side, wide=1.0, deep=0.36, kind=FRUSTUM,
    )  # fmt: skip
    for end in (-0.5, 0.5):
        build.add(grip, top + FRONT * half * end, 0.011, 0.011, Part.BELONGING, BELONGINGS, front=side)


def add_backpack(
    build: Builder, person: Person, spine: Vector, tilt: Vector, front: Vector, unit: float, thick: float
) -> None:
    """Put a backpack on the back, along the spine."""
    size = person.wear.bag_size
    back = spine - front * (0.16 * thick + person.wear.loose)
    low, high = back + (0.12 * unit) * tilt, back + (0.12 * unit + 0.2 * size) * tilt
    w0 = 0.145 * size
    build.add(low, high, w0, w0 * 0.9, Part.BELONGING, BELONGINGS, front=front, wide=1.0, deep=0.66 + 0.1 * (size - 1))
    if person.wear.bag_style:
        pocket = low - front * 0.06 * size
        build.add(
            pocket, pocket + 0.07 * tilt, 0.11 * size, 0.1 * size, Part.BELONGING, BELONGINGS, front=front, deep=0.6
        )


def add_bag(build: Builder, person: Person, spine: Vector, unit: float, thick: float) -> None:
    """Hang a shoulder bag at the hip."""
    wear = person.wear
    size = wear.bag_size
    side = wear.bag_side * np.array([1.0, 0, 0])
    out = 0.19 * thick * person.shape.hips + wear.loose
    depth = (0.0, -0.07, 0.05)[wear.bag_style]
    centre = spine + side * out + FRONT * depth - 0.06 * unit * UP
    half, tall = (0.15, 0.13, 0.17)[wear.bag_style] * size, (0.2, 0.24, 0.26)[wear.bag_style] * size
    build.add(
        centre - 0.5 * tall * UP, centre + 0.5 * tall * UP, half, half * 0.92, Part.BELONGING, BELONGINGS,
        front=side, deep=0.4, kind=FRUSTUM,
    )  # fmt: skip


def add_head(build: Builder, person: Person, neck: Vector, lean: float, unit: float) -> None:
    """Set a head on the neck, with hair and, where the person has one, a hat."""
    size = person.shape.head * (0.5 + 0.5 * unit)
    up = np.array([0.0, np.cos(lean * 0.7), np.sin(lean * 0.7)])
    front = np.array([0.0, -np.sin(lean * 0.7), np.cos(lean * 0.7)])
    add, wear = build.add, person.wear
    add(neck - 0.04 * unit * UP, neck + 0.07 * up, 0.052 * unit, 0.05 * unit, Part.SKIN, HEAD)
    centre = neck + (0.115 * size) * up + 0.02 * front
    chin = centre - 0.035 * size * up + 0.012 * front
    add(chin, centre + 0.035 * size * up, 0.066 * size, 0.08 * size, Part.SKIN, HEAD, front=front, deep=1.16)
    add(centre + 0.1 * size * front, centre + 0.105 * size * front - 0.03 * up, 0.012, 0.016, Part.SKIN, HEAD)
    crown = centre + 0.05 * size * up - 0.026 * size * front
    long_hair = person.labels[at.HAIR] == 1
    bald = person.labels[at.GENDER] == at.MALE and wear.hair_style == 2 and person.labels[at.AGE] >= at.ADULT
    volume = 0.086 if bald else (0.096 if long_hair else 0.091)
    add(
        crown - 0.02 * size * up, crown + (0.0 if bald else 0.02) * size * up, volume * size, volume * size * 0.98,
        Part.HAIR, HEAD, front=front, deep=1.14,
    )  # fmt: skip
    if long_hair:
        nape = centre - 0.055 * size * front
        if wear.hair_style == 1:  # a pony tail
            knot = centre - 0.11 * size * front + 0.04 * up
            add(knot, knot - 0.2 * up - 0.05 * front, 0.036, 0.026, Part.HAIR, HEAD)
        else:
            drop = (0.24, 0.0, 0.36)[wear.hair_style]
            add(
                nape - drop * up - 0.035 * front, nape, 0.075 * size, 0.1 * size, Part.HAIR, HEAD,
                front=front, wide=1.12, deep=0.62,
            )  # fmt: skip
            for side in (-1, 1):
                lock = centre + np.array([side * 0.078 * size, 0, 0]) - 0.01 * front
                add(lock - (drop * 0.7) * up, lock, 0.028, 0.034, Part.HAIR, HEAD)
    if person.has(at.HAT):
        _hat(build, person, crown, up, front, size)


def _hat(build: Builder, person: Person, crown: Vector, up: Vector, front: Vector, size: float) -> None:
    style, add = person.wear.hat_style, build.add
    low = crown + 0.018 * size * up
    if style == 1:  # a knitted cap
        add(low - 0.01 * up, low + 0.04 * up, 0.103 * size, 0.094 * size, Part.HAT, HEAD, front=front, deep=1.12)
        return
    add(low, low + 0.03 * up, 0.1 * size, 0.095 * size, Part.HAT, HEAD, front=front, deep=1.12)
    if style == 0:  # a cap with a peak
        add(low + 0.085 * front, low + 0.165 * front - 0.012 * up, 0.07, 0.062, Part.HAT, HEAD, front=up, deep=0.16)
    else:  # a hat with a brim
        add(low - 0.002 * up, low + 0.014 * up, 0.19 * size, 0.18 * size, Part.HAT, HEAD, front=front, kind=FRUSTUM)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where somebody stands and what their limbs do."""

    x: float  # metres, world
    z: float
    heading: float  # radians; 0 walks along +z, pi/2 along +x
    phase: float  # radians of the gait cycle
    walking: float = 1.0  # 0 stands still
    arms: int = 0  # 0 swing, 1 hands before the chest (telephone), 2 hands in the pockets


@dataclass(frozen=True)
class Body:
    """Posed solids in the world, and the chest's frame that torso textures are fixed to."""

    solids: Solids
    chest_origin: Vector  # (3,)
    chest_axes: Vector  # (3, 3) world -> chest
    on_torso: NDArray[np.bool_]  # (P,) textured in the chest's frame rather than along the limb


def _swing(length: float, angle: float, side: float = 0.0) -> Vector:
    """A limb hanging down, swung forwards by `angle` and outwards by `side` (radians)."""
    return length * np.array([np.sin(side), -np.cos(angle) * np.cos(side), np.sin(angle) * np.cos(side)])


def pose_body(person: Person, pose: Pose) -> Body:
    """Pose a person in the world."""
    s, build = person.shape, Builder()
    unit = s.height / 1.72
    thick = s.build * unit
    stride = pose.walking * s.stride

    # Legs first: the pelvis is as high as the lower foot allows.
    thigh, shin = 0.415 * unit * s.legs, 0.415 * unit * s.legs
    angles = []
    for offset in (0.0, np.pi):
        swing = stride * 0.42 * np.sin(pose.phase + offset) + 0.02
        knee = stride * (0.12 + 0.75 * max(0.0, np.cos(pose.phase + offset)) ** 2 * (swing < 0.35)) + 0.03
        angles.append((swing, swing - knee))
    drops = [thigh * np.cos(a) + shin * np.cos(b) + 0.075 * unit for a, b in angles]
    hip_height = max(drops)
    bob = np.array([0.0, hip_height, 0.0])
    hip_half = 0.088 * unit * s.hips
    for side, (upper, lower) in zip((1, -1), angles, strict=True):
        hip = bob + np.array([side * hip_half, 0, 0])
        knee_at = hip + _swing(thigh, upper, 0.02 * side)
        ankle = knee_at + _swing(shin, lower)
        _leg(build, person, hip, knee_at, ankle, lower, unit, thick)

    lean = s.stoop + 0.03 * stride
    tilt = np.array([0.0, np.cos(lean), np.sin(lean)])
    chest_front = np.array([0.0, -np.sin(lean), np.cos(lean)])
    twist = 0.13 * stride * s.arm_swing * np.sin(pose.phase)
    across = np.array([np.cos(twist), 0.0, np.sin(twist)])
    spine = bob + 0.02 * unit * UP
    neck = spine + 0.475 * unit * tilt
    _torso(build, person, spine, tilt, chest_front, across, unit, thick)
    for side, offset in ((1, np.pi), (-1, 0.0)):
        shoulder = spine + 0.42 * unit * tilt + side * across * (0.178 * unit * s.shoulders)
        _arm(build, person, pose, shoulder, side, offset, stride, unit, thick)
    add_head(build, person, neck, lean, unit)
    if person.has(at.BACKPACK):
        add_backpack(build, person, spine, tilt, chest_front, unit, thick)
    if person.has(at.BAG):
        add_bag(build, person, spine, unit, thick)

    c, n = np.cos(pose.heading), np.sin(pose.heading)
    turn = np.array([[c, 0.0, n], [0.0, 1.0, 0.0], [-n, 0.0, c]])
    # Left of somebody who walks along +z is -x in a right-handed scene seen from above with z forward.
    turn = turn @ np.diag([-1.0, 1.0, 1.0])
    shift = np.array([pose.x, 0.0, pose.z])
    solids, torso = build.solids(turn, shift)
    chest_axes = np.stack((np.array([1.0, 0, 0]), tilt, chest_front)) @ turn.T
    return Body(solids, (spine @ turn.T) + shift, chest_axes, torso)


def _leg(
    build: Builder, person: Person, hip: Vector, knee: Vector, ankle: Vector, lower: float, unit: float, thick: float
) -> None:
    wear, skirt = person.wear, person.labels[at.LOWER_TYPE] == at.DRESS
    bare = Part.SOCKS if skirt else Part.SKIN
    r_hip, r_knee, r_ankle = 0.082 * thick, 0.056 * thick, 0.038 * thick
    end = 0.0 if skirt else wear.lower_end
    build.add(hip, knee, r_hip, r_knee, Part.LOWER if end >= 1 else bare, LOWER)
    build.add(knee, ankle, r_knee, r_ankle, bare, LOWER)
    if 0 < end < 1:
        build.add(hip, hip + (knee - hip) * end, r_hip * 1.03, r_knee * 1.3 * wear.leg_width, Part.LOWER, LOWER)
    elif end >= 1:
        tip = knee + (ankle - knee) * max(end - 1, 0.05)
        width = wear.leg_width * (r_knee + (r_ankle - r_knee) * (end - 1))
        build.add(knee, tip, r_knee * 1.04, max(width, 0.043 * unit), Part.LOWER, LOWER)
    toe = np.array([0.0, -np.sin(-lower * 0.5), np.cos(lower * 0.5)])
    heel = ankle - 0.03 * unit * UP - 0.04 * unit * toe
    ball = heel + 0.2 * unit * toe - 0.012 * unit * UP
    build.add(heel, ball, 0.042 * unit, 0.034 * unit, Part.SHOES, SHOES, front=UP, wide=0.95)
    if wear.boots:
        shaft = ankle + (knee - ankle) * wear.boots
        build.add(ankle, shaft, r_ankle * 1.2, r_knee * 1.06, Part.SHOES, SHOES)


def _torso(
    build: Builder,
    person: Person,
    spine: Vector,
    tilt: Vector,
    front: Vector,
    across: Vector,
    unit: float,
    thick: float,
) -> None:
    s, wear = person.shape, person.wear
    skirt = person.labels[at.LOWER_TYPE] == at.DRESS
    hip_w = 0.158 * thick * s.hips + wear.loose * 0.5
    waist_w = (0.135 + 0.02 * s.belly) * thick * (0.5 + 0.5 * s.hips) + wear.loose
    chest_w = 0.163 * unit * (0.6 * s.shoulders + 0.4 * s.build) + wear.loose
    deep = 0.66 + 0.1 * s.belly
    waist, chest = spine + 0.2 * unit * tilt, spine + 0.34 * unit * tilt
    pelvis = spine - 0.05 * unit * UP
    add = build.add
    add(waist, chest, waist_w, chest_w, Part.UPPER, UPPER, front=front, deep=deep, torso=True)
    shoulder = 0.15 * unit * s.shoulders * across
    top = spine + 0.425 * unit * tilt
    r = 0.058 * thick + wear.loose * 0.6
    add(top - shoulder, top + shoulder, r, r, Part.UPPER, UPPER, front=front, torso=True)
    if s.belly:
        at_belly = spine + 0.16 * unit * tilt + front * (0.055 * s.belly * unit)
        add(at_belly, at_belly + 0.05 * unit * tilt, 0.11 * thick, 0.1 * thick, Part.UPPER, UPPER, torso=True)
    if s.bust:
        bust = spine + 0.315 * unit * tilt + front * (0.052 * unit)
        half, r = 0.062 * unit * np.array([1.0, 0, 0]), (0.052 + 0.022 * s.bust) * unit
        add(bust - half, bust + half, r, r, Part.UPPER, UPPER, front=front, torso=True)
    # Hips belong to the trousers; the shirt hangs over them as far as its hem.
    add(pelvis, waist, hip_w, waist_w * 0.93, Part.LOWER, LOWER, front=front, deep=0.72, torso=True)
    hem = spine - wear.hem * unit * UP
    hem_w = np.interp(-wear.hem, (-0.2, 0.05, 0.2), (1.2, 1.08, 1.03)) * hip_w + wear.loose
    add(hem, waist, hem_w, waist_w * 1.01, Part.UPPER, UPPER, front=front, deep=0.76, kind=FRUSTUM, torso=True)
    if skirt:
        leg = 0.415 * unit * s.legs
        bottom = spine - (leg * wear.lower_end + 0.02 * unit) * UP
        add(
            bottom, waist, hip_w * wear.flare * (0.9 + 0.2 * wear.lower_end), waist_w * 0.97, Part.LOWER, LOWER,
            front=front, deep=0.85, kind=FRUSTUM, torso=True,
        )  # fmt: skip


def _arm(
    build: Builder,
    person: Person,
    pose: Pose,
    shoulder: Vector,
    side: int,
    offset: float,
    stride: float,
    unit: float,
    thick: float,
) -> None:
    wear, s = person.wear, person.shape
    carries = person.has(at.HANDBAG) and side == wear.bag_side
    swing = 0.5 * stride * s.arm_swing * np.sin(pose.phase + offset) + 0.02
    bend, out = 0.25 + 0.25 * max(0.0, np.sin(pose.phase + offset)), 0.12
    if carries:
        swing, bend = swing * 0.35, 0.12
        if wear.bag_style == 2:  # over the crook of the arm
            swing, bend = 0.05, 1.5
    elif pose.arms == 1 and side == 1:
        swing, bend = 0.55, 1.75
    elif pose.arms == 2:
        swing, bend, out = -0.25, 0.75, 0.3
    elbow = shoulder + _swing(0.285 * unit, swing, side * out)
    wrist = elbow + _swing(0.25 * unit, swing + bend, side * (0.02 if pose.arms == 0 else -0.12))
    r0, r1, r2 = 0.05 * thick, 0.039 * thick, 0.029 * thick
    cloth = wear.loose + 0.005
    build.add(shoulder, elbow, r0, r1, Part.SKIN, UPPER)
    build.add(elbow, wrist, r1, r2, Part.SKIN, UPPER)
    hand = wrist + (wrist - elbow) * 0.22
    build.add(wrist, hand, 0.033 * unit, 0.035 * unit, Part.SKIN, UPPER, wide=0.7)
    reach = min(wear.sleeve, 1.0)
    end = shoulder + (elbow - shoulder) * reach
    build.add(shoulder, end, r0 + cloth, r0 + (r1 - r0) * reach + cloth * 1.4, Part.SLEEVE, UPPER)
    if wear.sleeve > 1:
        end = elbow + (wrist - elbow) * (wear.sleeve - 1)
        build.add(elbow, end, r1 + cloth * 1.2, r2 + cloth * 1.2, Part.SLEEVE, UPPER)
    if carries:
        add_handbag(build, person, elbow if wear.bag_style == 2 else hand, unit)
