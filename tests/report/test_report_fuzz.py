"""Damaged and hostile records: a report, or one `ReportError` that names the field."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_records import make_full_record

from axopt.errors import ReportError
from axopt.report import RunRecord
from axopt.report.page import report_html
from axopt.report.table import front_csv

DOCUMENT = json.loads(make_full_record().to_json())

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["</script>", "\ud800", "\x00", "=1+1", "<b>", "'\"", "../x", "x" * 20_000]),
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 1.7e308, -1e308, 1e100, -1e100, 2**63, 0, 0.0, 1e-300]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Paths of all values inside a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


# every field of the record, and those of one point, layer and trial; the rest is alike
PLACES = [
    path
    for path in places(DOCUMENT)
    if path and all(part in (0, 1) for part in path if isinstance(part, int))
]


LIKE = {str: TEXTS, int: NUMBERS, float: NUMBERS, bool: st.booleans()}


@st.composite
def documents(draw):
    """The JSON of a record with one value changed, mostly to one of the same type."""
    document = json.loads(json.dumps(DOCUMENT))
    path = draw(st.sampled_from(PLACES))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    alike = LIKE.get(type(parent[path[-1]]), VALUES)
    parent[path[-1]] = draw(st.one_of(alike, alike, VALUES))
    return json.dumps(document)


def check_report(record):
    """The page and the table can be written, and no text of the record has become markup."""
    page = report_html(record, {})
    page.encode()
    front_csv(record).encode()
    assert page.count("<script") == page.count("</script") == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_a_damaged_record_is_shown_or_refused_in_one_line(text):
    try:
        record = RunRecord.from_json(text)
    except ReportError as error:
        message = str(error)
    else:
        check_report(record)
        return
    assert "`" in message
    assert "\n" not in message
    assert len(message) < 500
