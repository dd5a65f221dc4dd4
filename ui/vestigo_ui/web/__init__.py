"""Sign-in and serving of the app."""
