"""The audit log and the verdicts about search results."""
