"""A memory of cluster centroids, and the contrastive losses of crops against it."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.adaptation.clusters import NOT_CLUSTERED, unit_length
from vestigo_models.arrays import Float32Array, Int64Array


class CentroidMemory(nn.Module):
    """Centroids of clusters and of the crops of a cluster in one camera (camera-aware proxies), of unit length.

    The loss is InfoNCE over the clusters (Cluster Contrast; Dai et al., ACCV 2022) and, with a weight, over proxies
    (Wang et al., AAAI 2021): those of the crop's own camera, and those of other cameras, of which the ones of its
    cluster are positive and the `hard_negatives` most similar ones of other clusters negative.
    """

    clusters: Tensor  # (C, D)
    proxies: Tensor  # (P, D)
    proxy_clusters: Tensor  # (P,) int64
    proxy_cameras: Tensor  # (P,) int64

    def __init__(
        self,
        vectors: Float32Array,
        labels: Int64Array,
        cameras: Int64Array,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        camera_weight: float = 0.5,
        hard_negatives: int = 50,
    ) -> None:
        """Fill the memory from (N, D) unit vectors of crops, their clusters (N,) and cameras (N,)."""
        super().__init__()
        self.temperature, self.momentum = temperature, momentum
        self.camera_weight, self.hard_negatives = camera_weight, hard_negatives
        rows = np.flatnonzero(labels != NOT_CLUSTERED)
        pairs, members = np.unique(np.stack([labels[rows], cameras[rows]], axis=1), axis=0, return_inverse=True)
        self.register_buffer("clusters", torch.from_numpy(_means(vectors[rows], labels[rows])))
        self.register_buffer("proxies", torch.from_numpy(_means(vectors[rows], members.reshape(-1))))
        self.register_buffer("proxy_clusters", torch.from_numpy(pairs[:, 0].copy()))
        self.register_buffer("proxy_cameras", torch.from_numpy(pairs[:, 1].copy()))

    def forward(self, vectors: Tensor, labels: Tensor, cameras: Tensor) -> dict[str, Tensor]:
        """Return the losses of B crops: `cluster`, `camera` and their weighted sum `contrast`.

        Args:
            vectors: (B, D) unit vectors with gradients.
            labels: (B,) clusters.
            cameras: (B,) cameras.
        """
        cluster = functional.cross_entropy(vectors @ self.clusters.T / self.temperature, labels)
        similarity = vectors @ self.proxies.T / self.temperature
        same_cluster = labels[:, None] == self.proxy_clusters
        same_camera = cameras[:, None] == self.proxy_cameras
        within = functional.cross_entropy(
            similarity.masked_fill(~same_camera, -torch.inf), (same_cluster & same_camera).int().argmax(dim=1)
        )
        camera = within + 0.5 * self._across(similarity, same_cluster, same_camera)
        return {"contrast": cluster + self.camera_weight * camera, "cluster": cluster, "camera": camera}

    def _across(self, similarity: Tensor, same_cluster: Tensor, same_camera: Tensor) -> Tensor:
        """Return the mean loss of crops against the proxies of their cluster in other cameras; 0 if there are none."""
        positive = same_cluster & ~same_camera
        counts = positive.sum(dim=1)
        if not counts.any():
            return similarity.new_zeros(())
        negatives = similarity.masked_fill(same_cluster, -torch.inf)
        hardest = negatives.topk(min(self.hard_negatives, negatives.shape[1]), dim=1).values
        total = torch.cat([similarity.masked_fill(~positive, -torch.inf), hardest], dim=1).logsumexp(dim=1)
        losses = (total[:, None] - similarity).masked_fill(~positive, 0).sum(dim=1) / counts.clamp(min=1)
        return losses[counts > 0].mean()

    @torch.no_grad()
    def update(self, vectors: Tensor, labels: Tensor, cameras: Tensor) -> None:
        """Move each centroid of the batch towards the least similar of its crops."""
        for cluster in sorted(set(labels.tolist())):
            rows = labels == cluster
            self._move(self.clusters, cluster, vectors[rows])
            for camera in sorted(set(cameras[rows].tolist())):
                proxy = ((self.proxy_clusters == cluster) & (self.proxy_cameras == camera)).nonzero()
                self._move(self.proxies, int(proxy), vectors[rows & (cameras == camera)])

    def _move(self, centroids: Tensor, row: int, vectors: Tensor) -> None:
        hardest = vectors[(vectors @ centroids[row]).argmin()]
        moved = self.momentum * centroids[row] + (1 - self.momentum) * hardest
        centroids[row] = functional.normalize(moved, dim=0)


def _means(vectors: Float32Array, groups: Int64Array) -> Float32Array:
    """Return the unit means of vectors (N, D) by group (N,), numbered 0, 1, ..."""
    sums = np.zeros((int(groups.max()) + 1, vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, groups, vectors)
    return unit_length(sums)
