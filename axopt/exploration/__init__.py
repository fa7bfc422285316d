"""Search over genes: algorithms, the loop, the store. Knows objectives, never models.

One gene a layer, an index among that layer's choices. A `Problem` turns genes into objectives
(minimised), an `Algorithm` proposes genes, `run_search` brings them together and commits every
evaluation to a `Store` before the algorithm hears of it.
"""

from axopt.exploration.algorithm import (
    DEFAULT_POPULATION,
    Algorithm,
    create_algorithm,
    list_algorithms,
    register_algorithm,
)
from axopt.exploration.front import hypervolume, non_dominated
from axopt.exploration.loop import SearchOutcome, run_search
from axopt.exploration.space import Genes, SearchSpace
from axopt.exploration.store import Store
from axopt.exploration.trial import Outcome, Problem, State, Trial

__all__ = [
    "DEFAULT_POPULATION",
    "Algorithm",
    "Genes",
    "Outcome",
    "Problem",
    "SearchOutcome",
    "SearchSpace",
    "State",
    "Store",
    "Trial",
    "create_algorithm",
    "hypervolume",
    "list_algorithms",
    "non_dominated",
    "register_algorithm",
    "run_search",
]
