"""The browse index: tracklets of a store with camera, time and attributes."""
