"""How good generated digits are, in the eyes of a classifier of real ones.

.. [Heusel2017] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter, "GANs Trained
   by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017: the
   Frechet distance between normal distributions of features, there of Inception v3.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import torch
from torch import Tensor

from axopt.errors import DatasetError
from axopt.zoo import create_model
from axopt.zoo.mnist import MnistCnn

_DECIMALS = 4  # a machine's last bits of features and eigenvalues are rounded away


@cache
def judge() -> MnistCnn:
    """The classifier of real digits."""
    return cast(MnistCnn, create_model("mnist_cnn"))


def judge_features(images: Tensor) -> Tensor:
    """Features of images ``(N, 1, 28, 28)`` in [0, 1], ``(N, 64)`` float64.

    Raises:
        DatasetError: If the images have another shape.
    """
    _check(images)
    with torch.no_grad():
        return judge().features(images.cpu().float()).double()


def judge_logits(images: Tensor) -> Tensor:
    """Logits of images ``(N, 1, 28, 28)`` in [0, 1], ``(N, 10)``, on their device.

    Raises:
        DatasetError: If the images have another shape.
    """
    _check(images)
    with torch.no_grad():
        logits: Tensor = judge()(images.cpu().float())
    return logits.to(images.device)


def frechet_distance_to_real(features: Tensor) -> float:
    """`frechet_distance` to the training images of the judge.

    Args:
        features: ``(N, 64)`` float64, N at least 2.
    """
    real = judge()
    centred = features - features.mean(0)
    covariance = centred.T @ centred / max(1, len(features) - 1)
    real_mean, real_covariance = real.feature_mean.double(), real.feature_covariance.double()
    distance = frechet_distance(features.mean(0), covariance, real_mean, real_covariance)
    return round(distance, _DECIMALS)


def frechet_distance(
    mean: Tensor, covariance: Tensor, mean2: Tensor, covariance2: Tensor
) -> float:
    """Squared Frechet distance between two normal distributions [Heusel2017].

    ``|m - m2|^2 + tr(C + C2 - 2 (C C2)^(1/2))``; the eigenvalues of ``C C2`` are those of
    ``C^(1/2) C2 C^(1/2)``, which is symmetric.

    Args:
        mean: ``(D,)`` float64.
        covariance: ``(D, D)``, symmetric and positive semidefinite.
        mean2: ``(D,)`` of the other distribution.
        covariance2: ``(D, D)`` of the other distribution.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    common = torch.linalg.eigvalsh(root @ covariance2 @ root).clamp(min=0).sqrt().sum()
    spread = covariance.trace() + covariance2.trace() - 2 * common
    return max(0.0, float((mean - mean2).square().sum() + spread))


def _check(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1:] != (1, 28, 28):
        shape = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise DatasetError(f"the model must return images (N, 1, 28, 28), got {shape}.")
