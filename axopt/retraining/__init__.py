"""Accuracy recovered by training with the multipliers in the loop."""

from axopt.retraining.loop import retrain
from axopt.retraining.persistence import check_free, load_retrained_, save_retrained
from axopt.retraining.recipe import Recipe
from axopt.retraining.trainer import Epoch, RetrainResult

__all__ = [
    "Epoch",
    "Recipe",
    "RetrainResult",
    "check_free",
    "load_retrained_",
    "retrain",
    "save_retrained",
]
