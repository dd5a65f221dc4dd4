"""Label maps of an indexed archive or a folder of images."""
