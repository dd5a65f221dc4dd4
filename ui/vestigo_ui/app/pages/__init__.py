"""The six pages of the app, a module each with `show(desk)`."""
