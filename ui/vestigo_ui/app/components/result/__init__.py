"""Dialog of one search result."""
