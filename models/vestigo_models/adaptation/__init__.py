"""Adaptation of a network to unlabelled crops: clusters as pseudo-identities, a memory of centroids, a mean teacher."""
