"""Why drawing by doubt gains nothing for some attributes: is there anything to gain, and who spends the reviews?

    OMP_NUM_THREADS=1 python benchmarks/review_reasons.py [--starts shipped weak] [--seeds 3]

Needs the curves of `review_curves.py` for `random` and the default strategy:

- *all*: the accuracy after all tasks of the archive were reviewed, which no choice of some can beat by much;
- *own*: runs in which the draw follows the doubt about one attribute alone, so that no other spends its reviews;
- *doubted*: how often the model that learnt all tasks is still wrong about the tenth of them that the first model
  doubts most (in this attribute), compared with all tasks. Where it is, answers to them teach nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from review_curves import HELD_OUT, ROUND, ROUNDS, TAUGHT, Learning, Scene, plain, weak
from review_people import candidates, people, predictions
from review_table import Curves
from vestigo.review.sampling.probabilities import inclusion_probabilities, systematic_sample
from vestigo.review.sampling.strategies import DEFAULT_STRATEGY, decay_by_rank, normalised_entropy
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.builtin import MARKET_1501 as SCHEMA
from vestigo_models.training.head_refit.data import predict_attributes

TENTH = 10


def own_run(scene: Scene, attribute: int, seed: int) -> list[Any]:
    """The start and the model after each round whose draw follows the doubt about one attribute, judged."""
    rng = np.random.default_rng(seed)
    learning = Learning(scene.start, scene.archive, rng)
    drawn = np.zeros(len(learning.said), dtype=np.bool_)
    package, found = scene.start, [scene.judge(scene.start)]
    for _ in range(ROUNDS):
        seen = candidates(scene.archive, predict_attributes(package, scene.archive.pooled))
        probabilities = inclusion_probabilities(
            decay_by_rank(normalised_entropy(seen)[attribute]), ROUND, sampled=drawn
        )
        drawn[systematic_sample(probabilities, rng, sampled=drawn)] = True
        package = learning.refitted(drawn)
        found.append(scene.judge(package))
    return found


def still_wrong(scene: Scene, taught: ModelPackage) -> NDArray[np.float64]:
    """Shares of tasks that a model is wrong about, 2 x n: of the tenth that the start doubts most, and of all."""
    archive = scene.archive
    before = candidates(archive, predict_attributes(scene.start, archive.pooled))
    after = candidates(archive, predict_attributes(taught, archive.pooled))
    truth = archive.labels[np.unique(archive.task, return_index=True)[1]]
    wrong, known = predictions(after.probabilities)[0] != truth, truth >= 0
    doubts = normalised_entropy(before)
    shares = []
    for place in range(len(SCHEMA)):
        most = np.argsort(-doubts[place], kind="stable")[: len(truth) // TENTH]
        some = most[known[most, place]]
        shares.append((wrong[some, place].mean(), wrong[known[:, place], place].mean()))
    return np.array(shares).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", nargs="+", default=["shipped", "weak"], choices=["shipped", "weak"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--identities", type=int, default=2000)
    parser.add_argument("--cache", type=Path, default=Path("review-cache"))
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    curves, log = arguments.cache / "curves.jsonl", arguments.cache / "reasons.jsonl"
    package = ModelPackage.from_pretrained("default")
    every = people(package, arguments.identities, arguments.cache)
    archive = every.of((every.pids >= TAUGHT) & (every.pids < arguments.identities - HELD_OUT))
    held = every.of(every.pids >= arguments.identities - HELD_OUT)
    for start in arguments.starts:
        first = package if start == "shipped" else weak(package, every.of(every.pids < TAUGHT))
        scene = Scene(start=first, archive=archive, held=held)
        known = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
        for place, name in enumerate(SCHEMA.names):
            for seed in range(arguments.seeds):
                if not any((one["start"], one["strategy"], one["seed"]) == (start, name, seed) for one in known):
                    with log.open("a") as file:
                        file.write(json.dumps(plain(start, name, seed, own_run(scene, place, seed))) + "\n")
        _show(scene, start, curves, log)


def _show(scene: Scene, start: str, curves: Path, log: Path) -> None:
    learning = Learning(scene.start, scene.archive, np.random.default_rng(0))
    taught = learning.refitted(np.ones(len(learning.said), dtype=np.bool_))
    ceiling = scene.judge(taught).official
    wrong = still_wrong(scene, taught)
    usual = Curves([json.loads(line) for line in curves.read_text().splitlines()], start)
    own = Curves([json.loads(line) for line in log.read_text().splitlines()], start)
    print(f"\n### {start}\n")
    print("| attribute | before | random, 800 | all | default needs | own needs | still wrong: doubted | of all |")
    print("|---|---|---|---|---|---|---|---|")
    for place, name in enumerate(SCHEMA.names):
        random = usual.mean(name, "random")
        needed = [curve.needed(name, which, random[-1]) for curve, which in ((usual, DEFAULT_STRATEGY), (own, name))]
        said = ["more than 800" if count is None else f"{count:.0f}" for count in needed]
        doubted, of_all = (f"{100 * share:.0f} %" for share in wrong[:, place])
        print(
            f"| {name} | {random[0]:.1f} | {random[-1]:.1f} | {ceiling[name]:.1f} | {said[0]} | {said[1]} | {doubted} "
            f"| {of_all} |"
        )


if __name__ == "__main__":
    main()
