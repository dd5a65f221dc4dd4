"""Bodies: a person and a pose to the solids of an articulated, walking, dressed skeleton.

Body frame: x to the person's left, y up, z forward; the origin lies on the ground between the feet.
"""

from dataclasses import dataclass, field

import numpy as np

from vestigo_models.arrays import BoolArray, Float64Array
from vestigo_models.schemas.regions import BELONGINGS, HEAD, LOWER, SHOES, UPPER
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.geometry.raycast import FRUSTUM, ROUND_CONE, Solids
from vestigo_models.synthetic.materials.clothes import BodyPart
from vestigo_models.synthetic.people import Person

UP = np.array([0.0, 1.0, 0.0])
FRONT = np.array([0.0, 0.0, 1.0])


Row = tuple[int, Float64Array, Float64Array, Float64Array, float, float, float, float, int, int, bool]


@dataclass
class SolidsBuilder:
    """Collects the solids of one body in body coordinates, in metres."""

    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        start: Float64Array,
        end: Float64Array,
        r0: float,
        r1: float,
        part: BodyPart,
        region: int,
        *,
        front: Float64Array = FRONT,
        wide: float = 1.0,
        deep: float = 1.0,
        kind: int = ROUND_CONE,
        torso: bool = False,
    ) -> None:
        """Add a solid from `start` (radius r0) to `end` (r1), stretched by `wide` across and `deep` along `front`.

        The texture of a `torso` solid is fixed to the chest.
        """
        self.rows.append((kind, start, end, front, r0, r1, wide, deep, int(part), region, torso))

    def solids(self, turn: Float64Array, shift: Float64Array) -> tuple[Solids, BoolArray]:
        """Return the solids in the world, rotated by `turn` (3, 3) and shifted, and which of them are on the torso."""
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


def _add_handbag(build: SolidsBuilder, person: Person, grip: Float64Array) -> None:
    """Hang a handbag from `grip`, a hand or the crook of the arm."""
    size = person.clothing.bag_size
    side = np.array([1.0, 0, 0])
    top = grip - 0.12 * UP * size
    half = (0.13, 0.17, 0.15)[person.clothing.bag_style] * size
    tall = (0.2, 0.32, 0.22)[person.clothing.bag_style] * size
    build.add(
        top - tall * UP, top, half * 1.05, half * 0.85, BodyPart.BELONGING, BELONGINGS,
        front=side, wide=1.0, deep=0.36, kind=FRUSTUM,
    )  # fmt: skip
    for end in (-0.5, 0.5):
        build.add(grip, top + FRONT * half * end, 0.011, 0.011, BodyPart.BELONGING, BELONGINGS, front=side)


def _add_backpack(
    build: SolidsBuilder, person: Person, spine: Float64Array, tilt: Float64Array, front: Float64Array
) -> None:
    size, unit = person.clothing.bag_size, person.shape.unit
    back = spine - front * (0.16 * person.shape.thickness + person.clothing.loose)
    low, high = back + (0.12 * unit) * tilt, back + (0.12 * unit + 0.2 * size) * tilt
    w0 = 0.145 * size
    build.add(
        low, high, w0, w0 * 0.9, BodyPart.BELONGING, BELONGINGS, front=front, wide=1.0, deep=0.66 + 0.1 * (size - 1)
    )
    if person.clothing.bag_style:
        pocket = low - front * 0.06 * size
        build.add(
            pocket, pocket + 0.07 * tilt, 0.11 * size, 0.1 * size, BodyPart.BELONGING, BELONGINGS, front=front, deep=0.6
        )


def _add_shoulder_bag(build: SolidsBuilder, person: Person, spine: Float64Array) -> None:
    clothing, unit = person.clothing, person.shape.unit
    size = clothing.bag_size
    side = clothing.bag_side * np.array([1.0, 0, 0])
    out = 0.19 * person.shape.thickness * person.shape.hips + clothing.loose
    depth = (0.0, -0.07, 0.05)[clothing.bag_style]
    centre = spine + side * out + FRONT * depth - 0.06 * unit * UP
    half, tall = (0.15, 0.13, 0.17)[clothing.bag_style] * size, (0.2, 0.24, 0.26)[clothing.bag_style] * size
    build.add(
        centre - 0.5 * tall * UP, centre + 0.5 * tall * UP, half, half * 0.92, BodyPart.BELONGING, BELONGINGS,
        front=side, deep=0.4, kind=FRUSTUM,
    )  # fmt: skip


def _add_head(build: SolidsBuilder, person: Person, neck: Float64Array, lean: float) -> None:
    unit = person.shape.unit
    size = person.shape.head * (0.5 + 0.5 * unit)
    up = np.array([0.0, np.cos(lean * 0.7), np.sin(lean * 0.7)])
    front = np.array([0.0, -np.sin(lean * 0.7), np.cos(lean * 0.7)])
    add, clothing = build.add, person.clothing
    add(neck - 0.04 * unit * UP, neck + 0.07 * up, 0.052 * unit, 0.05 * unit, BodyPart.SKIN, HEAD)
    centre = neck + (0.115 * size) * up + 0.02 * front
    chin = centre - 0.035 * size * up + 0.012 * front
    add(chin, centre + 0.035 * size * up, 0.066 * size, 0.08 * size, BodyPart.SKIN, HEAD, front=front, deep=1.16)
    add(centre + 0.1 * size * front, centre + 0.105 * size * front - 0.03 * up, 0.012, 0.016, BodyPart.SKIN, HEAD)
    crown = centre + 0.05 * size * up - 0.026 * size * front
    long_hair = person.labels[at.HAIR] == 1
    bald = person.labels[at.GENDER] == at.MALE and clothing.hair_style == 2 and person.labels[at.AGE] >= at.ADULT
    volume = 0.086 if bald else (0.096 if long_hair else 0.091)
    add(
        crown - 0.02 * size * up, crown + (0.0 if bald else 0.02) * size * up, volume * size, volume * size * 0.98,
        BodyPart.HAIR, HEAD, front=front, deep=1.14,
    )  # fmt: skip
    if long_hair:
        nape = centre - 0.055 * size * front
        if clothing.hair_style == 1:  # a pony tail
            knot = centre - 0.11 * size * front + 0.04 * up
            add(knot, knot - 0.2 * up - 0.05 * front, 0.036, 0.026, BodyPart.HAIR, HEAD)
        else:
            drop = (0.24, 0.0, 0.36)[clothing.hair_style]
            add(
                nape - drop * up - 0.035 * front, nape, 0.075 * size, 0.1 * size, BodyPart.HAIR, HEAD,
                front=front, wide=1.12, deep=0.62,
            )  # fmt: skip
            for side in (-1, 1):
                lock = centre + np.array([side * 0.078 * size, 0, 0]) - 0.01 * front
                add(lock - (drop * 0.7) * up, lock, 0.028, 0.034, BodyPart.HAIR, HEAD)
    if person.has(at.HAT):
        _add_hat(build, person, crown, up, front, size)


def _add_hat(
    build: SolidsBuilder, person: Person, crown: Float64Array, up: Float64Array, front: Float64Array, size: float
) -> None:
    style, add = person.clothing.hat_style, build.add
    low = crown + 0.018 * size * up
    if style == 1:  # a knitted cap
        add(low - 0.01 * up, low + 0.04 * up, 0.103 * size, 0.094 * size, BodyPart.HAT, HEAD, front=front, deep=1.12)
        return
    add(low, low + 0.03 * up, 0.1 * size, 0.095 * size, BodyPart.HAT, HEAD, front=front, deep=1.12)
    if style == 0:  # a cap with a peak
        add(low + 0.085 * front, low + 0.165 * front - 0.012 * up, 0.07, 0.062, BodyPart.HAT, HEAD, front=up, deep=0.16)
    else:  # a hat with a brim
        add(low - 0.002 * up, low + 0.014 * up, 0.19 * size, 0.18 * size, BodyPart.HAT, HEAD, front=front, kind=FRUSTUM)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Place, heading and limbs of a standing or walking person."""

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
    chest_origin: Float64Array  # (3,)
    chest_axes: Float64Array  # (3, 3) world -> chest
    on_torso: BoolArray  # (P,) textured in the chest's frame rather than along the limb


def _swing(length: float, angle: float, side: float = 0.0) -> Float64Array:
    """Return a limb that hangs down, swung forwards by `angle` and outwards by `side` (radians)."""
    return length * np.array([np.sin(side), -np.cos(angle) * np.cos(side), np.sin(angle) * np.cos(side)])


def pose_body(person: Person, pose: Pose) -> Body:
    """Return the body of a person in a pose."""
    s, build = person.shape, SolidsBuilder()
    unit = s.unit
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
        _add_leg(build, person, hip, knee_at, ankle, lower)

    lean = s.stoop + 0.03 * stride
    tilt = np.array([0.0, np.cos(lean), np.sin(lean)])
    chest_front = np.array([0.0, -np.sin(lean), np.cos(lean)])
    twist = 0.13 * stride * s.arm_swing * np.sin(pose.phase)
    across = np.array([np.cos(twist), 0.0, np.sin(twist)])
    spine = bob + 0.02 * unit * UP
    neck = spine + 0.475 * unit * tilt
    _add_torso(build, person, spine, tilt, chest_front, across)
    for side, offset in ((1, np.pi), (-1, 0.0)):
        shoulder = spine + 0.42 * unit * tilt + side * across * (0.178 * unit * s.shoulders)
        _add_arm(build, person, pose, shoulder, side, offset)
    _add_head(build, person, neck, lean)
    if person.has(at.BACKPACK):
        _add_backpack(build, person, spine, tilt, chest_front)
    if person.has(at.BAG):
        _add_shoulder_bag(build, person, spine)

    c, n = np.cos(pose.heading), np.sin(pose.heading)
    turn = np.array([[c, 0.0, n], [0.0, 1.0, 0.0], [-n, 0.0, c]])
    # The left of a person who walks along +z is -x in a right-handed scene, seen from above with z forward.
    turn = turn @ np.diag([-1.0, 1.0, 1.0])
    shift = np.array([pose.x, 0.0, pose.z])
    solids, torso = build.solids(turn, shift)
    chest_axes = np.stack((np.array([1.0, 0, 0]), tilt, chest_front)) @ turn.T
    return Body(solids, (spine @ turn.T) + shift, chest_axes, torso)


def _add_leg(
    build: SolidsBuilder, person: Person, hip: Float64Array, knee: Float64Array, ankle: Float64Array, lower: float
) -> None:
    unit, thick = person.shape.unit, person.shape.thickness
    clothing, skirt = person.clothing, person.labels[at.LOWER_TYPE] == at.DRESS
    bare = BodyPart.SOCKS if skirt else BodyPart.SKIN
    r_hip, r_knee, r_ankle = 0.082 * thick, 0.056 * thick, 0.038 * thick
    end = 0.0 if skirt else clothing.lower_end
    build.add(hip, knee, r_hip, r_knee, BodyPart.LOWER if end >= 1 else bare, LOWER)
    build.add(knee, ankle, r_knee, r_ankle, bare, LOWER)
    if 0 < end < 1:
        build.add(hip, hip + (knee - hip) * end, r_hip * 1.03, r_knee * 1.3 * clothing.leg_width, BodyPart.LOWER, LOWER)
    elif end >= 1:
        tip = knee + (ankle - knee) * max(end - 1, 0.05)
        width = clothing.leg_width * (r_knee + (r_ankle - r_knee) * (end - 1))
        build.add(knee, tip, r_knee * 1.04, max(width, 0.043 * unit), BodyPart.LOWER, LOWER)
    toe = np.array([0.0, -np.sin(-lower * 0.5), np.cos(lower * 0.5)])
    heel = ankle - 0.03 * unit * UP - 0.04 * unit * toe
    ball = heel + 0.2 * unit * toe - 0.012 * unit * UP
    build.add(heel, ball, 0.042 * unit, 0.034 * unit, BodyPart.SHOES, SHOES, front=UP, wide=0.95)
    if clothing.boots:
        shaft = ankle + (knee - ankle) * clothing.boots
        build.add(ankle, shaft, r_ankle * 1.2, r_knee * 1.06, BodyPart.SHOES, SHOES)


def _add_torso(
    build: SolidsBuilder,
    person: Person,
    spine: Float64Array,
    tilt: Float64Array,
    front: Float64Array,
    across: Float64Array,
) -> None:
    s, clothing = person.shape, person.clothing
    unit, thick = s.unit, s.thickness
    skirt = person.labels[at.LOWER_TYPE] == at.DRESS
    hip_w = 0.158 * thick * s.hips + clothing.loose * 0.5
    waist_w = (0.135 + 0.02 * s.belly) * thick * (0.5 + 0.5 * s.hips) + clothing.loose
    chest_w = 0.163 * unit * (0.6 * s.shoulders + 0.4 * s.build) + clothing.loose
    deep = 0.66 + 0.1 * s.belly
    waist, chest = spine + 0.2 * unit * tilt, spine + 0.34 * unit * tilt
    pelvis = spine - 0.05 * unit * UP
    add = build.add
    add(waist, chest, waist_w, chest_w, BodyPart.UPPER, UPPER, front=front, deep=deep, torso=True)
    shoulder = 0.15 * unit * s.shoulders * across
    top = spine + 0.425 * unit * tilt
    r = 0.058 * thick + clothing.loose * 0.6
    add(top - shoulder, top + shoulder, r, r, BodyPart.UPPER, UPPER, front=front, torso=True)
    if s.belly:
        at_belly = spine + 0.16 * unit * tilt + front * (0.055 * s.belly * unit)
        add(at_belly, at_belly + 0.05 * unit * tilt, 0.11 * thick, 0.1 * thick, BodyPart.UPPER, UPPER, torso=True)
    if s.bust:
        bust = spine + 0.315 * unit * tilt + front * (0.052 * unit)
        half, r = 0.062 * unit * np.array([1.0, 0, 0]), (0.052 + 0.022 * s.bust) * unit
        add(bust - half, bust + half, r, r, BodyPart.UPPER, UPPER, front=front, torso=True)
    # Hips belong to the trousers; the shirt covers them down to its hem.
    add(pelvis, waist, hip_w, waist_w * 0.93, BodyPart.LOWER, LOWER, front=front, deep=0.72, torso=True)
    hem = spine - clothing.hem * unit * UP
    hem_w = np.interp(-clothing.hem, (-0.2, 0.05, 0.2), (1.2, 1.08, 1.03)) * hip_w + clothing.loose
    add(hem, waist, hem_w, waist_w * 1.01, BodyPart.UPPER, UPPER, front=front, deep=0.76, kind=FRUSTUM, torso=True)
    if skirt:
        leg = 0.415 * unit * s.legs
        bottom = spine - (leg * clothing.lower_end + 0.02 * unit) * UP
        rim = hip_w * clothing.flare * (0.9 + 0.2 * clothing.lower_end)
        add(
            bottom, waist, rim, waist_w * 0.97, BodyPart.LOWER, LOWER,
            front=front, deep=0.85, kind=FRUSTUM, torso=True,
        )  # fmt: skip


def _add_arm(
    build: SolidsBuilder, person: Person, pose: Pose, shoulder: Float64Array, side: int, offset: float
) -> None:
    clothing, s = person.clothing, person.shape
    unit, thick = s.unit, s.thickness
    stride = pose.walking * s.stride
    carries = person.has(at.HANDBAG) and side == clothing.bag_side
    swing = 0.5 * stride * s.arm_swing * np.sin(pose.phase + offset) + 0.02
    bend, out = 0.25 + 0.25 * max(0.0, np.sin(pose.phase + offset)), 0.12
    if carries:
        swing, bend = swing * 0.35, 0.12
        if clothing.bag_style == 2:  # over the crook of the arm
            swing, bend = 0.05, 1.5
    elif pose.arms == 1 and side == 1:
        swing, bend = 0.55, 1.75
    elif pose.arms == 2:
        swing, bend, out = -0.25, 0.75, 0.3
    elbow = shoulder + _swing(0.285 * unit, swing, side * out)
    wrist = elbow + _swing(0.25 * unit, swing + bend, side * (0.02 if pose.arms == 0 else -0.12))
    r0, r1, r2 = 0.05 * thick, 0.039 * thick, 0.029 * thick
    cloth = clothing.loose + 0.005
    build.add(shoulder, elbow, r0, r1, BodyPart.SKIN, UPPER)
    build.add(elbow, wrist, r1, r2, BodyPart.SKIN, UPPER)
    hand = wrist + (wrist - elbow) * 0.22
    build.add(wrist, hand, 0.033 * unit, 0.035 * unit, BodyPart.SKIN, UPPER, wide=0.7)
    reach = min(clothing.sleeve, 1.0)
    end = shoulder + (elbow - shoulder) * reach
    build.add(shoulder, end, r0 + cloth, r0 + (r1 - r0) * reach + cloth * 1.4, BodyPart.SLEEVE, UPPER)
    if clothing.sleeve > 1:
        end = elbow + (wrist - elbow) * (clothing.sleeve - 1)
        build.add(elbow, end, r1 + cloth * 1.2, r2 + cloth * 1.2, BodyPart.SLEEVE, UPPER)
    if carries:
        _add_handbag(build, person, elbow if clothing.bag_style == 2 else hand)
