"""Crops that one core renders per second, and the recall of HOG on people of a rendered video.

    OMP_NUM_THREADS=1 python benchmarks/render.py [--preset default] [--crops 200] [--frames 12]

CPU time, not wall time, so that the result holds for one core on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import time

import cv2
import numpy as np

from vestigo_models.synthetic.crops import render_crop
from vestigo_models.synthetic.presets import PRESETS
from vestigo_models.synthetic.video import render_video
from vestigo_models.synthetic.world import BYSTANDERS, World


def crops_per_second(preset: str, count: int) -> float:
    """Return the rate over the crops of each person that the preset asks for, under two of its cameras."""
    appearance = PRESETS[preset]
    views = appearance.images_per_camera
    world = World(appearance, seed=1, identities=8 + count // (2 * views), cameras=2)
    for camera in range(2):  # backgrounds and the crowd are rendered once per world
        for scene in range(appearance.scenes):
            world.setting(camera, scene)
    for person in range(BYSTANDERS):
        world.bystander(person)
    for warm in range(8):
        render_crop(world, warm, warm % 2, 0)
    start, rendered = time.process_time(), 0
    for person in range(8, len(world.people)):
        for camera, view in np.ndindex(2, views):
            render_crop(world, person, camera, view)
            rendered += 1
    return rendered / (time.process_time() - start)


def measure_video(frames: int) -> dict[str, float]:
    """Return seconds per frame, and the recall of OpenCV's people detector on people at least 90 pixels tall."""
    world = World(PRESETS["default"], seed=2, identities=30, cameras=1)
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    spent, found, people = 0.0, 0, 0
    world.setting(0, 0)  # the background is rendered once
    footage = render_video(world, 0, seconds=frames, fps=1.0)
    for _ in range(frames):
        start = time.process_time()
        frame = next(footage)
        spent += time.process_time() - start
        windows, _ = hog.detectMultiScale(frame.image[..., ::-1].copy(), winStride=(4, 4), scale=1.05)
        detected = [(x + 0.1 * w, y + 0.07 * h, 0.8 * w, 0.86 * h) for x, y, w, h in windows]
        for box in frame.boxes[frame.boxes[:, 3] >= 90]:
            people += 1
            found += any(overlap(box, other) >= 0.5 for other in detected)
    return {"seconds_per_frame": spent / frames, "tall_people": people, "hog_recall": found / max(people, 1)}


def overlap(a: np.ndarray, b: tuple[float, ...]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return float(common / (a[2] * a[3] + b[2] * b[3] - common))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="default")
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rate = crops_per_second(options.preset, options.crops)
    print(json.dumps({"crops_per_second": rate, **measure_video(options.frames)}, indent=1))
