"""Accuracy recovered by training with the multipliers in the loop."""

from axopt.retraining.loop import Epoch, RetrainResult, retrain
from axopt.retraining.recipe import Recipe

__all__ = ["Epoch", "Recipe", "RetrainResult", "retrain"]
