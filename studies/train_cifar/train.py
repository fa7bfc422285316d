"""Train a CIFAR-10 residual network of the zoo and write its weights as safetensors.

    python -m studies.train_cifar.train resnet20 --data imagefolder:PATH/cifar10.zip --epochs 26

Run it from the repository root; the same command continues from the last epoch's checkpoint. The
model cards state the options with which the weights in the zoo were trained.
"""

import argparse
from pathlib import Path

from axopt.data import load_data
from studies.training import Recipe, add_recipe_options, recipe_of, train_and_save

RECIPE = Recipe(
    epochs=30, batch=128, lr=0.25, weight_decay=5e-4, padding=4, mirror=True, bfloat16=True
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=("resnet8", "resnet20"))
    parser.add_argument("--data", required=True, help="reader and path, as for axopt search")
    parser.add_argument("--out", type=Path, default=Path("runs/train_cifar"))
    add_recipe_options(parser, RECIPE)
    args = parser.parse_args()
    train_and_save(args.model, load_data(args.data), recipe_of(args, RECIPE), args.out)


if __name__ == "__main__":
    main()
