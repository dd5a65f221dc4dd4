"""Searches of the command line, the screen and the server: request, answer, and the way to a running server."""
