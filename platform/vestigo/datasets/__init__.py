"""Re-identification datasets in memory and on disk."""
