"""The training loop of the zoo's weights.

SGD with Nesterov momentum or AdamW, a one-cycle learning rate, random crops and, if a mirrored
image keeps its class, flips. Only the train split is used: training never sees the validation
split that searches use. A checkpoint is written after every epoch, and a run continues from it.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import OneCycleLR

from axopt.data import Augmentation, Dataset, Split, to_float
from axopt.files import write_atomically
from axopt.zoo import create_model, load_weights_

WARM_UP = 0.2  # part of the steps in which the learning rate rises
DISTILLED = 0.7  # weight of the teachers' predictions against the labels
TEMPERATURE = 2.0
_STRIDE = 1_000_003  # between the seeds of two passes


@dataclass(frozen=True)
class Recipe:
    """The settings of a run, without model and data.

    Args:
        epochs: Passes over the train split.
        batch: Samples per step; an incomplete batch at the end of a pass is dropped.
        lr: Peak learning rate.
        weight_decay: Weight decay of weights; biases and norms are not decayed.
        padding: Pixels around an image before it is cropped at random.
        mirror: Mirror half of the images.
        bfloat16: Run the forward pass in bfloat16 autocast where oneDNN is built in.
        optimizer: "sgd" or "adamw".
        smoothing: Share of a label that is distributed over all classes.
        seed: Seed of the initial weights, the order and the augmentation.
        start: Weights of an earlier run to start from; random weights by default.
        teachers: Weights of earlier runs whose mean prediction is learnt beside the labels
            (distillation: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
    """

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    padding: int
    mirror: bool
    bfloat16: bool
    optimizer: str = "sgd"
    smoothing: float = 0.0
    seed: int = 0
    start: str | None = None
    teachers: tuple[str, ...] = ()


def add_recipe_options(parser: argparse.ArgumentParser, default: Recipe) -> None:
    """Add the options that `recipe_of` reads to a command line."""
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--lr", type=float, default=default.lr, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=default.weight_decay)
    parser.add_argument(
        "--padding", type=int, default=default.padding, help="pixels around random crops"
    )
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--start", help="weights to start from, for another cycle")
    parser.add_argument(
        "--teachers", nargs="+", default=(), help="weights whose mean prediction is learnt too"
    )


def recipe_of(args: argparse.Namespace, default: Recipe) -> Recipe:
    """Return the default recipe, changed by the options of `add_recipe_options`."""
    return replace(
        default,
        epochs=args.epochs,
        lr=args.lr,
        weight_decay=args.weight_decay,
        padding=args.padding,
        seed=args.seed,
        start=args.start,
        teachers=tuple(args.teachers),
    )


@torch.no_grad()
def accuracy_pct(model: nn.Module, split: Split) -> float:
    """Return the top-1 accuracy of a float model, in percent."""
    model.eval()
    correct = 0
    for inputs, labels in split.batches(500):
        correct += int((model(inputs).argmax(1) == labels).sum())
    return 100 * correct / len(split)


def _teacher(model_name: str, path: str) -> nn.Module:
    teacher = create_model(model_name, pretrained=False)
    load_weights_(teacher, path)
    return teacher.eval().to(memory_format=torch.channels_last)


def _keep_float32_(model: nn.Module) -> None:
    """Take strided depthwise convolutions out of autocast, in which their backward is slow.

    Measured with torch 2.13 on AVX-512 bfloat16: 82 ms against 7 ms in float32.
    """

    def in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.stride) > 1:
            module.forward = partial(in_float32, module.forward)


def _distillation_loss(logits: Tensor, predictions: Tensor) -> Tensor:
    """Return the divergence from the teachers' softened predictions.

    It is scaled so that its gradients have the magnitude of those of labels.
    """
    log_probabilities = functional.log_softmax(logits / TEMPERATURE, 1)
    divergence = functional.kl_div(log_probabilities, predictions, reduction="batchmean")
    return divergence * TEMPERATURE**2


class Trainer:
    """The state of a training: a model, its optimiser and its recipe.

    Args:
        model_name: Model of the zoo.
        train: Training samples.
        recipe: How to train.
    """

    def __init__(self, model_name: str, train: Split, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.train, self.recipe = train, recipe
        model = create_model(model_name, pretrained=False)
        if recipe.start is not None:
            load_weights_(model, recipe.start)
        self.teachers = [_teacher(model_name, path) for path in recipe.teachers]
        self.model = model.to(memory_format=torch.channels_last)
        _keep_float32_(self.model)
        self.epoch = 0
        self.steps_per_epoch = len(train) // recipe.batch
        parameters = list(self.model.parameters())
        groups = [
            {
                "params": [p for p in parameters if p.ndim > 1],
                "weight_decay": recipe.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
        self.schedule = OneCycleLR(
            self.optimizer,
            recipe.lr,
            total_steps=recipe.epochs * self.steps_per_epoch,
            pct_start=WARM_UP,
            cycle_momentum=recipe.optimizer == "sgd",
        )

    def train_epoch(self) -> float:
        """Train for one pass over the samples in random order; return the mean loss."""
        self.model.train()
        torch.manual_seed(self.recipe.seed + _STRIDE * self.epoch)  # of dropout, as after a resume
        batch = self.recipe.batch
        order = torch.randperm(len(self.train), generator=self.generator)
        total = 0.0
        for step in range(self.steps_per_epoch):
            total += self._step(order[step * batch : (step + 1) * batch])
        self.epoch += 1
        return total / self.steps_per_epoch

    def _step(self, index: Tensor) -> float:
        recipe = self.recipe
        samples = self.train.stored[index]
        if recipe.padding or recipe.mirror:
            samples = Augmentation(recipe.padding, recipe.mirror)(samples, self.generator)
        inputs = to_float(samples)
        if inputs.ndim == 4:
            inputs = inputs.to(memory_format=torch.channels_last)
        autocast = recipe.bfloat16 and torch.backends.mkldnn.is_available()
        attention = sdpa_kernel(SDPBackend.MATH)  # flash is half as fast in bfloat16
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast), attention:
            logits = self.model(inputs).float()
            predictions = self._mean_prediction(inputs)
        loss = functional.cross_entropy(
            logits, self.train.targets[index], label_smoothing=recipe.smoothing
        )
        if predictions is not None:
            loss = (1 - DISTILLED) * loss + DISTILLED * _distillation_loss(logits, predictions)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def _mean_prediction(self, inputs: Tensor) -> Tensor | None:
        """Return the teachers' mean softened probabilities, ``(N, classes)``; None without any."""
        if not self.teachers:
            return None
        logits = [teacher(inputs).float() for teacher in self.teachers]
        return torch.stack([functional.softmax(z / TEMPERATURE, 1) for z in logits]).mean(0)

    def save_checkpoint(self, path: Path) -> None:
        """Write everything that `load_checkpoint` needs to continue, atomically."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "recipe": asdict(self.recipe),
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load_checkpoint(self, path: Path) -> None:
        """Continue from the state that `save_checkpoint` wrote.

        Raises:
            ValueError: If the checkpoint belongs to another recipe.
        """
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} is of recipe {state['recipe']}; delete it to start anew.")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        self.epoch = state["epoch"]


def train_and_save(model_name: str, data: Dataset, recipe: Recipe, out: Path) -> None:
    """Train a model of the zoo, print its progress, write ``<model_name>.safetensors``.

    Args:
        model_name: Model of the zoo.
        data: Data set; accuracy is measured on ``validation`` after each epoch, on ``test`` once.
        recipe: How to train.
        out: Folder of the checkpoint and the weights, made if missing.
    """
    trainer = Trainer(model_name, data.train, recipe)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / f"{model_name}.checkpoint.pt"
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    while trainer.epoch < recipe.epochs:
        start = time.perf_counter()
        loss = trainer.train_epoch()
        trainer.save_checkpoint(checkpoint)
        validation = accuracy_pct(trainer.model, data.validation)
        print(
            f"epoch {trainer.epoch}/{recipe.epochs} loss {loss:.4f} "
            f"validation {validation:.2f} % {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    weights = {name: value.contiguous() for name, value in trainer.model.state_dict().items()}
    write_atomically(out / f"{model_name}.safetensors", save(weights))
    print(f"test {accuracy_pct(trainer.model, data.test):.2f} %")
