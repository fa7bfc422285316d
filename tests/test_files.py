"""Atomic writes, temporary files of killed processes, bounded reads."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from axopt import files
from axopt.files import (
    open_regular,
    read_bytes,
    remove_stale_temporaries,
    replacing,
    write_atomically,
    write_text_atomically,
)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "front.csv"
    path.write_bytes(b"old")
    return path


def test_content_is_replaced_and_nothing_else_is_left(target):
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == [target.name]
    write_text_atomically(target, "µ")
    assert target.read_bytes() == "µ".encode()


def test_content_written_in_pieces_replaces_the_file_only_if_nothing_is_raised(target):
    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        file.write(b"half" * (1 // 0))
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == [target.name]
    with pytest.raises(ConnectionResetError) as raised, replacing(target):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert raised.value.filename is None  # the body's errors stay what they are
    with replacing(target) as file:
        file.write(b"ne")
        file.write(b"w")
    assert target.read_bytes() == b"new"


def test_permissions_follow_the_umask(target):
    before = os.umask(0o027)
    try:
        write_atomically(target, b"new")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_long_name_is_written(tmp_path):
    path = tmp_path / ("x" * 250)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    "step", ["tempfile.mkstemp", "os.fdopen", "os.fsync", "os.chmod", "os.replace"]
)
def test_every_step_that_fails_names_the_target(target, step, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/else")

    monkeypatch.setattr(f"axopt.files.{step}", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        write_atomically(target, b"new")
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == [target.name]


def test_a_write_beyond_the_limit_of_the_system_names_the_target(target):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"front\.csv") as raised:
            write_atomically(target, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == [target.name]


def test_a_missing_folder_is_reported_with_the_target(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        write_atomically(tmp_path / "absent" / "x", b"")
    assert raised.value.filename == str(tmp_path / "absent" / "x")


WRITER = """
import os, sys, time
from axopt import files
files.os.replace = lambda *_: (print("writing", flush=True), time.sleep(60))
files.write_atomically(sys.argv[1], b"new")
"""


@pytest.fixture
def writer(target):
    """A process that is inside `write_atomically`, its temporary file written."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_temporaries_stay_while_their_writer_lives_and_go_when_it_is_killed(target, writer):
    (temporary,) = target.parent.glob(".front.csv.*")
    remove_stale_temporaries(target.parent)
    assert temporary.exists()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert temporary.exists()
    remove_stale_temporaries(target.parent)
    assert os.listdir(target.parent) == [target.name]
    assert target.read_bytes() == b"old"


def test_only_own_temporaries_are_removed_in_the_folder_and_one_below(tmp_path):
    kept = [
        "front.csv",
        ".hidden",
        ".front.csv.a1b2c3d4",
        "front.axopt~",
        "a/b/.x.1.axopt~",
        ".d.axopt~/x",
        "elsewhere/.x.1.axopt~",
    ]
    stale = [".front.csv.a1b2c3d4.axopt~", "a/.x.1.axopt~"]
    for name in kept + stale:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").rename(tmp_path.with_name("elsewhere"))
    (tmp_path / "elsewhere").symlink_to(tmp_path.with_name("elsewhere"))
    remove_stale_temporaries(tmp_path)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in stale)
    remove_stale_temporaries(tmp_path / "absent")


def test_a_writer_whose_temporary_was_removed_before_its_lock_makes_another(target, monkeypatch):
    flock, removed = files.fcntl.flock, []

    def remove_first(handle, operation):
        if not removed:
            (temporary,) = target.parent.glob(".front.csv.*")
            removed.append(temporary)
            temporary.unlink()
        flock(handle, operation)

    monkeypatch.setattr(files.fcntl, "flock", remove_first)
    write_atomically(target, b"new")
    assert removed
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == [target.name]


def test_only_regular_files_are_opened_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    start = time.monotonic()
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file") as raised:
            open_regular(path)
        assert raised.value.filename == str(path)
    assert time.monotonic() - start < 5
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")


def test_a_file_is_read_up_to_its_limit(target):
    assert read_bytes(target, limit=3) == b"old"
    with pytest.raises(OSError, match=r"expected at most 2 bytes, got 3.*front\.csv"):
        read_bytes(target, limit=2)
    with pytest.raises(OSError, match="expected at most 4 bytes"):
        read_bytes("/proc/self/status", limit=4)  # its size is given as 0
