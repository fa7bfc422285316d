"""A whole study: search per-layer multipliers, measure the front, write the run folder.

The names below are imported on first use, so that the command line can check settings and look
at a run folder without importing torch. Those of `axopt.problem` are here for its users too.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names
from axopt.renamed import renamed_names

if TYPE_CHECKING:
    from axopt.problem.candidate import Candidate, LayerSetting
    from axopt.problem.objectives import OBJECTIVES, Measured, Objective, register_objective
    from axopt.problem.options import Option, default_library, options_of
    from axopt.problem.problem import AssignmentProblem
    from axopt.study.config import SearchConfig
    from axopt.study.folder import RunFolder
    from axopt.study.result import LoadedRun, SearchResult, load_run
    from axopt.study.run import search
    from axopt.study.watching import Progress

__all__ = [
    "OBJECTIVES",
    "AssignmentProblem",
    "Candidate",
    "LayerSetting",
    "LoadedRun",
    "Measured",
    "Objective",
    "Option",
    "Progress",
    "RunFolder",
    "SearchConfig",
    "SearchResult",
    "default_library",
    "load_run",
    "options_of",
    "register_objective",
    "search",
]

_MODULE_OF = {
    "OBJECTIVES": "axopt.problem.objectives",
    "AssignmentProblem": "axopt.problem.problem",
    "Candidate": "axopt.problem.candidate",
    "LayerSetting": "axopt.problem.candidate",
    "LoadedRun": "result",
    "Measured": "axopt.problem.objectives",
    "Objective": "axopt.problem.objectives",
    "Option": "axopt.problem.options",
    "Progress": "watching",
    "RunFolder": "folder",
    "SearchConfig": "config",
    "SearchResult": "result",
    "default_library": "axopt.problem.options",
    "load_run": "result",
    "options_of": "axopt.problem.options",
    "register_objective": "axopt.problem.objectives",
    "search": "run",
}


_loaded, __dir__ = lazy_names(__name__, _MODULE_OF)
__getattr__ = renamed_names(
    __name__, {"Choice": "Option", "choices_of": "options_of"}, otherwise=_loaded
)
