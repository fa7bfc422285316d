"""What each multiplier costs in each layer, one change at a time.

A sensitivity analysis answers which layer breaks a network, and tells search algorithms what an
option of a gene adds to the first objective. The room is not called ``sensitivity`` because
`axopt.sensitivity` is a function.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names

if TYPE_CHECKING:
    from axopt.sensitivities.analysis import sensitivity, sensitivity_of
    from axopt.sensitivities.result import Sensitivity

__all__ = ["Sensitivity", "sensitivity", "sensitivity_of"]

_MODULE_OF = {
    "Sensitivity": "result",
    "sensitivity": "analysis",
    "sensitivity_of": "analysis",
}


__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
