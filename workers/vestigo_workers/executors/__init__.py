"""Executors: in this process, or on Ray actors."""
