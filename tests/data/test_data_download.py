import hashlib
import http.client
import io
import urllib.error

import pytest

from axopt.data import download, download_cifar10
from axopt.errors import DatasetError

CONTENT = b"archive" * 1000
NAME = "cifar-10-binary.tar.gz"


@pytest.fixture
def server(monkeypatch):
    """A stand-in for the network: set ``content`` or ``error``; counts the requests."""

    class Server:
        content: bytes = CONTENT
        error: Exception | None = None
        requests = 0

        def open(self, url, timeout):
            assert url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
            assert timeout > 0
            self.requests += 1
            if self.error:
                raise self.error
            return io.BytesIO(self.content)

    server = Server()
    monkeypatch.setattr(download.urllib.request, "urlopen", server.open)
    monkeypatch.setattr(download, "CIFAR10_MD5", hashlib.md5(CONTENT).hexdigest())
    return server


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_the_archive_is_fetched_once(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert download_cifar10(folder).read_bytes() == CONTENT
    assert names(folder) == [NAME]
    download_cifar10(folder)
    assert server.requests == 1


def test_what_a_killed_download_left_is_removed(server, tmp_path):
    (tmp_path / f".{NAME}.a1b2c3d4.axopt~").write_bytes(CONTENT[:99])
    download_cifar10(tmp_path)
    assert names(tmp_path) == [NAME]


def test_a_damaged_archive_is_fetched_again(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    assert download_cifar10(tmp_path).read_bytes() == CONTENT
    assert server.requests == 1


def test_a_wrong_checksum_leaves_what_was_there(server, tmp_path):
    server.content = CONTENT[:-1]
    (tmp_path / NAME).write_bytes(b"old")
    with pytest.raises(DatasetError, match="MD5 must be .*, what arrived has "):
        download_cifar10(tmp_path)
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"old"


def test_an_endless_answer_is_cut(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 6999)
    with pytest.raises(DatasetError, match="sends more than 6999 bytes"):
        download_cifar10(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (http.client.IncompleteRead(b""), "IncompleteRead"),
    ],
)
def test_no_network_is_one_clear_line(error, reason, server, tmp_path):
    server.error = error
    with pytest.raises(DatasetError, match="cannot be downloaded to") as raised:
        download_cifar10(tmp_path)
    message = str(raised.value)
    assert reason in message
    assert str(tmp_path / NAME) in message
    assert "\n" not in message
    assert names(tmp_path) == []


def test_the_real_opener_fails_cleanly(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CIFAR10_URL", (tmp_path / "missing").as_uri())
    with pytest.raises(DatasetError, match="No such file"):
        download_cifar10(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match="file"):
        download_cifar10(tmp_path / "file" / "folder")
    assert server.requests == 0


def test_the_real_archive_is_asked_for():
    assert download.CIFAR10_MD5 == "c32a1d4ab5d03f1284b67883e8d87530"
