"""The store: what is committed stays, what is damaged or foreign is refused."""

import os
import resource
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from axopt.errors import ArgumentError, RunExistsError, StoreError
from axopt.exploration import State, Store, Trial, create_algorithm, run_search
from axopt.exploration.lock import check_unlocked
from axopt.exploration.records import encode_note, encode_trial, insert_trial
from axopt.exploration.testing import FlakyProblem, TinyProblem, check_store, timeless

IDENTITY = {
    "model": "aa11",
    "data": {"train": "t", "validation": "v"},
    "library": ["v1/mul8s_1KV8"],
    "quantiser": {"bits": 8},
    "algorithm": "nsga2",
    "seed": 0,
    "space": [4, 4],
}


def make_trial(number, **changes):
    trial = Trial(
        number=number,
        genes=(number // 16, number // 4 % 4, number % 4),
        state=State.COMPLETE,
        objectives=(0.1 * number, 1 / 3),
        info={"quality": 81.25, "low": 80.0, "high": 82.5, "n": 1000, "text": "\u00e9"},
        reason=None,
        seconds=0.1,
    )
    return replace(trial, **changes)


TRIALS = [make_trial(number) for number in range(40)]
TRIALS[7] = make_trial(
    7, state=State.FAILED, objectives=(), info={"traceback": "..."}, reason="ValueError('x')"
)
TRIALS[9] = make_trial(9, state=State.PRUNED, fidelity=0.1)
OLD = Path(__file__).parent / "assets" / "store_schema1.sqlite"  # made by axopt 0.1.0
OLD_IDENTITY = {"model": "aa11", "algorithm": "nsga2", "seed": 3, "space": [4, 4, 4, 4]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.sqlite"


@pytest.fixture
def filled(path):
    with Store.open(path, IDENTITY) as store:
        for trial in TRIALS:
            store.commit(trial)
    return path


def test_trials_come_back_exactly(filled):
    with Store.open_read_only(filled) as store:
        assert store.trials() == TRIALS
        assert store.identity == IDENTITY
    with Store.open(filled, IDENTITY, resume=True) as store:
        assert store.trials() == TRIALS


def test_closed_store_is_one_file(filled):
    assert [entry.name for entry in filled.parent.iterdir()] == [filled.name]


def test_commits_are_durable_by_configuration(path):
    # private: pragmas are those of one connection, and no crash of the machine can be tested here
    with Store.open(path, IDENTITY) as store:
        pragma = {
            name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 60_000}


def test_reader_sees_commits_of_a_running_search(path):
    with Store.open(path, IDENTITY) as store:
        store.commit(TRIALS[0])
        with Store.open_read_only(path) as reader:
            assert reader.trials() == TRIALS[:1]
            store.commit(TRIALS[1])
            assert reader.trials() == TRIALS[:2]
            with pytest.raises(StoreError, match="readonly"):
                reader.commit(TRIALS[2])


def test_existing_store_is_kept_unless_resumed(filled):
    before = filled.read_bytes()
    with pytest.raises(RunExistsError, match=r"study\.sqlite: exists already"):
        Store.open(filled, IDENTITY)
    assert filled.read_bytes() == before
    with pytest.raises(ArgumentError, match="must not both"):
        Store.open(filled, IDENTITY, resume=True, overwrite=True)


def test_overwriting_starts_anew_even_beside_an_old_log(filled):
    for suffix in ("-wal", "-shm"):
        filled.with_name(filled.name + suffix).write_bytes(b"left by a crash")
    with Store.open(filled, IDENTITY | {"seed": 1}, overwrite=True) as store:
        assert store.trials() == []
        assert store.identity["seed"] == 1


def test_log_that_outlived_its_store_is_not_played_into_the_next(path):
    log = path.with_name(path.name + "-wal")
    with Store.open(path, IDENTITY) as store:
        store.commit(TRIALS[0])
        content = log.read_bytes()
    path.unlink()
    log.write_bytes(content)
    with Store.open(path, IDENTITY) as store:
        assert store.trials() == []


def test_running_store_is_not_overwritten(path):
    with Store.open(path, IDENTITY) as store:
        store.commit(TRIALS[0])
        with pytest.raises(StoreError, match=f"process {os.getpid()} on host"):
            Store.open(path, IDENTITY, overwrite=True)
        assert store.trials() == TRIALS[:1]


def test_resuming_nothing_starts_a_store(path):
    with Store.open(path, IDENTITY, resume=True) as store:
        assert store.trials() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "bb22"}, "`model` is 'aa11' in the store and 'bb22' now"),
        ({"data": {"train": "t", "validation": "w"}}, "`data.validation` is 'v' .* 'w' now"),
        ({"library": ["v1/mul8s_1L2H"]}, "`library` is .*1KV8.* and .*1L2H.* now"),
        ({"quantiser": {"bits": 8, "corrected": True}}, "`quantiser.corrected` is 'absent'"),
        ({"seed": 1}, "`seed` is 0 in the store and 1 now"),
        ({"space": [4, 5]}, r"`space` is \[4, 4\] in the store and \[4, 5\] now"),
    ],
)
def test_another_search_is_refused(filled, change, message):
    with pytest.raises(StoreError, match=message):
        Store.open(filled, IDENTITY | change, resume=True)
    with Store.open(filled, IDENTITY, resume=True) as store:  # the lock was let go
        assert store.trials() == TRIALS


def test_finished_trials_never_change(filled):
    with Store.open(filled, IDENTITY, resume=True) as store:
        for trial in (make_trial(3, objectives=(9.0, 9.0)), make_trial(40, genes=(0, 0, 3))):
            with pytest.raises(StoreError, match=f"written with trial {trial.number}"):
                store.commit(trial)
        for statement in ("UPDATE evaluation SET seconds = 0", "DELETE FROM evaluation"):
            with pytest.raises(sqlite3.IntegrityError, match="a finished trial never"):
                edit(filled, statement)
        assert store.trials() == TRIALS


def test_notes_are_written_once(path):
    with Store.open(path, IDENTITY) as store:
        assert store.settle("order", "exhaustive") == "exhaustive"
    with Store.open(path, IDENTITY, resume=True) as store:
        assert store.settle("order", "algorithm") == "exhaustive"


def edit(path, statement, row=()):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, row)


def open_both_ways(path):
    with Store.open_read_only(path) as store:
        store.trials()
    with Store.open(path, IDENTITY, resume=True) as store:
        store.trials()


def test_store_of_the_future_is_refused(filled):
    _, value, crc = encode_note("schema", 3)
    edit(filled, "UPDATE meta SET value = ?, crc = ? WHERE key = 'schema'", (value, crc))
    with pytest.raises(StoreError, match="has schema 3, this axopt reads 1 and 2"):
        open_both_ways(filled)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = '3' WHERE key = 'schema'",
        "UPDATE meta SET value = replace(value, 'aa11', 'aa12') WHERE key = 'identity'",
        "DELETE FROM meta WHERE key = 'identity'",
    ],
)
def test_edited_note_is_refused(filled, statement):
    edit(filled, statement)
    with pytest.raises(StoreError, match="is damaged"):
        open_both_ways(filled)


@pytest.mark.parametrize(
    "change",
    [
        "objectives = '[0.0,0.0]'",
        "genes = '[3,3,3]'",
        "state = 'failed'",
        "info = '{}'",
        "info = CAST(info AS BLOB)",
        "reason = 'none'",
        "seconds = 9e999",
        "fidelity = 0.5",
        "trial = 40",
    ],
)
def test_edited_row_is_refused(filled, change):
    edit(filled, "DROP TRIGGER evaluation_keeps")
    edit(filled, f"UPDATE evaluation SET {change} WHERE trial = 39")
    with pytest.raises(StoreError, match="is damaged: row"):
        open_both_ways(filled)


def test_missing_row_is_refused(filled):
    edit(filled, "DROP TRIGGER evaluation_stays")
    edit(filled, "DELETE FROM evaluation WHERE trial = 20")
    with pytest.raises(StoreError, match="is damaged: trial 20 is missing"):
        open_both_ways(filled)


def test_row_of_another_trial_is_refused(path):
    with Store.open(path, IDENTITY) as store:
        store.commit(TRIALS[0])
        row = list(encode_trial(TRIALS[1]))
    row[1] = encode_trial(TRIALS[2])[1]
    edit(path, insert_trial(2), row)
    with pytest.raises(StoreError, match="is damaged: row 1 does not have its checksum"):
        open_both_ways(path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"not a database" * 100])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"study\.sqlite"):
        Store.open_read_only(path)
    with pytest.raises(StoreError, match=r"study\.sqlite"):
        Store.open(path, IDENTITY, resume=True)
    assert path.read_bytes() == content


def test_other_database_is_refused(path):
    edit(path, "CREATE TABLE meta (a)")
    with pytest.raises(StoreError, match="is not a search store"):
        open_both_ways(path)


def test_missing_store_is_not_made_by_reading(path):
    with pytest.raises(StoreError, match="there is no such store"):
        Store.open_read_only(path)
    assert not path.exists()


def test_missing_directory_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        Store.open(tmp_path / "missing" / "study.sqlite", IDENTITY)


def read_or_refused(path):
    """The trials in a perhaps damaged store, or None where it is refused."""
    try:
        with Store.open_read_only(path) as store:
            return store.trials()
    except StoreError:
        return None


def test_flipped_bits_are_never_a_wrong_row(filled, rng):
    content = filled.read_bytes()
    copy = filled.with_name("copy.sqlite")
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        copy.write_bytes(damaged)
        trials = read_or_refused(copy)
        assert trials in (None, TRIALS)
        refused += trials is None
    assert refused > 50  # else the flips hit nothing and the test proves nothing


def test_cut_file_is_refused(filled, rng):
    content = filled.read_bytes()
    for length in [0, 1, len(content) - 1, *rng.integers(0, len(content), size=100)]:
        filled.write_bytes(content[:length])
        assert read_or_refused(filled) is None


def test_damaged_log_loses_at_most_its_tail(path, rng, caplog):
    """A commit that the log no longer proves is, to SQLite, one that never happened."""
    copy = path.with_name("copy.sqlite")
    copied_log = copy.with_name(copy.name + "-wal")
    with Store.open(path, IDENTITY) as store:
        for trial in TRIALS:
            store.commit(trial)
        shutil.copy(path, copy)
        shutil.copy(f"{path}.lock", f"{copy}.lock")
        content = path.with_name(path.name + "-wal").read_bytes()
    lengths = set()
    for _ in range(100):
        damaged = bytearray(content[: rng.integers(len(content))])
        if rng.random() < 0.5:
            damaged = bytearray(content)
            damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        copied_log.write_bytes(damaged)
        caplog.clear()
        trials = read_or_refused(copy)
        assert trials is not None
        assert trials == TRIALS[: len(trials)]
        lengths.add(len(trials))
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == (len(trials) < 40)
        assert all(f"{40 - len(trials)} of 40 committed trials are lost" in text for text in said)
    assert len(lengths) > 10


def kill_after(path, trials):
    """Leave what a writer leaves that is killed after these commits."""
    with Store.open(path, IDENTITY) as store:
        for trial in trials:
            store.commit(trial)
        left = {name: name.read_bytes() for name in path.parent.iterdir()}
    path.unlink()
    for name, content in left.items():
        name.write_bytes(content)


def test_lost_trials_are_said_once_and_then_evaluated_again(path, caplog):
    kill_after(path, TRIALS[:8])
    path.with_name(path.name + "-wal").unlink()
    with pytest.raises(StoreError, match="another search"):  # a refusal forgets nothing
        Store.open(path, IDENTITY | {"seed": 9}, resume=True)
    assert caplog.records == []
    with Store.open(path, IDENTITY, resume=True) as store:
        assert "8 of 8 committed trials are lost" in caplog.text
        assert store.trials() == []
    caplog.clear()
    Store.open(path, IDENTITY, resume=True).close()
    assert caplog.records == []
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_killed_writer_whose_log_is_whole_lost_nothing(path, caplog):
    kill_after(path, TRIALS[:8])
    with Store.open(path, IDENTITY, resume=True) as store:
        assert store.trials() == TRIALS[:8]
    assert caplog.records == []


def test_overwriting_forgets_what_was_lost(path, caplog):
    kill_after(path, TRIALS[:8])
    Store.open(path, IDENTITY, overwrite=True).close()
    assert caplog.records == []


def test_a_lock_is_seen_without_opening_the_store(path):
    check_unlocked(path)
    with Store.open(path, IDENTITY):
        with pytest.raises(StoreError, match=f"process {os.getpid()} on host"):
            check_unlocked(path)
    check_unlocked(path)


def test_schema_text_that_is_not_utf8_is_refused(filled):
    content = filled.read_bytes()
    at = content.index(b"CREATE TABLE")
    for offset in range(at, at + 60):
        damaged = bytearray(content)
        damaged[offset] = 0xFF
        filled.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"study\.sqlite: "):
            open_both_ways(filled)


def test_digests_are_explained_where_their_meaning_is_given(filled):
    meaning = {"model": "its model has other weights"}
    with pytest.raises(StoreError, match="to another search: its model has other weights.$"):
        Store.open(filled, IDENTITY | {"model": "bb22"}, resume=True, meaning=meaning)


def continued(store, budget):
    """Go on with the search of the old store."""
    problem = FlakyProblem()
    algorithm = create_algorithm("nsga2", problem.space, n_objectives=2, seed=3, population=8)
    seeds = [(option,) * 4 for option in range(4)]
    return run_search(problem, algorithm, store, budget=budget, seeds=seeds)


def lasting(trials):
    """Trials without durations and tracebacks, whose files and lines differ."""
    return [
        replace(trial, info={k: v for k, v in trial.info.items() if k != "traceback"})
        for trial in timeless(trials)
    ]


def test_store_of_schema_1_opens_resumes_and_gives_the_same_front(path):
    shutil.copy(OLD, path)
    with Store.open_read_only(path) as store:
        assert len(store.trials()) == 30
        assert {trial.fidelity for trial in store.trials()} == {1.0}
    with Store.open(path, OLD_IDENTITY, resume=True) as store:
        outcome = continued(store, budget=50)
    assert (outcome.n_evaluated, outcome.n_cached >= 30) == (20, True)
    whole = continued(Store.in_memory(), budget=50)
    assert lasting(outcome.trials) == lasting(whole.trials)
    assert lasting(outcome.front) == lasting(whole.front)
    with Store.open(path, OLD_IDENTITY, resume=True) as store:
        assert lasting(store.trials()) == lasting(whole.trials)


def test_store_of_schema_1_has_no_place_for_pruned_trials(path):
    shutil.copy(OLD, path)
    with Store.open(path, OLD_IDENTITY, resume=True) as store:
        trial = make_trial(30, genes=(3, 3, 3, 0), state=State.PRUNED, fidelity=0.5)
        with pytest.raises(StoreError, match="schema 1 cannot hold pruned trials"):
            store.commit(trial)
        assert len(store.trials()) == 30


def test_stores_keep_the_contract(path):
    check_store(Store.in_memory)
    check_store(lambda: Store.open(path, IDENTITY))


def test_full_disk_loses_nothing_reported(path):
    problem = TinyProblem()
    reported = []

    def search(store):
        algorithm = create_algorithm("random", problem.space, n_objectives=2)
        return run_search(problem, algorithm, store, budget=200, on_trial=reported.append)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = Store.open(path, IDENTITY)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        with pytest.raises(StoreError, match=r"study\.sqlite: cannot be written with trial"):
            search(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.close()
    with Store.open(path, IDENTITY, resume=True) as store:
        assert 0 < len(reported) < 200
        assert timeless(store.trials()) == timeless(reported)
        assert len(search(store).trials) == 200


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_store_appears_whole_or_not_at_all(path, call, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"axopt.files.os.{call}", fail)
        with pytest.raises(OSError, match="No space left"):
            Store.open(path, IDENTITY)
    assert list(path.parent.iterdir()) == []
    Store.open(path, IDENTITY).close()
