import pytest
from synthetic_records import make_full_record, make_record

from axopt.report import RunRecord


@pytest.fixture(scope="session")
def record() -> RunRecord:
    return make_record()


@pytest.fixture(scope="session")
def full_record() -> RunRecord:
    return make_full_record()
