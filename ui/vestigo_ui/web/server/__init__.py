"""Serving the app with uvicorn."""
