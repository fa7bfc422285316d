import io
import zipfile

import numpy as np
import pytest
import torch

from axopt.data import limits, load_data, npz
from axopt.errors import DatasetError


def arrays(n=20, **changes):
    x = (np.arange(n * 12) % 256).astype(np.uint8).reshape(n, 3, 2, 2)
    y = np.arange(n) % 4
    content = {"x_train": x, "y_train": y, "x_test": x[:5], "y_test": y[:5]}
    content.update(changes)
    return {name: array for name, array in content.items() if array is not None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def test_uint8_arrays_with_held_out_validation(path):
    content = arrays()
    np.savez_compressed(path, **content)
    data = load_data(f"npz:{path}")
    assert data.validation.inputs_uint8.tolist() == content["x_train"][[9, 19]].tolist()
    assert data.train.targets.tolist() == [i % 4 for i in range(20) if i % 10 != 9]
    assert data.test.inputs_uint8.tolist() == content["x_test"].tolist()
    assert data.classes == ("0", "1", "2", "3")
    assert data.name == "data"


def test_validation_arrays_are_used(path):
    content = arrays()
    np.savez(path, **content, x_validation=content["x_test"], y_validation=content["y_test"])
    data = load_data(f"npz:{path}")
    assert len(data.train) == 20
    assert data.validation.digest == data.test.digest


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f8"])
def test_floats_stay_as_they_are(dtype, path):
    x = np.linspace(-2, 3, 60).reshape(20, 3).astype(dtype)
    np.savez(path, **arrays(x_train=x, x_test=x[:5]))
    data = load_data(f"npz:{path}")
    assert data.test.inputs.dtype == torch.float32
    assert np.array_equal(data.test.inputs.numpy(), x[:5].astype(np.float32))


def test_fortran_order_is_read(path):
    content = arrays()
    np.savez(path, **content)
    digest = load_data(f"npz:{path}").train.digest
    np.savez(path, **{name: np.asfortranarray(array) for name, array in content.items()})
    assert load_data(f"npz:{path}").train.digest == digest


X = arrays()["x_train"]
Y = arrays()["y_train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None}, "no array x_test, y_test in it"),
        ({"x_validation": X}, "no array y_validation in it"),
        ({"y_train": Y[:-1]}, "`y_train` must be integers of shape (20,), got int64 (19,)"),
        ({"y_train": Y.astype(float)}, "`y_train` must be integers"),
        ({"y_train": Y[:, None]}, "`y_train` must be integers"),
        ({"y_train": Y - 1}, "`y_train` must be in 0..2, got -1 at position 0"),
        ({"y_train": Y + 2**40}, "`y_train` must be in 0..65535, got 1099511627776 at position 0"),
        ({"y_train": Y.astype(np.uint64) + 2**63}, "`y_train` must be in 0..65535"),
        ({"y_test": Y[:5] + 3}, "`y_test` must be in 0..3, got 4 at position 1"),
        ({"x_train": X[:, 0, 0, 0]}, "`x_train` must be uint8 or float of shape (N, ...)"),
        ({"x_train": X.astype(np.int16)}, "`x_train` must be uint8 or float"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "`x_train` must be uint8 or float"),
        ({"x_train": np.full((20, 1), np.nan)}, "`x_train` must be finite as float32"),
        ({"x_train": np.full((20, 1), 1e300)}, "`x_train` must be finite as float32"),
        ({"x_test": X[:5, :, :1]}, "samples of test are torch.uint8 of shape (3, 1, 2)"),
        ({"x_test": X[:5] / 255}, "samples of test are torch.float32"),
        ({"x_train": X[:9], "y_train": Y[:9]}, "at least 10, got 9"),
        ({"x_train": np.array([[{}]] * 20)}, "must hold numbers, got dtype object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message, path):
    np.savez(path, **arrays(**changes))
    with pytest.raises(DatasetError, match="data.npz") as raised:
        load_data(f"npz:{path}")
    assert message in str(raised.value)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_pickled_arrays_never_run(path, tmp_path):
    marker = tmp_path / "marker"
    np.savez(path, **arrays(x_train=np.array([[Trap(marker)]] * 20)))
    with pytest.raises(DatasetError, match="must hold numbers, got dtype object"):
        load_data(f"npz:{path}")
    assert not marker.exists()


def test_a_plain_array_is_refused(path):
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(DatasetError, match="data.npz: cannot be read as .npz"):
        load_data(f"npz:{path}")


def test_a_bomb_is_refused_before_it_unpacks(path, monkeypatch):
    np.savez_compressed(path, **arrays(x_train=np.zeros((20, 10_000), np.uint8)))
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 200_000)
    monkeypatch.setattr(npz, "read_values", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(DatasetError, match="more than 200000 are refused"):
        load_data(f"npz:{path}")


@pytest.mark.parametrize("shape", ["(20, 1000000000000)", "(99999999999999999999,)", "(-1,)"])
def test_a_false_header_allocates_nothing(shape, path):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(9)
    np.savez(path, **arrays(x_train=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", member)
    with pytest.raises(DatasetError, match="data.npz"):
        load_data(f"npz:{path}")


def test_damage_anywhere_is_refused_or_harmless(path):
    """A flipped bit is found by the checksums, or lies where nothing of the arrays does."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays())
    content = buffer.getvalue()
    path.write_bytes(content)
    digest = load_data(f"npz:{path}").train.digest
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            assert load_data(f"npz:{path}").train.digest == digest
        except DatasetError:
            refused += 1
    assert refused > 100


def test_arrays_without_any_labels_are_samples_without_targets(path):
    content = arrays(y_train=None, y_test=None)
    np.savez(path, **content)
    data = load_data(f"npz:{path}")
    splits = (data.train, data.validation, data.test)
    assert [split.labelled for split in splits] == [False] * 3
    assert data.classes == ()
    assert data.validation.inputs_uint8.tolist() == content["x_train"][[9, 19]].tolist()
    np.savez(path, **content, x_validation=content["x_test"])
    assert load_data(f"npz:{path}").validation.digest == data.test.digest


@pytest.mark.parametrize("missing", ["y_train", "y_test"])
def test_labels_of_some_parts_alone_are_refused(missing, path):
    np.savez(path, **arrays(**{missing: None}))
    with pytest.raises(DatasetError, match=f"no array {missing} in it"):
        load_data(f"npz:{path}")
    extra = arrays()["x_test"]
    np.savez(path, **arrays(), x_validation=extra)
    with pytest.raises(DatasetError, match="no array y_validation in it"):
        load_data(f"npz:{path}")
