"""Many small cases in one test: pytest's own work on an item takes longer than such a case."""

import functools
import inspect
from collections.abc import Callable, Iterable
from reprlib import Repr
from typing import Any

import numpy as np

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxdict = _SHORT.maxtuple = _SHORT.maxlist = 12


def each(names: str, cases: Iterable[Any]) -> Callable[[Callable], Callable]:
    """Run a test on each of ``cases`` as `pytest.mark.parametrize` would, but within one item.

    An error names its case in a note. The fixture ``rng`` is fresh in every case; the cases share
    all other fixtures. Use `pytest.mark.parametrize` for what people select by, and where a case
    takes more than a few milliseconds.

    Args:
        names: The parameter's name, or several names separated by commas.
        cases: A value for each case, or a tuple of values where there are several names.
    """
    given, cases = [name.strip() for name in names.split(",")], list(cases)
    values = [case if len(given) > 1 else (case,) for case in cases]
    if not values:
        raise ValueError(f"`cases` of {names} must not be empty.")
    if any(hasattr(case, "marks") for case in cases):
        raise ValueError(f"`cases` of {names} must be plain values, not `pytest.param`.")

    def decorate(test: Callable) -> Callable:
        signature = inspect.signature(test)
        others = [p for name, p in signature.parameters.items() if name not in given]

        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for case in values:
                if "rng" in fixtures:
                    fixtures["rng"] = np.random.default_rng(0)
                arguments = dict(zip(given, case, strict=True))
                try:
                    test(**fixtures, **arguments)
                except BaseException as error:
                    shown = (f"{name}={_SHORT.repr(value)}" for name, value in arguments.items())
                    error.add_note(f"case: {', '.join(shown)}")
                    raise

        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate
