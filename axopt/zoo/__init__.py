"""Models with trained weights and a card each, and models of the user."""

from axopt.zoo.registry import (
    MODELS,
    create_model,
    default_data,
    list_models,
    model_card,
    register_model,
    task_metric,
)
from axopt.zoo.user_models import load_model
from axopt.zoo.weights_io import load_weights_

__all__ = [
    "MODELS",
    "create_model",
    "default_data",
    "list_models",
    "load_model",
    "load_weights_",
    "model_card",
    "register_model",
    "task_metric",
]
