"""Train a classifier of the zoo and write its weights as safetensors.

    python -m studies.train_zoo.train vgg_small --data imagefolder:PATH/cifar10.zip
    python -m studies.train_zoo.train lstm_sentiment --data polarity:PATH/rt-polarity

Run it from the repository root; the same command continues from the last epoch's checkpoint.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from axopt.data import Split, load_data
from axopt.files import write_atomically
from axopt.zoo import create_model, load_weights_
from studies.training import Recipe, add_recipe_options, recipe_of, train_and_save

_CIFAR = Recipe(
    epochs=20, batch=128, lr=0.1, weight_decay=5e-4, padding=4, mirror=True, bfloat16=True
)
RECIPES = {
    "lstm_sentiment": Recipe(
        epochs=10,
        batch=64,
        lr=4e-3,
        weight_decay=0.05,
        padding=0,
        mirror=False,
        bfloat16=False,
        optimizer="adamw",
    ),
    "vgg_small": replace(_CIFAR, epochs=12),
    "mobilenetv2_small": replace(_CIFAR, epochs=9, weight_decay=2e-4),
    "squeezenet_small": replace(_CIFAR, epochs=12, lr=0.2),
    "densenet_small": replace(_CIFAR, epochs=10, lr=0.2, weight_decay=2e-4),
    "vit_small": replace(_CIFAR, epochs=14, lr=1e-3, weight_decay=0.05, optimizer="adamw"),
    "mnist_cnn": Recipe(
        epochs=20, batch=64, lr=0.05, weight_decay=5e-4, padding=2, mirror=False, bfloat16=False
    ),
}


@torch.no_grad()
def add_feature_statistics(path: Path, train: Split) -> None:
    """Add the mean and covariance of the training images' features to `mnist_cnn`'s weights."""
    model = create_model("mnist_cnn", pretrained=False)
    load_weights_(model, path)
    features = model.double().features(train.inputs.double())
    model.float()
    model.feature_mean.copy_(features.mean(0))
    model.feature_covariance.copy_(features.T.cov())
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_atomically(path, save(weights))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subparsers = parser.add_subparsers(dest="model", required=True)
    for name, recipe in RECIPES.items():
        options = subparsers.add_parser(name)
        options.add_argument("--data", required=True, help="reader and path")
        options.add_argument("--out", type=Path, default=Path("runs/train_zoo"))
        add_recipe_options(options, recipe)
    args = parser.parse_args()
    recipe = recipe_of(args, RECIPES[args.model])
    data = load_data(args.data)
    train_and_save(args.model, data, recipe, args.out)
    if args.model == "mnist_cnn":
        add_feature_statistics(args.out / "mnist_cnn.safetensors", data.train)


if __name__ == "__main__":
    main()
