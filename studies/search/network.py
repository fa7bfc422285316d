"""A made-up network of 49 convolution layers whose divergence is nearly, not quite, additive.

The layers are those of a residual network for CIFAR with 6n + 2 layers, n = 8, the size that
ALWANN searched. What an option costs is the published power of its multiplier. What it does to a
layer is computed from its table. How layers act together is made up, with figures fitted to real
networks.

.. [Mrazek2019] V. Mrazek, Z. Vasicek, L. Sekanina, M. A. Hanif and M. Shafique, "ALWANN: Automatic
   Layer-Wise Approximation of Deep Neural Network Accelerators without Retraining", ICCAD 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from axopt.exploration import Genes, Known, Outcome, SearchSpace
from axopt.multipliers import Multiplier, load_library

Floats = npt.NDArray[np.float64]

BLOCKS = 8
SEED = 0

SPREAD_OF_LAYERS = 0.6
"""Standard deviation of the logarithm of the layers' sensitivities to relative noise."""

SPREAD_OF_OPTIONS = 0.5
"""The same of each layer's sensitivities to each option, beyond what the tables say."""

SCALE = 0.03
"""Divergence that a relative noise power of 1 in one layer of median sensitivity causes."""

FLOOR = 3e-5
"""Divergence of any change: later roundings differ. It is paid once, not for each layer."""

FLOOR_NOISE = 1e-7
"""The noise that causes half of it."""

INTERACTION = (0.35, 0.4)
"""Mean and standard deviation of the correlation of the noises of neighbouring layers."""

LARGEST = 2.3
"""Divergence of outputs that know nothing, log(10)."""

NOISE = 0.03
"""Standard deviation of the logarithm of a measured divergence on 500 samples or more."""

NOISE_FEW = 0.08
"""The same for sensitivities, on 128 samples."""


def multipliers() -> list[Multiplier]:
    """Return the 36 unsigned multipliers of release v1 by falling power."""
    library = load_library()
    found = [m for m in library.values() if not m.signed and m.release == "v1"]
    return sorted(found, key=lambda m: (-m.power_mw, m.key))


def macs_of_layers(blocks: int = BLOCKS) -> list[int]:
    """Return the multiplications of the convolutions of a 6n + 2 network for 32x32 images."""
    macs, inputs = [3 * 16 * 9 * 32 * 32], 16
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        for layer in range(2 * blocks):
            macs.append((inputs if layer == 0 else channels) * channels * 9 * size * size)
        inputs = channels
    return macs


def relative_noise(table: npt.NDArray[np.integer], activations: Floats, weights: Floats) -> float:
    """Return the noise power of a corrected layer relative to its signal.

    A correction may replace a weight's code by the one that serves best, and makes means exact.

    Args:
        table: ``(256, 256)`` products; rows are codes of activations.
        activations: ``(256,)`` shares of the activation codes; zero is code 0.
        weights: ``(256,)`` shares of the weight codes; zero is code 128.
    """
    codes = np.arange(256.0)
    products = table.astype(np.float64)
    mean = activations @ codes
    variance = activations @ (codes - mean) ** 2
    means = activations @ products
    variances = activations @ products**2 - means**2
    covariances = (activations * (codes - mean)) @ products
    error = codes[:, None] ** 2 * variance - 2 * codes[:, None] * covariances + variances
    noise = weights @ error.min(1)
    signal = (weights @ (codes - 128) ** 2) * (activations @ codes**2)
    return max(float(noise / signal), 0.0)


def _half_normal(width: float) -> Floats:
    shares = np.exp(-0.5 * (np.arange(256) / width) ** 2)
    shares[0] *= 0.5 * width  # what the ReLU cut off
    return shares / shares.sum()


def _normal(width: float) -> Floats:
    shares = np.exp(-0.5 * ((np.arange(256) - 128) / width) ** 2)
    return shares / shares.sum()


@dataclass(frozen=True)
class Network:
    """The made-up network.

    Attributes:
        strengths: ``(layers, options)`` divergence that an option causes by its noise alone.
        correlations: ``(layers - 1, options, options)`` of neighbours' noises.
        power: ``(layers, options)`` what an option adds to the relative power.
    """

    strengths: Floats
    correlations: Floats
    power: Floats

    @classmethod
    def made(cls, options: Sequence[Multiplier], seed: int = SEED) -> Network:
        """Draw the layers; the same ones for the same seed."""
        rng = np.random.default_rng(seed)
        macs = np.array(macs_of_layers(), float)
        layers = len(macs)
        noises = np.empty((layers, len(options)))
        tables = [option.code_table for option in options]
        for layer in range(layers):
            activations = _half_normal(np.exp(rng.normal(np.log(50), 0.35)))
            weights = _normal(np.exp(rng.normal(np.log(32), 0.3)))
            noises[layer] = [relative_noise(table, activations, weights) for table in tables]
        depth = np.linspace(0, 1, layers)
        logs = rng.normal(0, SPREAD_OF_LAYERS, layers) + np.exp(-6 * depth) - 0.6 * depth
        spread = rng.normal(0, SPREAD_OF_OPTIONS, noises.shape)
        strengths = SCALE * np.exp(logs[:, None] + spread) * noises
        shape = (layers - 1, len(options), len(options))
        correlations = np.clip(rng.normal(*INTERACTION, shape), -0.9, 0.9)
        reference = next(option.power_mw for option in options if option.is_exact)
        relative = np.array([option.power_mw / reference for option in options])
        return cls(strengths, correlations, macs[:, None] / macs.sum() * relative)

    def divergence(self, genes: Genes) -> float:
        """Return the divergence of an assignment without evaluation noise."""
        layers = np.arange(len(genes))
        chosen = np.array(genes)
        noise = self.strengths[layers, chosen]
        amplitudes = np.sqrt(noise)
        correlations = self.correlations[layers[:-1], chosen[:-1], chosen[1:]]
        total = noise.sum() + (correlations * amplitudes[:-1] * amplitudes[1:]).sum()
        total += FLOOR * noise.sum() / (noise.sum() + FLOOR_NOISE)
        return float(LARGEST * -np.expm1(-total / LARGEST))

    def measured(self, genes: Genes, noise: float) -> float:
        """Return the divergence with noise that depends on the assignment only."""
        digest = hashlib.sha256(bytes(genes) + str(noise).encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return self.divergence(genes) * float(np.exp(noise * rng.standard_normal()))

    def sensitivities(self, exact: int) -> Floats:
        """Return the measured divergences of one changed layer, the others exact."""
        found = np.zeros(self.strengths.shape)
        for layer, option in np.ndindex(*found.shape):
            if option != exact:
                genes = [exact] * len(found)
                genes[layer] = option
                found[layer, option] = self.measured(tuple(genes), NOISE_FEW)
        return found


class ProxyProblem:
    """The search problem: divergence and relative power of the made-up network.

    Args:
        network: The network.
        exact: The option of the exact multiplier.
        sensitivities: Whether the space knows the sensitivities.
        corner: Worst divergence and power of interest.
    """

    objective_names = ("divergence", "rel_power")

    def __init__(
        self, network: Network, exact: int, *, sensitivities: bool, corner: tuple[float, float]
    ) -> None:
        layers, options = network.power.shape
        known = [Known(1, _tuples(network.power), exact=True)]
        if sensitivities:
            known.insert(0, Known(0, _tuples(network.sensitivities(exact)), exact=False))
        names = tuple(f"conv{number}" for number in range(layers))
        kinds = (tuple(range(options)),) * layers
        self.space = SearchSpace(
            names, (options,) * layers, tuple(known), kinds=kinds, limits=corner
        )
        self._network = network

    def evaluate(self, genes: Genes) -> Outcome:
        """Return the objectives of one assignment."""
        power = self._network.power[np.arange(len(genes)), list(genes)].sum()
        return Outcome((self._network.measured(genes, NOISE), float(power)))


def _tuples(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))
