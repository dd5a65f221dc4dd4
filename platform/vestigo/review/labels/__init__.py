"""Labels that annotators agreed on, and their formats."""
