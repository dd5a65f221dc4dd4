"""The `vestigo` command line."""
