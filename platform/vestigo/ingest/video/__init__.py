"""Video: probing, decoding, slices, and tracklets assembled from slices."""
