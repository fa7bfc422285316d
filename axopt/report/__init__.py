"""The results of a search as files: a table, a picture and a page.

Everything is made from a `RunRecord`, which holds plain values and knows neither models nor
stores. pandas and matplotlib are imported by the functions that need them.
"""

from typing import TYPE_CHECKING

from axopt.renamed import renamed_names
from axopt.report.choosing import ChosenPoint, best_point, knee_point, validation_drop
from axopt.report.entries import Layer, LayerOption, LeftOut, TrialRow, UsedMultiplier
from axopt.report.example import example_record
from axopt.report.plot import pareto_figure
from axopt.report.record import ESTIMATES, Point, Quality, RunRecord
from axopt.report.table import assignment_csv, csv_text, export_csv, front_table
from axopt.report.write import write_report

__all__ = [
    "ESTIMATES",
    "ChosenPoint",
    "Layer",
    "LayerOption",
    "LeftOut",
    "Point",
    "Quality",
    "RunRecord",
    "TrialRow",
    "UsedMultiplier",
    "assignment_csv",
    "best_point",
    "csv_text",
    "example_record",
    "export_csv",
    "front_table",
    "knee_point",
    "pareto_figure",
    "validation_drop",
    "write_report",
]

if not TYPE_CHECKING:  # a type checker shall not accept every name
    __getattr__ = renamed_names(__name__, {"Choice": "LayerOption", "Trial": "TrialRow"})
