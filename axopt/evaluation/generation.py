"""Quality of generated digits, judged by a classifier that was trained on real ones.

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

_DECIMALS = 4  # rounds away the last bits, which differ from machine to machine


@cache
def judge() -> MnistCnn:
    """Return the classifier of real digits, loaded once."""
    return cast(MnistCnn, create_model("mnist_cnn"))


def judge_features(images: Tensor) -> Tensor:
    """Return the classifier's features of images.

    Args:
        images: ``(N, 1, 28, 28)`` in [0, 1].

    Returns:
        ``(N, 64)`` float64, on the CPU.

    Raises:
        DatasetError: If the images have another shape.
    """
    _check(images)
    with torch.no_grad():
        return judge().features(images.cpu().float()).double()


def judge_logits(images: Tensor) -> Tensor:
    """Return the classifier's logits of images.

    Args:
        images: ``(N, 1, 28, 28)`` in [0, 1].

    Returns:
        ``(N, 10)``, on the device of the images.

    Raises:
        DatasetError: If the images have another shape.
    """
    _check(images)
    with torch.no_grad():
        logits: Tensor = judge()(images.cpu().float())
    return logits.to(images.device)


def frechet_distance_to_real(features: Tensor) -> float:
    """Return the `frechet_distance` to the classifier's training images.

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
    """Return the squared Frechet distance between two normal distributions [Heusel2017].

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
