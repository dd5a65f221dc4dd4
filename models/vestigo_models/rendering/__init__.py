"""Rendered people: a small analytic ray caster and the world it looks at.

World            people, cameras and scenes of one seed
render_crop      one person, one camera, one view -> a crop with pixel-exact regions
World.video      one camera's footage with the true boxes
PRESETS          named settings
"""

from vestigo_models.rendering.crops import Crop, render_crop, render_junk
from vestigo_models.rendering.people import Person, draw_person
from vestigo_models.rendering.preset import PRESETS, Preset
from vestigo_models.rendering.video import VideoFrame
from vestigo_models.rendering.world import World

__all__ = ["PRESETS", "Crop", "Person", "Preset", "VideoFrame", "World", "draw_person", "render_crop", "render_junk"]
