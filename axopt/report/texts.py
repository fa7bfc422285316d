"""The texts of page and pictures: titles, figures with their units, notices."""

from html import escape as escape_html

from axopt.report.record import Point, RunRecord

FRONT_TITLE = "front"
ALIKE = "~"  # marks a point that cannot be told apart from its neighbour
TRIALS_AXIS = "evaluations"
HYPERVOLUME_AXIS = "hypervolume"
NEARLY_ALL = 0.99  # of the last hypervolume
FULL_COVERAGE = 0.99  # from here on, no notice says how much is emulated
FIXED_BELOW = 1e6  # larger numbers are written with an exponent
MOST_LEFT_OUT = 5
TITLE_CHARACTERS = 120
SETTING_CHARACTERS = 500

# HTML forbids them; browsers drop some and misread others
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}

# Records of schema 1 do not hold the title of their metric.
_TITLES_OF_SCHEMA_1 = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "f1": "Macro F1",
    "recognised": "Recognised digits",
    "frechet": "Frechet distance",
    "distance": "RMS distance to the float model",
}


def one_line(text: str, most: int) -> str:
    r"""Return ``text`` on one line, elided to ``most`` characters.

    >>> one_line("two\nlines and more", 12)
    'two lines a…'
    """
    line = " ".join(text[: 4 * most].split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return line if len(line) <= most else line[: most - 1] + "…"


def escape(text: str) -> str:
    r"""Return ``text`` for HTML or SVG, control characters replaced.

    >>> escape("a < b\x00")
    'a &lt; b�'
    """
    return escape_html(text.translate(_CONTROLS))


def fixed(number: float, digits: int) -> str:
    """Return a number with ``digits`` decimals, or with an exponent if it is large.

    >>> fixed(-0.001, 2), fixed(3e8, 2)
    ('0.00', '3e+08')
    """
    return f"{number:z.{digits}f}" if abs(number) < FIXED_BELOW else f"{number:z.4g}"


def quality_number(record: RunRecord, number: float, digits: int = 2) -> str:
    """Return a quality or a drop without its unit.

    Percentages have ``digits`` decimals; other qualities have no known scale and get four
    significant digits.
    """
    return fixed(number, digits) if record.unit == "%" else f"{number:z.4g}"


def quality_text(record: RunRecord, number: float, digits: int = 2) -> str:
    """Return a quality with its unit."""
    return with_unit(quality_number(record, number, digits), record.unit)


def interval_text(record: RunRecord, value: float, low: float, high: float) -> str:
    """Return a quality or a drop with its interval: ``99.16 [97.57, 99.72]``."""
    numbers = [quality_number(record, number) for number in (value, low, high)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def cost_text(point: Point, name: str, digits: int) -> str:
    """Return a cost of a point; an estimate is marked and has its interval.

    Args:
        point: The point.
        name: ``"rel_power"``, ``"rel_area"`` or ``"delay_ns"``.
        digits: Number of decimals.
    """
    text = fixed(getattr(point, name), digits)
    if name not in point.intervals:
        return text
    low, high = (fixed(end, digits) for end in point.intervals[name])
    return f"{text} est. [{low}, {high}]"


def has_estimates(record: RunRecord) -> bool:
    """Whether a cost of any point is an estimate."""
    points = (record.exact, record.reference_point, *record.uniform, *record.front)
    return any(point.intervals for point in points)


def multiplier_text(record: RunRecord, key: str) -> str:
    """Return the key of a multiplier, with its widths if it is narrow, marked if estimated."""
    for used in record.multipliers:
        if used.key == key:
            narrow = (used.bits_a, used.bits_w) != (8, 8)
            widths = f" ({used.bits_a} x {used.bits_w} bits)" if narrow else ""
            return key + widths + (" est." if used.power_low is not None else "")
    return key


def quality_interval(record: RunRecord, point: Point) -> str:
    """Return the quality of a point with its interval, without the unit."""
    return interval_text(record, point.quality, point.quality_low, point.quality_high)


def drop_interval(record: RunRecord, point: Point) -> str:
    """Return the drop of a point, with its paired interval if that was measured."""
    if point is record.reference_point:
        return f"{quality_number(record, 0)} (baseline)"
    if point.drop is None or point.drop_low is None or point.drop_high is None:
        return quality_number(record, record.drop(point))
    return interval_text(record, point.drop, point.drop_low, point.drop_high)


def with_unit(number: str, unit: str) -> str:
    """Return a number and its unit, if it has one."""
    return f"{number} {unit}" if unit else number


def titled(title: str, unit: str) -> str:
    """Return a title with the unit in parentheses, if there is one."""
    return f"{title} ({unit})" if unit else title


def difference_unit(record: RunRecord) -> str:
    """Return the unit of a difference of two qualities: percentage points for percentages."""
    return "pp" if record.unit == "%" else record.unit


def metric_title(record: RunRecord) -> str:
    """Return the title of the metric."""
    title = record.metric_title or _TITLES_OF_SCHEMA_1.get(record.metric, record.metric)
    return one_line(title, TITLE_CHARACTERS)


def quality_axis(record: RunRecord) -> str:
    """Return the title of the axis of qualities."""
    title = titled(metric_title(record), record.unit)
    better = "" if record.higher_is_better else ", lower is better"
    return f"{title}, {record.exact.split} split, n = {record.n_samples:,}{better}"


def power_axis(record: RunRecord) -> str:
    """Return the title of the axis of relative powers."""
    estimated = ", estimates with horizontal bars" if has_estimates(record) else ""
    return f"Power of the multipliers relative to {one_line(record.reference, 40)}{estimated}"


def algorithm_text(record: RunRecord) -> str:
    """Return the algorithm that ran, and the one that was asked for if that is another one."""
    asked = record.algorithm_asked
    if asked is None or asked == record.algorithm:
        return record.algorithm
    return f"{record.algorithm} ({asked} was asked for)"


def run_line(record: RunRecord) -> str:
    """Return the line below the title: the search, and what the bars mean."""
    coverage = "" if record.coverage is None else f"; {coverage_text(record)} emulated"
    plural = "" if record.n_evaluated == 1 else "s"
    return (
        f"{one_line(algorithm_text(record), 60)}, seed {record.seed}, {record.n_evaluated:,} "
        f"evaluation{plural} on {record.n_validation:,} validation samples{coverage}"
    )


def coverage_text(record: RunRecord) -> str:
    """Return the emulated share of the multiplications, rounded down."""
    if record.coverage is None:
        return "unknown"
    return f"{int(record.coverage * 1000) / 10:.1f} % of the multiplications"


def left_out_text(record: RunRecord) -> str:
    """Return the largest products that stay in float, each with its multiplications."""
    shown = record.left_out[:MOST_LEFT_OUT]
    texts = [f"{one_line(item.name, 60)} ({item.multiplications:,})" for item in shown]
    more = len(record.left_out) - len(shown)
    return ", ".join(texts) + (f" and {more:,} more" if more else "")


def notices(record: RunRecord) -> list[str]:
    """Return what a reader must know before the figures, most important first."""
    found = []
    if record.partial:
        found.append("The run was interrupted. These are the results of a part of it.")
    if record.coverage is not None and record.coverage < FULL_COVERAGE:
        text = (
            f"Only {coverage_text(record)} of one sample are emulated. "
            "Power and area count the emulated ones alone."
        )
        if record.left_out:
            text += f" Largest products in float: {left_out_text(record)}."
        found.append(text)
    if has_estimates(record):
        found.append('Costs marked "est." are estimates, with their intervals.')
    return found + list(record.notes)


def exact_title(record: RunRecord) -> str:
    """Return the legend of the exact multiplier without corrections."""
    return f"exact multiplier, uncorrected: {quality_text(record, record.exact.quality)}"


def baseline_title(record: RunRecord) -> str:
    """Return the legend of the baseline."""
    kind = ", corrected (baseline)" if record.has_uncorrected else " (baseline)"
    return f"exact multiplier{kind}: {quality_text(record, record.reference_point.quality)}"


def baseline_name(record: RunRecord) -> str:
    """Return what drops are relative to, in a sentence."""
    treated = ", corrected as the front is" if record.has_uncorrected else ""
    return f"the exact multiplier{treated}"


def float_title(record: RunRecord) -> str:
    """Return the legend of the float model."""
    if record.float_quality is None:
        return "float model: unknown"
    return f"float model: {quality_text(record, record.float_quality.value)}"


def trials_title(record: RunRecord) -> str:
    """Return the legend of the search's trials."""
    return f"evaluated by the search (validation, n = {record.n_validation:,})"


def dominated_title(record: RunRecord) -> str:
    """Return the legend of the points that another point of the front dominates."""
    return f"chosen on validation, dominated on {record.exact.split}"


def alike_title(record: RunRecord) -> str:
    """Return the legend of neighbours that cannot be told apart."""
    return f"{ALIKE} neighbours that the {record.exact.split} samples cannot tell apart"


def divergence_text(value: float | None) -> str:
    """Return a divergence with three significant digits; nothing if it was not measured."""
    return "" if value is None else f"{value:z.3g}"


def front_text(record: RunRecord) -> str:
    """Return the sentences above the front's table."""
    if record.exact.split == "validation":
        chosen = (
            "All figures are from the validation split, on which the search chose these points."
        )
    else:
        chosen = (
            "The search chose these points on the validation split. "
            f"All other figures are from the {record.exact.split} split."
        )
    text = (
        f"{chosen} A dominated point is no better there than another point of the front in the "
        "metric and in every cost, and worse in at least one. Drops are relative to the baseline, "
        f"{baseline_name(record)}."
    )
    if has_paired_drops(record):
        text += (
            " Both are measured on the same samples, and the interval of a drop is a paired one: "
            "if it contains 0, the samples show no difference."
        )
    if has_alike(record):
        text += (
            f" {ALIKE} marks a point that the samples cannot tell apart from the next point of "
            "less power: the 95 % paired interval of the difference contains 0."
        )
    if has_divergence(record):
        text += (
            " The divergence is the mean distance of the outputs from those of the exact network "
            "with the same treatment; it is what the search minimises beside the costs."
        )
    return text


def history_text(record: RunRecord) -> str:
    """Return what the hypervolume is bounded by, and when most of it was reached."""
    corner = ", ".join(
        f"{one_line(name, 40)} {value:.4g}"
        for name, value in zip(record.objectives, record.corner, strict=True)
    )
    last = record.hypervolumes[-1]
    nearly = next(i for i, v in enumerate(record.hypervolumes, 1) if v >= NEARLY_ALL * last)
    return (
        f"Hypervolume of the front on validation, up to {corner}: {last:.4g}; "
        f"{100 * NEARLY_ALL:g} % after {nearly:,} of {len(record.hypervolumes):,} evaluations"
    )


def has_alike(record: RunRecord) -> bool:
    """Whether any two neighbours of the front cannot be told apart."""
    return any(point.alike for point in record.front)


def has_divergence(record: RunRecord) -> bool:
    """Whether the divergence of a point of the front was measured."""
    return any(point.divergence is not None for point in record.front)


def has_paired_drops(record: RunRecord) -> bool:
    """Whether the drop of any point was measured with a paired interval."""
    return any(point.drop is not None for point in (*record.front, *record.uniform))


def has_power_under_data(record: RunRecord) -> bool:
    """Whether a point of the front has a power under the layers' own data."""
    return any(point.rel_power_activity is not None for point in record.front)


def uniform_title(prefix: str) -> str:
    """Return the legend of the uniform assignments, whose labels lack ``prefix``."""
    return (
        f"one multiplier everywhere ({one_line(prefix, 24)}...)"
        if prefix
        else ("one multiplier everywhere")
    )
