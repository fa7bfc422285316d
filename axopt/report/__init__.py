"""The front as files: a table, a picture, a page to explore, and exports of one assignment.

Everything is made from a `RunRecord`, which holds plain values and knows neither models nor
stores. pandas and matplotlib are imported by the functions that need them.
"""

from axopt.report.record import Layer, LayerOption, LeftOut, Point, Quality, RunRecord, TrialRow
from axopt.report.table import export_csv, front_table
from axopt.report.write import write_report

__all__ = [
    "LayerOption",
    "Layer",
    "LeftOut",
    "Point",
    "Quality",
    "RunRecord",
    "TrialRow",
    "export_csv",
    "front_table",
    "write_report",
]
