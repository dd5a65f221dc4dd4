"""The pages of the app, one folder a page."""
