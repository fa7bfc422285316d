"""Quality of a model on held-out samples, with its confidence interval."""

from axopt.evaluation.divergence import OutputPart, References, parts_of_outputs
from axopt.evaluation.drops import Drop, paired_drop
from axopt.evaluation.intervals import (
    jackknife_interval,
    paired_proportion_interval,
    wilson_interval,
)
from axopt.evaluation.metrics import METRICS, Metric, as_metric, register_metric
from axopt.evaluation.quality import BATCH_SIZE, Evaluation, Measurement, evaluate, measure
from axopt.evaluation.reference import against, learnt_data, measured_data

__all__ = [
    "BATCH_SIZE",
    "METRICS",
    "Drop",
    "Evaluation",
    "Measurement",
    "Metric",
    "OutputPart",
    "References",
    "against",
    "as_metric",
    "evaluate",
    "jackknife_interval",
    "learnt_data",
    "measure",
    "measured_data",
    "paired_drop",
    "paired_proportion_interval",
    "parts_of_outputs",
    "register_metric",
    "wilson_interval",
]
