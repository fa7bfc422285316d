"""Quality of a model on held-out samples, with its confidence interval."""

from axopt.evaluation.intervals import wilson_interval
from axopt.evaluation.quality import METRICS, Evaluation, evaluate

__all__ = ["METRICS", "Evaluation", "evaluate", "wilson_interval"]
