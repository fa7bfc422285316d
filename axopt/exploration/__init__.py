"""Search over genes: algorithms, the loop, the store. Knows objectives, never models.

A point of the search space has one gene a layer or group of layers: the number of one of that
gene's options. A `Problem` turns genes into objectives, which are minimised. An `Algorithm`
proposes points. `run_search` brings them together and commits every evaluation to a `Store`
before the algorithm learns it.

The names below are imported on first use, so that the command line can list algorithms and look
at locks without importing NumPy.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names
from axopt.renamed import renamed_names

if TYPE_CHECKING:
    from axopt.exploration.additive import AdditivePoint, additive_front
    from axopt.exploration.additive_search import seed_points
    from axopt.exploration.algorithm import Algorithm, algorithm_options, create_algorithm
    from axopt.exploration.algorithms import (
        ALGORITHMS,
        DEFAULT_ALGORITHM,
        DEFAULT_POPULATION,
        default_budget,
        list_algorithms,
        register_algorithm,
    )
    from axopt.exploration.evaluator import Evaluator, InProcess
    from axopt.exploration.front import hypervolume, non_dominated
    from axopt.exploration.history import VolumeHistory
    from axopt.exploration.loop import SearchOutcome, run_search
    from axopt.exploration.space import Genes, Known, SearchSpace
    from axopt.exploration.staging import Partial, SampledProblem
    from axopt.exploration.store import Store
    from axopt.exploration.trial import Evaluated, Outcome, Problem, State, Trial

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "DEFAULT_POPULATION",
    "AdditivePoint",
    "Algorithm",
    "Evaluated",
    "Evaluator",
    "Genes",
    "InProcess",
    "Known",
    "Outcome",
    "Partial",
    "Problem",
    "SampledProblem",
    "SearchOutcome",
    "SearchSpace",
    "State",
    "Store",
    "Trial",
    "VolumeHistory",
    "additive_front",
    "algorithm_options",
    "create_algorithm",
    "default_budget",
    "hypervolume",
    "list_algorithms",
    "non_dominated",
    "register_algorithm",
    "run_search",
    "seed_points",
]

_MODULE_OF = {
    "ALGORITHMS": "algorithms",
    "DEFAULT_ALGORITHM": "algorithms",
    "DEFAULT_POPULATION": "algorithms",
    "default_budget": "algorithms",
    "AdditivePoint": "additive",
    "Algorithm": "algorithm",
    "Evaluated": "trial",
    "Evaluator": "evaluator",
    "Genes": "space",
    "InProcess": "evaluator",
    "Known": "space",
    "Outcome": "trial",
    "Partial": "staging",
    "Problem": "trial",
    "SampledProblem": "staging",
    "SearchOutcome": "loop",
    "SearchSpace": "space",
    "State": "trial",
    "Store": "store",
    "Trial": "trial",
    "VolumeHistory": "history",
    "additive_front": "additive",
    "algorithm_options": "algorithm",
    "create_algorithm": "algorithm",
    "hypervolume": "front",
    "list_algorithms": "algorithms",
    "non_dominated": "front",
    "register_algorithm": "algorithms",
    "run_search": "loop",
    "seed_points": "additive_search",
}


_loaded, __dir__ = lazy_names(__name__, _MODULE_OF)
__getattr__ = renamed_names(__name__, {"Additive": "Known"}, otherwise=_loaded)
