"""Quality of a model on held-out samples, with its confidence interval."""

from axopt.evaluation.intervals import jackknife_interval, wilson_interval
from axopt.evaluation.metrics import METRICS, Metric
from axopt.evaluation.quality import BATCH_SIZE, Evaluation, evaluate
from axopt.evaluation.reference import against, learnt_data, measured_data

__all__ = [
    "BATCH_SIZE",
    "METRICS",
    "Evaluation",
    "Metric",
    "against",
    "evaluate",
    "jackknife_interval",
    "learnt_data",
    "measured_data",
    "wilson_interval",
]
