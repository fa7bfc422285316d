import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from axopt.data import load_data
from axopt.errors import DatasetError


def idx_bytes(array):
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_pair(folder, part, n, rng, *, suffix=""):
    images = rng.integers(0, 256, (n, 3, 2), dtype=np.uint8)
    labels = np.arange(n) % 10
    for stem, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_bytes(array)
        path = folder / f"{part}-{stem}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
    return torch.from_numpy(images), torch.from_numpy(labels)


def test_four_files_give_held_out_validation(tmp_path, rng):
    images, labels = write_pair(tmp_path, "train", 40, rng)
    test_images, test_labels = write_pair(tmp_path, "t10k", 7, rng)
    data = load_data(f"idx:{tmp_path}")
    held_out = [9, 19, 29, 39]
    assert torch.equal(data.validation.inputs_uint8[:, 0], images[held_out])
    assert torch.equal(data.validation.targets, labels[held_out])
    assert len(data.train) == 36
    assert torch.equal(data.test.inputs_uint8[:, 0], test_images)
    assert torch.equal(data.test.targets, test_labels)
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_one_pair_is_split_three_ways_and_gzip_changes_nothing(part, tmp_path, rng):
    write_pair(tmp_path, part, 100, rng)
    plain = load_data(f"idx:{tmp_path}")
    assert [len(split) for split in (plain.train, plain.validation, plain.test)] == [60, 20, 20]
    for path in tmp_path.iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load_data(f"idx:{tmp_path}")
    assert packed.train.digest == plain.train.digest
    assert packed.test.digest == plain.test.digest


def test_real_mnist_test_files(shared_data):
    data = load_data(f"idx:{shared_data / 'mnist'}")
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [6000, 2000, 2000]
    images = torch.cat([split.inputs_uint8 for split in splits])
    with gzip.open(shared_data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read()[16:], np.uint8).reshape(10_000, 784)
    ours = sorted(hashlib.sha1(image).digest() for image in images.flatten(1).numpy())
    assert ours == sorted(hashlib.sha1(image.tobytes()).digest() for image in raw)


IMAGES = idx_bytes(np.zeros((4, 3, 2)))
LABELS = idx_bytes(np.arange(4))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"\0\0\x08\x01" + IMAGES[4:], LABELS, "magic number at offset 0 must be 0x00000803, got"),
        (IMAGES, b"\0\0\x0d\x01" + LABELS[4:], "magic number at offset 0 must be 0x00000801, got"),
        (b"", LABELS, "truncated at offset 0, inside the header"),
        (IMAGES[:15], LABELS, "truncated at offset 15, inside the header"),
        (IMAGES[:-1], LABELS, "truncated at offset 39, 40 bytes are due"),
        (IMAGES + b"\0", LABELS, "goes on after offset 40"),
        (IMAGES, LABELS[:-1], "truncated at offset 11, 12 bytes are due"),
        (IMAGES, idx_bytes(np.arange(3)), "3 labels, but 4 images"),
        (IMAGES, idx_bytes(np.array([0, 1, 10, 3])), "label 10 at offset 10 is not in 0..9"),
        (idx_bytes(np.zeros((0, 3, 2))), idx_bytes(np.zeros(0)), "sizes at offset 4"),
        (struct.pack(">4I", 0x803, *[2**32 - 1] * 3), LABELS, "sizes at offset 4"),
        (struct.pack(">4I", 0x803, 999, 1, 2) + b"\0" * 9, LABELS, "truncated at offset 25"),
        (struct.pack(">4I", 0x803, 2**32 - 1, 1, 2) + b"\0" * 9, LABELS, "that unpack to 1460288"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_files_are_refused(images, labels, message, suffix, tmp_path):
    pack = gzip.compress if suffix else bytes
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    (tmp_path / f"train-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))
    with pytest.raises(DatasetError, match=r"train-(images|labels)-idx.-ubyte") as raised:
        load_data(f"idx:{tmp_path}")
    assert message in str(raised.value)


@pytest.mark.parametrize("damage", ["truncate", "checksum", "not gzip"])
def test_damaged_gzip_is_refused(damage, tmp_path, rng):
    write_pair(tmp_path, "train", 20, rng, suffix=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        del content[-9:]
    elif damage == "checksum":
        content[-8] ^= 1
    else:
        content[:2] = b"PK"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="train-images-idx3-ubyte.gz: damaged gzip"):
        load_data(f"idx:{tmp_path}")


def test_missing_files_are_named(tmp_path, rng):
    with pytest.raises(DatasetError, match="no train-images-idx3-ubyte or t10k-images"):
        load_data(f"idx:{tmp_path}")
    write_pair(tmp_path, "t10k", 20, rng)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DatasetError, match="t10k-labels-idx1-ubyte is missing"):
        load_data(f"idx:{tmp_path}")
