"""No file smaller than 1 MB may take a reader over 300 MB of memory or 10 s."""

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

MAX_MB = 300
MAX_SECONDS = 10
MAX_FILE_BYTES = 1_000_000
ZEROS = bytes(1 << 20)


def idx(folder, samples, side):
    """Images and labels of zeros, packed by gzip; a file of several gzip members is one stream."""
    folder.mkdir()
    packed = gzip.compress(ZEROS)
    for name, head in (
        ("t10k-images-idx3-ubyte.gz", (0x803, samples, side, side)),
        ("t10k-labels-idx1-ubyte.gz", (0x801, samples)),
    ):
        size = samples * (side * side if len(head) == 4 else 1)
        pieces, rest = divmod(size, len(ZEROS))
        start = gzip.compress(struct.pack(f">{len(head)}I", *head) + bytes(rest))
        (folder / name).write_bytes(start + packed * pieces)
    return "data", f"idx:{folder}"


def idx_of_large_images(folder):
    return idx(folder, 20, 3500)


def idx_of_many_samples(folder):
    return idx(folder, 20_000_000, 1)


def images(folder, sizes, **options):
    """A zip of constant PNG images, six of train and two of test for each of two classes."""
    pngs = {}
    for side in set(sizes):
        content = io.BytesIO()
        Image.new("L", (side, side)).save(content, "PNG")
        pngs[side] = content.getvalue()
    names = [f"{part}/a/{i:02}.png" for part in ("train", "test") for i in range(6)]
    folder.mkdir()
    with zipfile.ZipFile(folder / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, side in zip(names, sizes, strict=True):
            archive.writestr(name, pngs[side])
    return "data", f"imagefolder:{folder / 'data.zip'}"


def large_images(folder):
    return images(folder, [2800] * 12)


def large_images_after_a_small_one(folder):
    return images(folder, [1] + [2800] * 11)


def image_files_of_zeros(folder):
    call = images(folder, [1] * 12)
    with zipfile.ZipFile(folder / "data.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4):
            archive.writestr(f"train/b/{i}.png", 30 * ZEROS, compresslevel=1)
    return call


def npz(folder, arrays):
    folder.mkdir()
    packing = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(folder / "data.npz", "w", **packing) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getbuffer())
    return "data", f"npz:{folder / 'data.npz'}"


def npz_of_large_samples(folder):
    x, y = np.zeros((20, 10_000_000), np.uint8), np.zeros(20, int)
    return npz(folder, {"x_train": x, "y_train": y, "x_test": x[:1, :], "y_test": y[:1]})


def npz_of_many_labels(folder):
    x, y = np.zeros((20, 1), np.uint8), np.zeros(20_000_000, np.uint8)
    return npz(folder, {"x_train": x, "y_train": y, "x_test": x, "y_test": y[:20]})


def polarity(folder, line_count):
    folder.mkdir()
    (folder / "rt-polarity.neg").write_bytes(b"a\n" * line_count)
    (folder / "rt-polarity.pos").write_bytes(b"a\n" * 10)
    return "data", f"polarity:{folder}"


def sentences_of_200_kb(folder):
    return polarity(folder, 100_000)


def sentences_of_1_mb(folder):
    return polarity(folder, 499_000)


def cifar_archive(folder, name, size):
    folder.mkdir()
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo(name)
        info.type, info.size = (tarfile.GNUTYPE_LONGNAME if name == "x" else info.type), size
        archive.addfile(info, io.BytesIO(bytes(size)))
    return "data", f"cifar10:{path}"


def a_long_name_in_an_archive(folder):
    return cifar_archive(folder, "x", 110_000_000)


def a_long_member_of_an_archive(folder):
    return cifar_archive(folder, "other.bin", 110_000_000)


def packed_weights(folder):
    folder.mkdir()
    state = {"0.weight": torch.zeros(40_000_000, dtype=torch.uint8)}
    torch.save({f"{i}": value for i, value in enumerate(state.values())}, folder / "stored.pt")
    with (
        zipfile.ZipFile(folder / "stored.pt") as old,
        zipfile.ZipFile(folder / "w.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), zipfile.ZIP_DEFLATED, 1)
    return "weights", str(folder / "w.pt")


def weights_whose_pickle_makes_a_gigabyte(folder):
    folder.mkdir()
    pickle = b"\x80\x02c__builtin__\nbytearray\nJ\x00\x00\x00\x40\x85R."
    with zipfile.ZipFile(folder / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", pickle)
        archive.writestr("w/version", "3\n")
        archive.writestr("w/byteorder", "little")
    return "weights", str(folder / "w.pt")


def header_of_spaces(folder):
    folder.mkdir()
    content = b"{'descr': '<i2', 'fortran_order': False, 'shape': (256, 256)" + b" " * 860_000
    magic = b"\x93NUMPY\2\0" + len(content).to_bytes(4, "little")
    (folder / "x.npy").write_bytes(magic + content + bytes(131072))
    return "table", str(folder / "x.npy")


def c_header_of_commas(folder):
    folder.mkdir()
    declared = b"const int16_t lut [256][256] = {"
    (folder / "x.h").write_bytes(declared + b"{" + b"}, {" * 249_000 + b"}};")
    return "table", str(folder / "x.h")


def library_of_many_rows(folder):
    folder.mkdir()
    head = "release,name,signed,power_mw,area_um2,delay_ns,table_sha256\n"
    rows = "".join(f"r,n{i},1,1,1,1,{'0' * 64}\n" for i in range(11_000))
    (folder / "a.csv").write_text(head + rows)
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"s{'0' * 16}.npy", 20 * ZEROS)
    return "library", str(folder)


def assignment_of_many_objects(folder):
    folder.mkdir()
    (folder / "a.json").write_text("[" + '{"":0},' * 142_000 + "0]")
    return "assignment", str(folder / "a.json")


def assignment_of_many_brackets(folder):
    folder.mkdir()
    (folder / "a.json").write_text("[" * 999_000)
    return "assignment", str(folder / "a.json")


REFUSED = (
    idx_of_large_images,
    idx_of_many_samples,
    large_images,
    large_images_after_a_small_one,
    image_files_of_zeros,
    npz_of_large_samples,
    npz_of_many_labels,
    sentences_of_1_mb,
    a_long_name_in_an_archive,
    a_long_member_of_an_archive,
    packed_weights,
    weights_whose_pickle_makes_a_gigabyte,
    header_of_spaces,
    c_header_of_commas,
    library_of_many_rows,
    assignment_of_many_objects,
    assignment_of_many_brackets,
)
READ = (sentences_of_200_kb,)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """What each file cost: all of them are read by one process, one after the other."""
    root = tmp_path_factory.mktemp("budgets")
    calls = {make.__name__: make(root / make.__name__) for make in (*REFUSED, *READ)}
    for path in root.rglob("*"):
        assert path.name == "stored.pt" or path.is_dir() or path.stat().st_size < MAX_FILE_BYTES
    script = Path(__file__).with_name("reader_costs.py")
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(calls)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("make", [*REFUSED, *READ])
def test_small_files_take_little_memory_and_time(make, costs):
    cost = costs[make.__name__]
    assert (cost["outcome"] == "read") == (make in READ), cost
    assert cost["mb"] < MAX_MB, cost
    assert cost["seconds"] < MAX_SECONDS, cost
