"""Bodies: a person and a pose to the solids of an articulated, walking, dressed skeleton.

Body frame: x to the person's left, y up, z forward; the origin lies on the ground between the feet.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vestigo_models.arrays import BoolArray, Float64Array
from vestigo_models.schemas.regions import BELONGINGS, HEAD, LOWER, SHOES, UPPER
from vestigo_models.synthetic import labels as at
from vestigo_models.synthetic.geometry.raycast import FRUSTUM, ROUND_CONE, Solids, Viewpoint, bounding_boxes, cross
from vestigo_models.synthetic.materials.clothes import BodyPart
from vestigo_models.synthetic.people import Person

SIDE, UP, FRONT = np.eye(3)
REGION_OF = {
    BodyPart.HAIR: HEAD,
    BodyPart.HAT: HEAD,
    BodyPart.UPPER: UPPER,
    BodyPart.SLEEVE: UPPER,
    BodyPart.LOWER: LOWER,
    BodyPart.SOCKS: LOWER,
    BodyPart.SHOES: SHOES,
    BodyPart.BELONGING: BELONGINGS,
}
"""Region of each material; that of skin depends on the limb."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Place, heading and limbs of a standing or walking person."""

    x: float  # metres, world
    z: float
    heading: float  # radians; 0 walks along +z, pi/2 along +x
    phase: float  # radians of the gait cycle
    walking: float = 1.0  # 0 stands still
    # 0 swing, 1 one hand before the chest (telephone), 2 hands in the pockets, 3 both hands before the chest,
    # 4 hands behind the back, 5 one hand at the head
    arms: int = 0
    reach: tuple[float, ...] = (0.0, 0.0)  # radians added to the swing of the left and right arm


@dataclass(frozen=True)
class Body:
    """Posed solids in the world, and the chest's frame that torso textures are fixed to."""

    solids: Solids
    chest_origin: Float64Array  # (3,)
    chest_axes: Float64Array  # (3, 3) world -> chest
    on_torso: BoolArray  # (P,) textured in the chest's frame rather than along the limb

    def box(self, view: Viewpoint) -> tuple[float, float, float, float]:
        """Return the extent x0, y0, x1, y1 in a view, in pixels."""
        boxes = bounding_boxes(self.solids, view)
        x0, y0 = boxes[:, :2].min(axis=0)
        x1, y1 = boxes[:, 2:].max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


def pose_body(person: Person, pose: Pose) -> Body:
    """Return the body of a person in a pose."""
    return _BodyBuilder(person, pose).build()


def _swing(length: float, angle: float, side: float = 0.0) -> Float64Array:
    """Return a limb that hangs down, swung forwards by `angle` and outwards by `side` (radians)."""
    return length * np.array([np.sin(side), -np.cos(angle) * np.cos(side), np.sin(angle) * np.cos(side)])


class _BodyBuilder:
    """Collects the solids of one body in body coordinates, in metres."""

    def __init__(self, person: Person, pose: Pose) -> None:
        self.person, self.pose = person, pose
        self.shape, self.clothing = person.shape, person.clothing
        self.unit, self.thick = person.shape.unit, person.shape.thickness
        self.skirt = person.labels[at.LOWER_TYPE] == at.DRESS
        self.stride = pose.walking * person.shape.stride
        self.lean = person.shape.stoop + 0.03 * self.stride
        self.tilt = np.array([0.0, np.cos(self.lean), np.sin(self.lean)])  # up along the trunk
        self.front = np.array([0.0, -np.sin(self.lean), np.cos(self.lean)])  # of the chest
        self.rows: list[tuple[Any, ...]] = []

    def add(
        self,
        start: Float64Array,
        end: Float64Array,
        r0: float,
        r1: float,
        part: BodyPart,
        region: int | None = None,
        *,
        front: Float64Array = FRONT,
        wide: float = 1.0,
        deep: float = 1.0,
        kind: int = ROUND_CONE,
        torso: bool = False,
    ) -> None:
        """Add a solid from `start` (radius r0) to `end` (r1), stretched by `wide` across and `deep` along `front`.

        The texture of a `torso` solid is fixed to the chest. The region is that of the part if it is not given.
        """
        region = REGION_OF[part] if region is None else region
        self.rows.append((start, end, front, r0, r1, wide, deep, kind, int(part), region, torso))

    def build(self) -> Body:
        """Return the whole body in the world."""
        # Legs first: the pelvis is as high as the lower foot allows.
        limb = 0.415 * self.unit * self.shape.legs
        angles = []
        for offset in (0.0, np.pi):
            swing = self.stride * 0.42 * np.sin(self.pose.phase + offset) + 0.02
            bent = max(0.0, np.cos(self.pose.phase + offset)) ** 2 * (swing < 0.35)
            knee = self.stride * (0.12 + 0.75 * bent) + 0.03
            angles.append((swing, swing - knee))
        bob = max(limb * np.cos(a) + limb * np.cos(b) + 0.075 * self.unit for a, b in angles) * UP
        for side, (upper, lower) in zip((1, -1), angles, strict=True):
            hip = bob + side * (0.088 * self.unit * self.shape.hips) * SIDE
            knee_at = hip + _swing(limb, upper, 0.02 * side)
            self.leg(hip, knee_at, knee_at + _swing(limb, lower), lower)

        twist = 0.13 * self.stride * self.shape.arm_swing * np.sin(self.pose.phase)
        across = np.array([np.cos(twist), 0.0, np.sin(twist)])
        spine = bob + 0.02 * self.unit * UP
        self.torso(spine, across)
        for side, offset in ((1, np.pi), (-1, 0.0)):
            wide = 0.178 * self.unit * self.shape.shoulders - 0.5 * self.shape.sloping
            shoulder = spine + (0.42 * self.unit - self.shape.sloping) * self.tilt + side * across * wide
            self.arm(shoulder, side, offset)
        self.head(spine + 0.475 * self.unit * self.tilt)
        if self.person.has(at.BACKPACK):
            self.backpack(spine)
        if self.person.has(at.BAG):
            self.shoulder_bag(spine)

        c, n = np.cos(self.pose.heading), np.sin(self.pose.heading)
        # The left of a person who walks along +z is -x in a right-handed scene, seen from above with z forward.
        turn = np.array([[c, 0.0, n], [0.0, 1.0, 0.0], [-n, 0.0, c]]) @ np.diag([-1.0, 1.0, 1.0])
        shift = np.array([self.pose.x, 0.0, self.pose.z])
        solids, torso = self.place(turn, shift)
        chest_axes = np.stack((SIDE, self.tilt, self.front)) @ turn.T
        return Body(solids, (spine @ turn.T) + shift, chest_axes, torso)

    def place(self, turn: Float64Array, shift: Float64Array) -> tuple[Solids, BoolArray]:
        """Return the solids in the world, rotated by `turn` (3, 3) and shifted, and which of them are on the torso."""
        columns = [np.array(column) for column in zip(*self.rows, strict=True)]
        start, end, front, radius0, radius1, wide, deep, kind, part, region, torso = columns
        start, end, front = start @ turn.T + shift, end @ turn.T + shift, front @ turn.T
        span = end - start
        length = np.linalg.norm(span, axis=1)
        y = span / np.maximum(length, 1e-9)[:, None]
        x = cross(y, front)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        axes = np.stack((x, y, cross(x, y)), axis=1)
        scale = np.stack((wide, np.ones(len(y)), deep), axis=1)[:, :, None]
        solids = Solids(
            kind=kind.astype(np.int64),
            frame=(axes / scale).astype(np.float32),
            axes=np.swapaxes(axes * scale, 1, 2).astype(np.float32),
            origin=start.astype(np.float32),
            radius0=radius0.astype(np.float32),
            radius1=radius1.astype(np.float32),
            length=length.astype(np.float32),
            material=part.astype(np.int64),
            region=region.astype(np.uint8),
        )
        return solids, torso.astype(bool)

    def leg(self, hip: Float64Array, knee: Float64Array, ankle: Float64Array, lower: float) -> None:
        """Add a leg with its shoe; `lower` is the angle of the shin in radians."""
        clothing = self.clothing
        bare = BodyPart.SOCKS if self.skirt else BodyPart.SKIN
        r_hip, r_knee, r_ankle = 0.082 * self.thick, 0.056 * self.thick, 0.038 * self.thick
        end = 0.0 if self.skirt else clothing.lower_end
        self.add(hip, knee, r_hip, r_knee, BodyPart.LOWER if end >= 1 else bare, LOWER)
        self.add(knee, ankle, r_knee, r_ankle, bare, LOWER)
        if 0 < end < 1:
            self.add(hip, hip + (knee - hip) * end, r_hip * 1.03, r_knee * 1.3 * clothing.leg_width, BodyPart.LOWER)
        elif end >= 1:
            tip = knee + (ankle - knee) * max(end - 1, 0.05)
            width = clothing.leg_width * (r_knee + (r_ankle - r_knee) * (end - 1))
            self.add(knee, tip, r_knee * 1.04, max(width, 0.043 * self.unit), BodyPart.LOWER)
        toe = np.array([0.0, -np.sin(-lower * 0.5), np.cos(lower * 0.5)])
        heel = ankle - 0.03 * self.unit * UP - 0.04 * self.unit * toe
        ball = heel + 0.2 * self.unit * toe - 0.012 * self.unit * UP
        self.add(heel, ball, 0.042 * self.unit, 0.034 * self.unit, BodyPart.SHOES, front=UP, wide=0.95)
        if clothing.sock:
            self.add(ankle, ankle + (knee - ankle) * clothing.sock, r_ankle * 1.08, r_knee, BodyPart.SOCKS)
        if clothing.boots:
            shaft = ankle + (knee - ankle) * clothing.boots
            self.add(ankle, shaft, r_ankle * 1.2, r_knee * 1.06, BodyPart.SHOES)

    def torso(self, spine: Float64Array, across: Float64Array) -> None:
        """Add chest, shoulders, hips and their clothes; `across` points from the spine to the left shoulder."""
        s, clothing, unit, thick, tilt, front = self.shape, self.clothing, self.unit, self.thick, self.tilt, self.front
        hip_w = 0.158 * thick * s.hips + clothing.loose * 0.5
        waist_w = (0.135 + 0.02 * s.belly) * thick * (0.5 + 0.5 * s.hips) + clothing.loose
        chest_w = 0.163 * unit * (0.6 * s.shoulders + 0.4 * s.build) + clothing.loose
        waist, chest = spine + 0.2 * unit * tilt, spine + 0.34 * unit * tilt

        def upper(start: Float64Array, end: Float64Array, r0: float, r1: float, **options: Any) -> None:
            self.add(start, end, r0, r1, BodyPart.UPPER, torso=True, **options)

        upper(waist, chest, waist_w, chest_w, front=front, deep=0.66 + 0.1 * s.belly)
        shoulder = 0.15 * unit * s.shoulders * across
        top = spine + 0.425 * unit * tilt
        r = 0.058 * thick + clothing.loose * 0.6
        upper(top - shoulder, top + shoulder, r, r, front=front)
        if s.belly:
            at_belly = spine + 0.16 * unit * tilt + front * (0.055 * s.belly * unit)
            upper(at_belly, at_belly + 0.05 * unit * tilt, 0.11 * thick, 0.1 * thick)
        if s.bust:
            bust = spine + 0.315 * unit * tilt + front * (0.052 * unit)
            half, r = 0.062 * unit * SIDE, (0.052 + 0.022 * s.bust) * unit
            upper(bust - half, bust + half, r, r, front=front)
        top_of_lower = spine + 0.2 * unit * clothing.rise * tilt
        # Hips belong to the trousers; the shirt covers them down to its hem.
        pelvis, low_w = spine - 0.05 * unit * UP, waist_w * 0.93
        self.add(pelvis, top_of_lower, hip_w, low_w, BodyPart.LOWER, front=front, deep=0.72, torso=True)
        hem = spine - clothing.hem * unit * UP
        hem_w = np.interp(-clothing.hem, (-0.2, 0.05, 0.2), (1.2, 1.08, 1.03)) * hip_w + clothing.loose
        upper(hem, waist, hem_w, waist_w * 1.01, front=front, deep=0.76, kind=FRUSTUM)
        if clothing.hood:
            nape = spine + 0.45 * unit * tilt - front * (0.075 * unit)
            upper(nape, nape - 0.06 * unit * tilt, 0.085 * unit, 0.07 * unit, front=front, deep=0.6)
        if clothing.scarf:
            neck = spine + 0.475 * unit * tilt
            self.add(neck - 0.02 * tilt, neck + 0.035 * tilt, 0.078 * unit, 0.072 * unit, BodyPart.HAT, UPPER)
            end = neck + front * 0.1 * unit + 0.04 * SIDE
            self.add(
                end - 0.22 * unit * tilt, end - 0.02 * tilt, 0.045, 0.04, BodyPart.HAT, UPPER, front=front, deep=0.5
            )
        if self.skirt:
            bottom = spine - (0.415 * unit * s.legs * clothing.lower_end + 0.02 * unit) * UP
            rim, low_w = hip_w * clothing.flare * (0.9 + 0.2 * clothing.lower_end), waist_w * 0.97
            self.add(bottom, top_of_lower, rim, low_w, BodyPart.LOWER, front=front, deep=0.85, kind=FRUSTUM, torso=True)

    def arm(self, shoulder: Float64Array, side: int, offset: float) -> None:
        """Add an arm, and the handbag that it carries; `offset` is that of its swing in the gait cycle."""
        clothing, unit = self.clothing, self.unit
        carries = self.person.has(at.HANDBAG) and side == clothing.bag_side
        swing = 0.5 * self.stride * self.shape.arm_swing * np.sin(self.pose.phase + offset) + 0.02
        bend, out = 0.25 + 0.25 * max(0.0, np.sin(self.pose.phase + offset)), 0.12
        if carries and clothing.bag_style == 2:  # over the crook of the arm
            swing, bend = 0.05, 1.5
        elif carries:
            swing, bend = swing * 0.35, 0.12
        elif self.pose.arms == 1 and side == 1:
            swing, bend = 0.55, 1.75
        elif self.pose.arms == 2:
            swing, bend, out = -0.25, 0.75, 0.3
        elif self.pose.arms == 3:
            swing, bend = 0.35, 1.45
        elif self.pose.arms == 4:
            swing, bend, out = -0.5, 0.7, 0.2
        elif self.pose.arms == 5 and side == 1:
            swing, bend = 1.3, 1.5
        if any(self.pose.reach):
            reach = self.pose.reach[0 if side == 1 else 1]
            swing, bend = swing + reach, max(bend + 0.7 * reach, 0.0)
        elbow = shoulder + _swing(0.285 * unit, swing, side * out)
        wrist = elbow + _swing(
            0.25 * unit, swing + bend, side * (0.02 if self.pose.arms == 0 else -0.35 if self.pose.arms == 3 else -0.12)
        )
        r0, r1, r2 = 0.05 * self.thick, 0.039 * self.thick, 0.029 * self.thick
        cloth = clothing.loose + 0.005
        self.add(shoulder, elbow, r0, r1, BodyPart.SKIN, UPPER)
        self.add(elbow, wrist, r1, r2, BodyPart.SKIN, UPPER)
        hand = wrist + (wrist - elbow) * 0.22
        self.add(wrist, hand, 0.033 * unit, 0.035 * unit, BodyPart.SKIN, UPPER, wide=0.7)
        reach = min(clothing.sleeve, 1.0)
        end = shoulder + (elbow - shoulder) * reach
        self.add(shoulder, end, r0 + cloth, r0 + (r1 - r0) * reach + cloth * 1.4, BodyPart.SLEEVE)
        if clothing.sleeve > 1:
            end = elbow + (wrist - elbow) * (clothing.sleeve - 1)
            self.add(elbow, end, r1 + cloth * 1.2, r2 + cloth * 1.2, BodyPart.SLEEVE)
        if carries:
            self.handbag(elbow if clothing.bag_style == 2 else hand)

    def handbag(self, grip: Float64Array) -> None:
        """Hang a handbag from `grip`, a hand or the crook of the arm."""
        size = self.clothing.bag_size
        top = grip - 0.12 * UP * size
        half = (0.13, 0.17, 0.15)[self.clothing.bag_style] * size
        low = top - (0.2, 0.32, 0.22)[self.clothing.bag_style] * size * UP
        self.add(low, top, half * 1.05, half * 0.85, BodyPart.BELONGING, front=SIDE, deep=0.36, kind=FRUSTUM)
        for end in (-0.5, 0.5):
            self.add(grip, top + FRONT * half * end, 0.011, 0.011, BodyPart.BELONGING, front=SIDE)

    def backpack(self, spine: Float64Array) -> None:
        """Add a backpack, with a pocket in some styles."""
        size, unit, front = self.clothing.bag_size, self.unit, self.front
        back = spine - front * (0.16 * self.thick + self.clothing.loose)
        low, high = back + (0.12 * unit) * self.tilt, back + (0.12 * unit + 0.2 * size) * self.tilt
        w0, deep = 0.145 * size, 0.66 + 0.1 * (size - 1)
        self.add(low, high, w0, w0 * 0.9, BodyPart.BELONGING, front=front, deep=deep)
        if self.clothing.bag_style:
            low = low - front * 0.06 * size
            self.add(low, low + 0.07 * self.tilt, 0.11 * size, 0.1 * size, BodyPart.BELONGING, front=front, deep=0.6)

    def shoulder_bag(self, spine: Float64Array) -> None:
        """Hang a bag over one shoulder."""
        clothing, style = self.clothing, self.clothing.bag_style
        side = clothing.bag_side * SIDE
        out = 0.19 * self.thick * self.shape.hips + clothing.loose
        centre = spine + side * out + FRONT * (0.0, -0.07, 0.05)[style] - 0.06 * self.unit * UP
        half = (0.15, 0.13, 0.17)[style] * clothing.bag_size
        rise = 0.5 * ((0.2, 0.24, 0.26)[style] * clothing.bag_size) * UP
        low, high = centre - rise, centre + rise
        self.add(low, high, half, half * 0.92, BodyPart.BELONGING, front=side, deep=0.4, kind=FRUSTUM)

    def head(self, neck: Float64Array) -> None:
        """Add head, hair and hat."""
        size = self.shape.head * (0.5 + 0.5 * self.unit)
        add, style, unit = self.add, self.clothing.hair_style, self.unit
        up = np.array([0.0, np.cos(self.lean * 0.7), np.sin(self.lean * 0.7)])
        front = np.array([0.0, -np.sin(self.lean * 0.7), np.cos(self.lean * 0.7)])
        add(neck - 0.04 * unit * UP, neck + 0.07 * up, 0.052 * unit, 0.05 * unit, BodyPart.SKIN, HEAD)
        centre = neck + (0.115 * size) * up + 0.02 * front
        chin = centre - 0.035 * size * up + 0.012 * front
        add(chin, centre + 0.035 * size * up, 0.066 * size, 0.08 * size, BodyPart.SKIN, HEAD, front=front, deep=1.16)
        add(centre + 0.1 * size * front, centre + 0.105 * size * front - 0.03 * up, 0.012, 0.016, BodyPart.SKIN, HEAD)
        crown = centre + 0.05 * size * up - 0.026 * size * front
        long_hair = self.person.labels[at.HAIR] == 1
        bald = self.person.labels[at.GENDER] == at.MALE and style == 2 and self.person.labels[at.AGE] >= at.ADULT
        volume = 0.086 if bald else (0.096 if long_hair else 0.091)
        volume *= self.clothing.hair_volume
        low, high = crown - 0.02 * size * up, crown + (0.0 if bald else 0.02) * size * up
        add(low, high, volume * size, volume * size * 0.98, BodyPart.HAIR, front=front, deep=1.14)
        if self.clothing.bun:
            knot = centre - 0.1 * size * front + 0.05 * up
            add(knot, knot - 0.01 * up, 0.045, 0.045, BodyPart.HAIR)
        if long_hair and style == 1:  # a pony tail
            knot = centre - 0.11 * size * front + 0.04 * up
            add(knot, knot - 0.2 * up - 0.05 * front, 0.036, 0.026, BodyPart.HAIR)
        elif long_hair:
            drop, nape = (0.36 if style else 0.24), centre - 0.055 * size * front
            end = nape - drop * up - 0.035 * front
            add(end, nape, 0.075 * size, 0.1 * size, BodyPart.HAIR, front=front, wide=1.12, deep=0.62)
            for side in (-1, 1):
                lock = centre + side * 0.078 * size * SIDE - 0.01 * front
                add(lock - (drop * 0.7) * up, lock, 0.028, 0.034, BodyPart.HAIR)
        if self.person.has(at.HAT):
            self.hat(crown, up, front, size)

    def hat(self, crown: Float64Array, up: Float64Array, front: Float64Array, size: float) -> None:
        """Add a cap with a peak, a knitted cap, or a hat with a brim."""
        low, style = crown + 0.018 * size * up, self.clothing.hat_style
        if style == 1:
            start, end, r0, r1 = low - 0.01 * up, low + 0.04 * up, 0.103 * size, 0.094 * size
        else:
            start, end, r0, r1 = low, low + 0.03 * up, 0.1 * size, 0.095 * size
        self.add(start, end, r0, r1, BodyPart.HAT, front=front, deep=1.12)
        if style == 0:
            peak = low + 0.165 * front - 0.012 * up
            self.add(low + 0.085 * front, peak, 0.07, 0.062, BodyPart.HAT, front=up, deep=0.16)
        elif style == 2:
            brim = low + 0.014 * up
            self.add(low - 0.002 * up, brim, 0.19 * size, 0.18 * size, BodyPart.HAT, front=front, kind=FRUSTUM)
