"""Float modules that compute what torch's composite ones do, out of layers to emulate."""

from axopt.modules.lowering import LOWERINGS, lower_
from axopt.modules.recurrent import Recurrent, RecurrentCell

__all__ = ["LOWERINGS", "Recurrent", "RecurrentCell", "lower_"]
