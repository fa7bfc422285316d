import pytest

from axopt.data import list_readers, load_data, register_reader
from axopt.errors import ArgumentError, DatasetError


def test_readers_are_listed_sorted():
    assert list_readers() == [
        "cifar10",
        "digits",
        "digits_thirds",
        "idx",
        "imagefolder",
        "latents",
        "npz",
        "polarity",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "`data` must be a known reader, got 'digit'; did you mean 'digits'?"),
        ("cifar:x", "`data` must be a known reader, got 'cifar'; did you mean 'cifar10'?"),
        (
            "",
            "`data` must be a known reader, got ''; "
            "known are cifar10, digits, digits_thirds, idx, imagefolder, latents, npz, polarity.",
        ),
        ("digits:x", "reader 'digits' takes no path, got 'x'."),
        ("npz", "reader 'npz' needs a path: write npz:PATH."),
        ("idx:", "reader 'idx' needs a path: write idx:PATH."),
    ],
)
def test_bad_specs_are_explained(spec, message):
    with pytest.raises(DatasetError) as raised:
        load_data(spec)
    assert str(raised.value) == message


@pytest.mark.parametrize("reader", ["cifar10", "idx", "imagefolder", "npz", "polarity"])
@pytest.mark.parametrize("name", ["missing", "nul\0byte", "x" * 5000])
def test_missing_paths_are_named(reader, name, tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load_data(f"{reader}:{tmp_path / name}")


def test_unknown_options_are_refused():
    with pytest.raises(ArgumentError, match="reader 'npz' has no option `download`"):
        load_data("npz:x.npz", download=True)
    with pytest.raises(ArgumentError, match="reader 'npz' has no option `path`"):
        load_data("npz:x.npz", path="y.npz")


@pytest.mark.parametrize("name", ["digits", "a:b", ""])
def test_reader_names_are_new_and_hold_no_colon(name):
    with pytest.raises(ArgumentError, match="`name`"):
        register_reader(name)(lambda: None)


def test_paths_may_hold_colons_and_spaces(tmp_path):
    with pytest.raises(DatasetError, match="a: b"):
        load_data(f"npz:{tmp_path}/a: b")
