"""Tracklets from the detections of a video, and their best crops."""
