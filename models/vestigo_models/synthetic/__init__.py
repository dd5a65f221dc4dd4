"""Rendered people: an analytic ray caster and the world that it looks at."""
