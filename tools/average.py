"""Average the weights of two model packages of one network, one of which was trained from the other.

    python -m tools.average models/vestigo_models/packages/small stage-4 averaged --share 0.75

Such an average can know people of other cameras better than both of its models (Wortsman et al., "Robust fine-tuning
of zero-shot models", CVPR 2022). Everything but the weights is that of the second package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vestigo_models.errors import VestigoError
from vestigo_models.inference.average import average_packages
from vestigo_models.inference.package import ModelPackage, resolve_model


def main() -> None:
    """Write the package of the average."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a package folder, or the name of a model that ships with Vestigo")
    parser.add_argument("second", help="the package of the model that was trained from it")
    parser.add_argument("out", type=Path, help="folder of the package that is written")
    parser.add_argument("--share", type=float, default=0.5, help="of the second model's weights")
    arguments = parser.parse_args()
    first, second = resolve_model(arguments.first), resolve_model(arguments.second)
    try:
        base, trained = ModelPackage.from_pretrained(first), ModelPackage.from_pretrained(second)
        average_packages(base, trained, arguments.share).save_pretrained(arguments.out)
    except VestigoError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
