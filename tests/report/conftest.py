import pytest
from synthetic_records import make_record

from axopt.report import RunRecord


@pytest.fixture(scope="session")
def record() -> RunRecord:
    return make_record()
