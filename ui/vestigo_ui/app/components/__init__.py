"""Components that several pages show."""
