"""What is found for a layer and a multiplier."""

from __future__ import annotations

from dataclasses import dataclass

from axopt.layers import Quantisation


@dataclass(frozen=True)
class Correction:
    """The best correction of a layer for a multiplier.

    Attributes:
        swap: Whether the weight is the first operand.
        quantisation: Formats of the operands and the results; its ``corrections`` are the names
            of the corrections in use.
        error_pct: Root mean square error of the layer's results in percent of their standard
            deviation, on windows that no correction was fitted to.
        raw_error_pct: The same error without any correction.
        rejected: The other sets of corrections that were measured ("order" is one name of them),
            with the least error of each in percent. Sets that are clearly worse on a few windows
            are not measured further, see `LayerCorrector.compared`.

    Example:
        >>> import axopt, torch
        >>> _ = torch.manual_seed(0)
        >>> emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.randn(64, 8))
        >>> corrector = axopt.corrections.LayerCorrector.of(emulated.emulated_layers["0"])
        >>> found = corrector.best(axopt.load_library()["mul8s_1KV8"], swap=False)
        >>> isinstance(found, Correction), found.swap
        (True, False)
    """

    swap: bool
    quantisation: Quantisation
    error_pct: float
    raw_error_pct: float
    rejected: dict[tuple[str, ...], float]
