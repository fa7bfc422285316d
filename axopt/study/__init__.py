"""A whole study: search per-layer multipliers, measure the front, write the run folder."""

from axopt.study.folder import RunFolder
from axopt.study.problem import (
    OBJECTIVES,
    AssignmentProblem,
    Option,
    default_library,
    options_of,
)
from axopt.study.run import SearchResult, search

__all__ = [
    "OBJECTIVES",
    "AssignmentProblem",
    "Option",
    "RunFolder",
    "SearchResult",
    "options_of",
    "default_library",
    "search",
]
