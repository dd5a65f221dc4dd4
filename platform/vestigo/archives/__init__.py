"""Camera archives: what they hold, how they are cut into shards, and how footage becomes person crops in tracklets."""

from vestigo.archives.assembly import PICK_SCHEMA, TRACKLET_SCHEMA, Tracklets, assemble
from vestigo.archives.candidates import CANDIDATE_SCHEMA, Candidate, candidate_table, detect_still
from vestigo.archives.decode import Failure, Frame, FrameReader, VideoSlice, read_frame, slices
from vestigo.archives.discover import discover, source_kind
from vestigo.archives.estimate import Estimate, estimate
from vestigo.archives.ids import STILL, crop_id, tracklet_id, whole_image_id
from vestigo.archives.inputs import (
    Ignored,
    ImageInput,
    Item,
    Keyframe,
    Locator,
    Problem,
    VideoInfo,
    VideoInput,
    item_from_json,
    item_to_json,
)
from vestigo.archives.members import read_image_input, read_member
from vestigo.archives.parts import DETECTION_SCHEMA, Part, extract_part
from vestigo.archives.probe import probe
from vestigo.archives.shards import AssemblyShard, ImageShard, Shard, SliceShard, plan_shards, shard_from_json

__all__ = [
    "CANDIDATE_SCHEMA",
    "DETECTION_SCHEMA",
    "PICK_SCHEMA",
    "STILL",
    "TRACKLET_SCHEMA",
    "AssemblyShard",
    "Candidate",
    "Estimate",
    "Failure",
    "Frame",
    "FrameReader",
    "Ignored",
    "ImageInput",
    "ImageShard",
    "Item",
    "Keyframe",
    "Locator",
    "Part",
    "Problem",
    "Shard",
    "SliceShard",
    "Tracklets",
    "VideoInfo",
    "VideoInput",
    "VideoSlice",
    "assemble",
    "candidate_table",
    "crop_id",
    "detect_still",
    "discover",
    "estimate",
    "extract_part",
    "item_from_json",
    "item_to_json",
    "plan_shards",
    "probe",
    "read_frame",
    "read_image_input",
    "read_member",
    "shard_from_json",
    "slices",
    "source_kind",
    "tracklet_id",
    "whole_image_id",
]
