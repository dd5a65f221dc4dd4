"""Searches over HTTP: `vestigo serve`."""
