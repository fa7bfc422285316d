"""A whole study: search per-layer multipliers, measure the front, write the run folder.

The names below are imported on first use, so that the command line can check settings, list
objectives and look at a run folder without importing torch.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names
from axopt.renamed import renamed_names

if TYPE_CHECKING:
    from axopt.study.candidate import Candidate, LayerSetting
    from axopt.study.config import SearchConfig
    from axopt.study.folder import RunFolder
    from axopt.study.objectives import OBJECTIVES, Measured, Objective, register_objective
    from axopt.study.options import Option, default_library, options_of
    from axopt.study.problem import AssignmentProblem
    from axopt.study.result import SearchResult
    from axopt.study.run import search

__all__ = [
    "OBJECTIVES",
    "AssignmentProblem",
    "Candidate",
    "LayerSetting",
    "Measured",
    "Objective",
    "Option",
    "RunFolder",
    "SearchConfig",
    "SearchResult",
    "default_library",
    "options_of",
    "register_objective",
    "search",
]

_MODULE_OF = {
    "OBJECTIVES": "objectives",
    "AssignmentProblem": "problem",
    "Candidate": "candidate",
    "LayerSetting": "candidate",
    "Measured": "objectives",
    "Objective": "objectives",
    "Option": "options",
    "RunFolder": "folder",
    "SearchConfig": "config",
    "SearchResult": "result",
    "default_library": "options",
    "options_of": "options",
    "register_objective": "objectives",
    "search": "run",
}


_loaded, __dir__ = lazy_names(__name__, _MODULE_OF)
__getattr__ = renamed_names(
    __name__, {"Choice": "Option", "choices_of": "options_of"}, otherwise=_loaded
)
