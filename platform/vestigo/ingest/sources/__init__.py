"""Sources of an archive: folders, tar and zip files, datasets."""
