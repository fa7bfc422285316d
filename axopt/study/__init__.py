"""A whole study: search per-layer multipliers, measure the front, write the run folder."""

from axopt.study.folder import RunFolder
from axopt.study.problem import (
    OBJECTIVES,
    AssignmentProblem,
    Choice,
    choices_of,
    default_library,
)
from axopt.study.run import SearchResult, search

__all__ = [
    "OBJECTIVES",
    "AssignmentProblem",
    "Choice",
    "RunFolder",
    "SearchResult",
    "choices_of",
    "default_library",
    "search",
]
