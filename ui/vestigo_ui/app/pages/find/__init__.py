"""Page Find: search by picture or by attributes."""
