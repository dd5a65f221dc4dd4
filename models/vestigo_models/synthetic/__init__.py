"""Rendered people: worlds, cameras and an analytic ray caster."""
