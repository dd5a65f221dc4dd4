"""Average the weights of two model packages of one network, one of which was trained from the other.

    python -m tools.average models/vestigo_models/packages/small stage-4 averaged --share 0.75

Such an average can know people of other cameras better than both of its models (Wortsman et al., "Robust fine-tuning
of zero-shot models", CVPR 2022). Everything but the weights is that of the second package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vestigo_models.inference.package import ModelPackage, resolve_model


def average(first: Path, second: Path, share: float) -> ModelPackage:
    """Return the second package with the weights (1 - share) * first + share * second.

    Raises:
        ModelError: A package cannot be read.
        SystemExit: The networks differ, or `share` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise SystemExit(f"--share {share}: give a number from 0 to 1")
    base, trained = ModelPackage.from_pretrained(first), ModelPackage.from_pretrained(second)
    if base.config.network != trained.config.network:
        raise SystemExit(f"{first} and {second} are different networks: give a model and one that was trained from it")
    state = trained.network.state_dict()
    for name, before in base.network.state_dict().items():
        if before.is_floating_point():
            state[name] = before.lerp(state[name], share)
    trained.network.load_state_dict(state)
    return ModelPackage(trained.config, trained.network)


def main() -> None:
    """Write the package of the average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a package folder, or the name of a model that ships with Vestigo")
    parser.add_argument("second", help="the package of the model that was trained from it")
    parser.add_argument("out", type=Path, help="folder of the package that is written")
    parser.add_argument("--share", type=float, default=0.5, help="of the second model's weights")
    arguments = parser.parse_args()
    first, second = resolve_model(arguments.first), resolve_model(arguments.second)
    average(first, second, arguments.share).save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
