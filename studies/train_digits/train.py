"""Train the zoo's network for scikit-learn's handwritten digits, in about a minute.

    python -m studies.train_digits.train

Run it from the repository root; the same command continues from the last epoch's checkpoint.
"""

import argparse
from pathlib import Path

from axopt.data import load_data
from studies.training import Recipe, add_recipe_options, recipe_of, train_and_save

RECIPE = Recipe(
    epochs=60, batch=64, lr=0.1, weight_decay=5e-4, padding=1, mirror=False, bfloat16=False
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/train_digits"))
    add_recipe_options(parser, RECIPE)
    args = parser.parse_args()
    train_and_save("digits_cnn", load_data("digits"), recipe_of(args, RECIPE), args.out)


if __name__ == "__main__":
    main()
