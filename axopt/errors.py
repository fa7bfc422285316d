"""The errors and warnings of axopt. Errors inherit `AxoptError` and the builtin that fits."""

_SHOWN_CHARACTERS = 60


def described(value: object) -> str:
    """Return the type and the value of what was given, in one short line of a message.

    Args:
        value: Any object.

    Example:
        >>> described(5), described(["x" * 1000])
        ('int 5', "list ['xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...")
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # of any class; also of an integer with thousands of digits
        text = ""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
    return f"{type(value).__name__} {shown}".rstrip()


class AxoptError(Exception):
    """Base class of every error that axopt raises on purpose."""


class ArgumentError(AxoptError, ValueError):
    """An argument breaks its rule; the message names the argument, the rule and the value."""


class ReportError(ArgumentError):
    """The record of a run cannot be shown; the message names the field, the rule and the value."""


class MultiplierError(AxoptError, ValueError):
    """A multiplier's table or figures break a rule."""


class MissingFigureError(MultiplierError):
    """Power, area or delay of a multiplier is neither in its file nor given."""


class UnknownMultiplierError(AxoptError, KeyError):
    """No multiplier of that name in the library; the message lists near misses."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class LutFormatError(AxoptError, ValueError):
    """A table file does not have its format; the message names the file."""


class CircuitError(AxoptError, ValueError):
    """A gate list, or the parameters of a family of circuits, break a rule."""


class MissingPackageError(AxoptError, ImportError):
    """A package of an extra is not installed; the message has the line that installs it."""


class AccumulatorError(AxoptError, OverflowError):
    """A sum of products may leave int32; the message names its depth."""


class IsaError(AxoptError, RuntimeError):
    """The instruction set asked for is unknown or not supported by this processor."""


class CalibrationError(AxoptError, ValueError):
    """Calibration is missing or saw no, NaN or infinite values; the message names the layer."""


class UnsupportedLayerError(AxoptError, TypeError):
    """A layer that cannot be emulated was named; the message gives its name and the reason."""


class UnknownLayerError(AxoptError, KeyError):
    """No emulated layer of that name; the message lists near misses."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class AssignmentError(AxoptError, ValueError):
    """An assignment file or value breaks its schema or does not fit the model or the library."""


class InputsError(AxoptError, TypeError):
    """A model cannot be called with the inputs of a batch; the message says how it was called."""


class TracingError(AxoptError, RuntimeError):
    """An emulated model was to be traced, scripted or exported; the message says what to do."""


class DatasetError(AxoptError, ValueError):
    """A data set is missing, damaged or inconsistent; the message names the file."""


class ModelError(AxoptError, ValueError):
    """A model or its weights cannot be loaded; the message names the source."""


class CheckpointError(AxoptError, ValueError):
    """A checkpoint is damaged or belongs to another retraining; the message names the file."""


class StoreError(AxoptError, RuntimeError):
    """A search store is damaged, of another schema, or belongs to another search."""


class SensitivityError(AxoptError, ValueError):
    """A sensitivity analysis, such as one read from a file, is damaged or of another schema."""


class RunExistsError(AxoptError, FileExistsError):
    """The output exists and overwriting it was not asked for."""


class PluginError(AxoptError, RuntimeError):
    """What a user or package registered failed; the message names it, the cause is its error."""


class CoverageWarning(UserWarning):
    """Some products of a prepared model stay in float; the message names the largest ones."""
