"""Probabilities of network and parser, combined."""

from __future__ import annotations

import numpy as np

from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import combine_probabilities, fls_labels

H, W = 64, 32
UPPER, BAG = 2, 5


def test_probabilities_of_network_and_parser_are_multiplied() -> None:
    rng = np.random.default_rng(4)
    network = rng.dirichlet(np.ones(6), (2, 3, 4)).astype(np.float32)
    parser = rng.dirichlet(np.ones(6), (2, 3, 4)).astype(np.float32)
    combined = combine_probabilities(network, parser)
    for cell in np.ndindex(2, 3, 4):
        p, s = network[cell].tolist(), parser[cell].tolist()
        products = [p[k] * s[k] for k in range(5)] + [p[5] * (s[0] + s[5])]
        np.testing.assert_allclose(combined[cell], [value / sum(products) for value in products], rtol=1e-5)


def test_network_decides_if_product_is_zero() -> None:
    network, parser = np.eye(6, dtype=np.float32)[[5, 0]], np.eye(6, dtype=np.float32)[[2, 2]]
    np.testing.assert_array_equal(combine_probabilities(network, parser), network)


def test_confident_parser_keeps_clothes_from_classifier() -> None:
    parsed = np.zeros((3, H, W), dtype=np.uint8)
    parsed[:, 6:14, 13:19], parsed[:, 14:34, 10:20], parsed[:, 34:54, 11:19] = 1, UPPER, 3
    parser_probabilities = np.eye(6, dtype=np.float32)[parsed]
    probabilities = np.full((3, H, W, 6), 0.02, dtype=np.float32)
    probabilities[..., 0] = 0.9
    probabilities[:, 24:36, 14:26] = (0.05, 0, 0.2, 0.05, 0, 0.7)
    config = FlsConfig(belongings_mode="classifier", foreground="classifier", sure=0.3)
    features = np.zeros((3, H, W, 4), dtype=np.float32)
    alone = fls_labels(features, parsed, config, probabilities)
    assert (alone[:, 25:33, 15:19] == BAG).all()
    together = fls_labels(features, parsed, config, probabilities, parser_probabilities)
    assert (together[:, 25:33, 15:19] == UPPER).all()
    assert (together[:, 25:35, 21:25] == BAG).all()
