"""Page Find: search by crops, images or attributes."""
