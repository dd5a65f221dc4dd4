"""Scenery: backgrounds with the texture and the things of real streets, yards and halls."""
