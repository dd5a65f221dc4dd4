"""Page Rankings: saved rankings and their scores."""
