"""Track the detections of one video with BoxMOT; `tracking.py --boxmot-python` runs this in BoxMOT's environment.

    python boxmot_tracks.py FOLDER bytetrack|botsort FPS MIN_SCORE

FOLDER has detections.csv (frame, row, left, top, right, bottom, score) and the frames as FRAME.png. The result is
tracks.csv (frame, row, track). Settings are the defaults of the trackers' classes, except for the score of a certain
detection, which is that of the detector, and without ReID, whose weights need a download.
"""

import sys
from pathlib import Path

import boxmot
import cv2
import numpy as np
import pandas as pd

CLASS = 0


def main() -> None:
    folder, name, fps, min_score = Path(sys.argv[1]), sys.argv[2], round(float(sys.argv[3])), float(sys.argv[4])
    if name == "bytetrack":
        tracker = boxmot.ByteTrack(track_thresh=min_score, match_thresh=0.9, frame_rate=fps)
    else:
        scores = {"track_high_thresh": min_score, "new_track_thresh": min_score + 0.1}
        tracker = boxmot.BotSort(**scores, cmc_method="sof", frame_rate=fps, use_embeddings=False)
    detections = pd.read_csv(folder / "detections.csv")
    tracks = []
    for path in sorted(folder.glob("*.png"), key=lambda path: int(path.stem)):
        own = detections[detections["frame"] == int(path.stem)]
        rows = own[["left", "top", "right", "bottom", "score"]].to_numpy(dtype=np.float32)
        rows = np.concatenate([rows, np.full((len(rows), 1), CLASS, dtype=np.float32)], axis=1)
        for output in np.asarray(tracker.update(rows, cv2.imread(str(path)))):
            tracks.append((int(path.stem), int(own["row"].iloc[int(output[7])]), int(output[4])))
    pd.DataFrame(tracks, columns=["frame", "row", "track"]).to_csv(folder / "tracks.csv", index=False)


if __name__ == "__main__":
    main()
