"""The `vestigo` command line: one file a command, collected in `main`."""
