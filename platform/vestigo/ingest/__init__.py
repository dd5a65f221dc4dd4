"""Footage to person crops: sources, video, shards."""
