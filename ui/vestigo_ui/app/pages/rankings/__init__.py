"""Page Rankings: saved rankings with their scores."""
