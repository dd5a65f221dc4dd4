"""Score or re-rank features with torchreid; `evaluation.py --torchreid-python` runs this in torchreid's environment.

    python torchreid_evaluation.py FEATURES.npz TORCHREID cosine|rerank

TORCHREID is a checkout whose `torchreid/metrics/rank_cylib` is compiled. Prints one JSON object with the seconds of
processor time of distances and metrics, and the scores. Only the subpackages that this needs are imported, as the whole
package needs torchvision.
"""

import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch


def main() -> None:
    features, checkout, how = np.load(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for name in ("torchreid", "torchreid.utils"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(checkout / name.replace(".", "/"))]
    from torchreid.metrics.distance import compute_distance_matrix
    from torchreid.metrics.rank import IS_CYTHON_AVAI, evaluate_rank

    assert IS_CYTHON_AVAI, f"{checkout}/torchreid/metrics/rank_cylib is not compiled"
    query, gallery = (torch.from_numpy(features[name]) for name in ("query", "gallery"))

    def distance(left: torch.Tensor, right: torch.Tensor) -> np.ndarray:
        return compute_distance_matrix(left, right, "cosine").numpy()

    started = time.process_time()
    if how == "rerank":
        from torchreid.utils.rerank import re_ranking

        pairs = ((query, gallery), (query, query), (gallery, gallery))
        # On the way to the published distances, squares are of unit vectors.
        squares = [np.sqrt(np.maximum(2 * distance(*pair), 0)) for pair in pairs]
        distances = re_ranking(*squares)
    else:
        distances = distance(query, gallery)
    between = time.process_time()
    labels = [features[name] for name in ("query_pids", "gallery_pids", "query_camids", "gallery_camids")]
    cmc, mean_ap = evaluate_rank(distances, *labels, 50, use_cython=True)
    ended = time.process_time()
    print(
        json.dumps(
            {
                "distances_s": between - started,
                "metrics_s": ended - between,
                "mAP": 100 * float(mean_ap),
                "rank1": 100 * float(cmc[0]),
            }
        )
    )


if __name__ == "__main__":
    main()
