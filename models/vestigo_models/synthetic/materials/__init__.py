"""Materials of rendered people and their shading."""
