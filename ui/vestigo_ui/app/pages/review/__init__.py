"""Page Review: tasks, progress and corrections."""
