"""Train the zoo's generator of digits against a discriminator and write its weights.

    python -m studies.train_zoo.gan --data idx:PATH/mnist

Run it from the repository root, after `mnist_cnn` is trained; the same command continues from the
last epoch's checkpoint. The losses are hinge losses. Spectral norms keep the discriminator smooth,
a projection gives it the digit, and real and generated images are shifted at random, because there
are only a few thousand real ones. The written weights are a running mean.

.. [Miyato2018] T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida, "Spectral Normalization for
   Generative Adversarial Networks", ICLR 2018.
.. [Miyato2018b] T. Miyato and M. Koyama, "cGANs with Projection Discriminator", ICLR 2018.
.. [Zhao2020] S. Zhao, Z. Liu, J. Lin, J.-Y. Zhu and S. Han, "Differentiable Augmentation for
   Data-Efficient GAN Training", NeurIPS 2020.
"""

import argparse
import copy
import os
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from axopt.data import Augmentation, Split, load_data, to_float
from axopt.evaluation import evaluate
from axopt.files import write_atomically
from axopt.zoo import create_model

NAME = "mnist_gan"
LATENT, DIGITS = 32, 10
BATCH = 64
LR = {"generator": 4e-4, "discriminator": 6e-4}
BETAS = (0.5, 0.999)
MEAN_DECAY = 0.995  # of the running mean of the generator's weights
LAYOUT = torch.channels_last
SHIFT = Augmentation(padding=2)


class Discriminator(nn.Module):
    """Scores images ``(N, 1, 28, 28)`` as pictures of the given digits ``(N,)``."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.Conv2d(1, width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, 3, 2, 1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        features = 4 * width * 4 * 4
        self.score = spectral_norm(nn.Linear(features, 1))
        self.of_digit = spectral_norm(nn.Embedding(DIGITS, features))

    def forward(self, images: Tensor, digits: Tensor) -> Tensor:
        features = self.body(images)
        score: Tensor = self.score(features)[:, 0] + (features * self.of_digit(digits)).sum(1)
        return score


class GanTrainer:
    """The state of a training: generator, discriminator, and the generator's running mean.

    Args:
        train: Real images and their digits.
        epochs: Passes over them; learning rates fall to zero in the second half.
        seed: Seed of initial weights, latents, order and shifts.
    """

    def __init__(self, train: Split, epochs: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.random = torch.Generator().manual_seed(seed)
        self.train, self.epochs, self.epoch = train, epochs, 0
        self.generator = create_model(NAME, pretrained=False).train().to(memory_format=LAYOUT)
        self.mean = copy.deepcopy(self.generator)
        self.discriminator = Discriminator().to(memory_format=LAYOUT)
        self.optimizers = {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=lr, betas=BETAS)
            for name, lr in LR.items()
        }

    def train_epoch(self) -> tuple[float, float]:
        """Train for one pass over the real images; return both mean losses."""
        rate = min(1.0, 2 * (1 - self.epoch / self.epochs))
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = rate * LR[name]
        order = torch.randperm(len(self.train), generator=self.random)
        losses = torch.zeros(2)
        steps = len(order) // BATCH
        for index in order[: steps * BATCH].split(BATCH):
            losses += torch.tensor([self._judge(index), self._generate()])
        self.epoch += 1
        return tuple((losses / steps).tolist())

    def latents(self) -> tuple[Tensor, Tensor]:
        """Return a batch of inputs of the generator, and their digits."""
        digits = torch.randint(DIGITS, (BATCH,), generator=self.random)
        normal = torch.randn((BATCH, LATENT), generator=self.random)
        return torch.cat([normal, functional.one_hot(digits, DIGITS)], 1), digits

    def _judge(self, index: Tensor) -> float:
        real, digits = to_float(self.train.stored[index]), self.train.targets[index]
        latents, asked = self.latents()
        with torch.no_grad():
            generated = self.generator(latents)
        score = self.discriminator(SHIFT(real, self.random), digits)
        score_generated = self.discriminator(SHIFT(generated, self.random), asked)
        loss = functional.relu(1 - score).mean() + functional.relu(1 + score_generated).mean()
        return self._step("discriminator", loss)

    def _generate(self) -> float:
        latents, asked = self.latents()
        images = SHIFT(self.generator(latents), self.random)
        loss = self._step("generator", -self.discriminator(images, asked).mean())
        with torch.no_grad():
            state = self.generator.state_dict()
            for name, value in self.mean.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(state[name], 1 - MEAN_DECAY)
        return loss

    def _step(self, name: str, loss: Tensor) -> float:
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()
        return float(loss.detach())

    def save_checkpoint(self, path: Path) -> None:
        """Write everything that `load_checkpoint` needs to continue, atomically."""
        parts = ("generator", "mean", "discriminator")
        state = {name: getattr(self, name).state_dict() for name in parts}
        state |= {f"{n} optimizer": o.state_dict() for n, o in self.optimizers.items()}
        state |= {"epoch": self.epoch, "random": self.random.get_state()}
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load_checkpoint(self, path: Path) -> None:
        """Continue from the state that `save_checkpoint` wrote."""
        state = torch.load(path, weights_only=True)
        for name in ("generator", "mean", "discriminator"):
            getattr(self, name).load_state_dict(state[name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[f"{name} optimizer"])
        self.epoch = state["epoch"]
        self.random.set_state(state["random"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="reader and path of the real digits")
    parser.add_argument("--out", type=Path, default=Path("runs/train_zoo"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / f"{NAME}.checkpoint.pt"
    trainer = GanTrainer(load_data(args.data).train, args.epochs, args.seed)
    latents = load_data("latents")
    if checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    while trainer.epoch < args.epochs:
        start = time.perf_counter()
        losses = trainer.train_epoch()
        trainer.save_checkpoint(checkpoint)
        quality = evaluate(trainer.mean, latents.validation, "frechet")
        print(
            f"epoch {trainer.epoch}/{args.epochs} losses {losses[0]:.3f} {losses[1]:.3f} "
            f"validation {quality.value:.2f} {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    weights = {name: value.contiguous() for name, value in trainer.mean.state_dict().items()}
    write_atomically(args.out / f"{NAME}.safetensors", save(weights))
    print(f"test {evaluate(trainer.mean, latents.test, 'frechet').value:.2f}")


if __name__ == "__main__":
    main()
