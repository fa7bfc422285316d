import gzip
import io
import tarfile

import numpy as np
import pytest
import torch

from axopt.data import cifar10, load_data
from axopt.errors import DatasetError

RECORD = 3073
RECORDS = 8
FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def batches(rng, monkeypatch):
    """Name -> content of small batches."""
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", RECORDS)
    records = rng.integers(0, 256, (len(FILES), RECORDS, RECORD), dtype=np.uint8)
    records[:, :, 0] %= 10
    return {name: bytearray(records[i].tobytes()) for i, name in enumerate(FILES)}


def write_folder(folder, batches):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in batches.items():
        (folder / name).write_bytes(content)


def write_archive(path, batches):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"batches.meta.txt": b"airplane\n", **batches}.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_labels_and_planes_come_out(batches, tmp_path):
    write_folder(tmp_path, batches)
    data = load_data(f"cifar10:{tmp_path}")
    record = np.frombuffer(bytes(batches["test_batch.bin"]), np.uint8).reshape(-1, RECORD)[5]
    assert data.test.targets[5] == record[0]
    red = torch.from_numpy(record[1:1025].reshape(32, 32).copy())
    assert torch.equal(data.test.inputs_uint8[5, 0], red)
    assert data.classes[:2] == ("airplane", "automobile")


def test_train_is_the_five_batches_in_order_without_every_tenth(batches, tmp_path):
    write_folder(tmp_path, batches)
    data = load_data(f"cifar10:{tmp_path}")
    labels = np.concatenate(
        [np.frombuffer(bytes(batches[name]), np.uint8)[::RECORD] for name in FILES[:5]]
    )
    held_out = np.arange(len(labels)) % 10 == 9
    assert data.train.targets.tolist() == labels[~held_out].tolist()
    assert data.validation.targets.tolist() == labels[held_out].tolist()
    assert len(data.test) == RECORDS


def test_every_place_of_the_files_is_found(batches, tmp_path):
    write_folder(tmp_path / "a", batches)
    write_folder(tmp_path / "b" / "cifar-10-batches-bin", batches)
    (tmp_path / "c").mkdir()
    write_archive(tmp_path / "c" / "cifar-10-binary.tar.gz", batches)
    write_archive(tmp_path / "any-name.tgz", batches)
    places = [tmp_path / "a", tmp_path / "b", tmp_path / "c", tmp_path / "any-name.tgz"]
    digests = {load_data(f"cifar10:{place}").train.digest for place in places}
    assert len(digests) == 1


def test_nothing_is_downloaded_when_the_files_are_there(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "download_cifar10", lambda path: pytest.fail("downloaded"))
    write_folder(tmp_path, batches)
    load_data(f"cifar10:{tmp_path}", download=True)


def test_download_fills_a_new_folder(batches, tmp_path, monkeypatch):
    def fake_download(path):
        path.mkdir()
        write_archive(path / "cifar-10-binary.tar.gz", batches)

    monkeypatch.setattr(cifar10, "download_cifar10", fake_download)
    assert len(load_data(f"cifar10:{tmp_path / 'new'}", download=True).test) == RECORDS
    with pytest.raises(DatasetError, match="`download=True` fetches"):
        load_data(f"cifar10:{tmp_path / 'other'}")


def truncated(batches):
    del batches["data_batch_3.bin"][-1:]


def one_record_short(batches):
    del batches["data_batch_3.bin"][-RECORD:]


def empty(batches):
    batches["data_batch_3.bin"].clear()


def bad_label(batches):
    batches["data_batch_3.bin"][2 * RECORD] = 10


def missing(batches):
    del batches["data_batch_3.bin"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, f"must have {RECORDS * RECORD} bytes, has {RECORDS * RECORD - 1}"),
        (one_record_short, f"must have {RECORDS * RECORD} bytes, has {(RECORDS - 1) * RECORD}"),
        (empty, "bytes, has 0"),
        (bad_label, f"label 10 at offset {2 * RECORD} is not in 0..9"),
        (missing, ""),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_damaged_batches_are_refused(damage, message, kind, batches, tmp_path):
    damage(batches)
    if kind == "folder":
        write_folder(tmp_path, batches)
    else:
        write_archive(tmp_path / "cifar-10-binary.tar.gz", batches)
    with pytest.raises(DatasetError, match="data_batch_3.bin") as raised:
        load_data(f"cifar10:{tmp_path}")
    assert message in str(raised.value)


@pytest.mark.parametrize("damage", ["truncate", "checksum", "not gzip", "not tar"])
def test_damaged_archives_are_refused(damage, batches, tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_archive(path, batches)
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        del content[len(content) // 2 :]
    elif damage == "checksum":
        content[-8] ^= 1
    elif damage == "not gzip":
        content[:] = b"<html>404</html>"
    else:
        content[:] = gzip.compress(b"no tar" * 500)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="cifar-10-binary.tar.gz: damaged archive"):
        load_data(f"cifar10:{path}")


def test_links_in_an_archive_are_not_followed(batches, tmp_path):
    del batches["test_batch.bin"]
    path = tmp_path / "linked.tar.gz"
    write_archive(path, batches)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as old:
        with tarfile.open(tmp_path / "new.tar.gz", "w:gz") as new:
            for member in old:
                new.addfile(member, old.extractfile(member))
            link = tarfile.TarInfo("test_batch.bin")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            new.addfile(link)
    with pytest.raises(DatasetError, match="new.tar.gz"):
        load_data(f"cifar10:{tmp_path / 'new.tar.gz'}")
