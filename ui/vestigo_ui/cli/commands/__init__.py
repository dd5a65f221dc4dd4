"""The commands of `vestigo`, one file a command."""
