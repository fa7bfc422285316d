"""Train a network of the zoo for scikit-learn's handwritten digits, in about a minute.

    python -m studies.train_digits.train [--model digits_small]

Run it from the repository root; the same command continues from the last epoch's checkpoint.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from axopt.data import load_data
from studies.training import Recipe, add_recipe_options, recipe_of, train_and_save

RECIPE = Recipe(
    epochs=60, batch=64, lr=0.1, weight_decay=5e-4, padding=1, mirror=False, bfloat16=False
)
SMALL = replace(RECIPE, batch=32, lr=0.05)
RECIPES = {"digits_cnn": ("digits", RECIPE), "digits_small": ("digits_thirds", SMALL)}
"""Model -> its data and recipe."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=RECIPES, default="digits_cnn")
    parser.add_argument("--out", type=Path, default=Path("runs/train_digits"))
    model = parser.parse_known_args()[0].model
    data, recipe = RECIPES[model]
    add_recipe_options(parser, recipe)
    args = parser.parse_args()
    train_and_save(model, load_data(data), recipe_of(args, recipe), args.out)


if __name__ == "__main__":
    main()
