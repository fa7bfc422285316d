"""axopt: find which approximate multiplier each layer of a PyTorch model should use.

The names below are imported on first use, so that ``import axopt`` costs nothing.
"""

from typing import TYPE_CHECKING

from axopt.lazy import lazy_names

if TYPE_CHECKING:
    from axopt.corrections import Corrections
    from axopt.data import load_data
    from axopt.design import Design, design_multipliers
    from axopt.errors import AxoptError
    from axopt.evaluation import Evaluation, evaluate, register_metric
    from axopt.exploration import register_algorithm
    from axopt.export import register_exporter
    from axopt.kernels import lut_gemm
    from axopt.layers import Accumulator, LayerOptions, LayerSpec, register_layer
    from axopt.model import Assignment, Cost, EmulatedModel, assign_, correct_, cost, prepare
    from axopt.multipliers import (
        Multiplier,
        MultiplierLibrary,
        import_multiplier,
        load_library,
        register_importer,
    )
    from axopt.problem import register_objective
    from axopt.retraining import RetrainResult, load_retrained_, retrain, save_retrained
    from axopt.sensitivities import Sensitivity, sensitivity
    from axopt.study import SearchConfig, SearchResult, search
    from axopt.zoo import create_model, list_models

__version__ = "0.2.0"

__all__ = [
    "Accumulator",
    "Assignment",
    "AxoptError",
    "Corrections",
    "Cost",
    "Design",
    "EmulatedModel",
    "Evaluation",
    "LayerOptions",
    "LayerSpec",
    "Multiplier",
    "MultiplierLibrary",
    "RetrainResult",
    "SearchConfig",
    "SearchResult",
    "Sensitivity",
    "assign_",
    "correct_",
    "cost",
    "create_model",
    "design_multipliers",
    "evaluate",
    "import_multiplier",
    "list_models",
    "load_data",
    "load_library",
    "load_retrained_",
    "lut_gemm",
    "prepare",
    "register_algorithm",
    "register_exporter",
    "register_importer",
    "register_layer",
    "register_metric",
    "register_objective",
    "retrain",
    "save_retrained",
    "search",
    "sensitivity",
]

_ROOM_OF = {
    "Accumulator": "layers",
    "Assignment": "model",
    "AxoptError": "errors",
    "Corrections": "corrections",
    "Cost": "model",
    "Design": "design",
    "EmulatedModel": "model",
    "Evaluation": "evaluation",
    "LayerOptions": "layers",
    "LayerSpec": "layers",
    "Multiplier": "multipliers",
    "MultiplierLibrary": "multipliers",
    "RetrainResult": "retraining",
    "SearchConfig": "study",
    "SearchResult": "study",
    "Sensitivity": "sensitivities",
    "assign_": "model",
    "correct_": "model",
    "cost": "model",
    "create_model": "zoo",
    "design_multipliers": "design",
    "evaluate": "evaluation",
    "import_multiplier": "multipliers",
    "list_models": "zoo",
    "load_data": "data",
    "load_library": "multipliers",
    "load_retrained_": "retraining",
    "lut_gemm": "kernels",
    "prepare": "model",
    "register_algorithm": "exploration",
    "register_exporter": "export",
    "register_importer": "multipliers",
    "register_layer": "layers",
    "register_metric": "evaluation",
    "register_objective": "problem",
    "retrain": "retraining",
    "save_retrained": "retraining",
    "search": "study",
    "sensitivity": "sensitivities",
}


__getattr__, __dir__ = lazy_names(__name__, _ROOM_OF)
