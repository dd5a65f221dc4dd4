"""One search result in depth."""
