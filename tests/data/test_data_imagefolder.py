import io
import os
import random
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from axopt.data import image_files, imagefolder, limits, load_data
from axopt.errors import DatasetError


def image_bytes(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def pixels(rng):
    """Name -> (H, W, 3) uint8 of a small data set; 12 training images of two classes."""
    names = [f"train/{name}/{i}.png" for name in ("cat", "ant") for i in range(6)]
    names += ["test/cat/0.png", "test/ant/0.png"]
    return {name: rng.integers(0, 256, (4, 5, 3), dtype=np.uint8) for name in names}


@pytest.fixture
def contents(pixels):
    return {name: image_bytes(array) for name, array in pixels.items()}


def write(contents, target, *, prefix=""):
    """Write a zip or a folder, in an order that is not the sorted one."""
    names = list(contents)
    random.Random(0).shuffle(names)
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for name in names:
                archive.writestr(prefix + name, contents[name])
        return
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(contents[name])


@pytest.fixture(params=["data", "data.zip"])
def target(request, tmp_path):
    return tmp_path / request.param


def test_samples_are_sorted_and_every_tenth_is_held_out(pixels, contents, target):
    write(contents, target)
    data = load_data(f"imagefolder:{target}")
    ordered = [f"train/{name}/{i}.png" for name in ("ant", "cat") for i in range(6)]
    expected = torch.from_numpy(np.stack([pixels[name] for name in ordered])).permute(0, 3, 1, 2)
    rest = [i for i in range(12) if i != 9]
    assert torch.equal(data.train.inputs_uint8, expected[rest])
    assert torch.equal(data.validation.inputs_uint8, expected[[9]])
    assert data.train.targets.tolist() == [0] * 6 + [1] * 5
    assert data.validation.targets.tolist() == [1]
    assert data.test.targets.tolist() == [0, 1]
    assert data.classes == ("ant", "cat")
    assert data.name == "data"


def test_a_validation_folder_is_used(contents, target):
    contents["validation/ant/7.png"] = contents["test/ant/0.png"]
    write(contents, target)
    data = load_data(f"imagefolder:{target}")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [12, 1, 2]
    assert torch.equal(data.validation.inputs_uint8[0], data.test.inputs_uint8[0])


def test_other_files_and_hidden_ones_are_passed_over(contents, target):
    write(contents, target)
    digest = load_data(f"imagefolder:{target}").train.digest
    extra = {
        "README.txt": b"x",
        "docs/a/b/c.md": b"x",
        "train/.DS_Store": b"x",
        "train/cat/.x.png": b"x",
        "train/.ipynb_checkpoints/a.png": b"x",
    }
    if target.suffix == ".zip":
        extra["__MACOSX/train/cat/0.png"] = b"x"
        target.unlink()
    write({**contents, **extra}, target)
    assert load_data(f"imagefolder:{target}").train.digest == digest


def test_a_zip_of_the_folder_itself_is_read(contents, tmp_path):
    write(contents, tmp_path / "a.zip")
    write(contents, tmp_path / "b.zip", prefix="my data/")
    a, b = (load_data(f"imagefolder:{tmp_path / name}") for name in ("a.zip", "b.zip"))
    assert a.train.digest == b.train.digest


def test_jpeg_grey_and_palette_images_become_rgb(contents, target):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    contents["train/cat/0.png"] = image_bytes(grey)
    contents["train/cat/6.JPG"] = image_bytes(grey, "JPEG", quality=100)
    write(contents, target)
    data = load_data(f"imagefolder:{target}")
    image = data.train.inputs_uint8[6]
    assert torch.equal(image, torch.from_numpy(grey).expand(3, 4, 5))
    assert len(data.train) + len(data.validation) == 13


def test_many_tasks_give_the_same_as_one(contents, target, monkeypatch):
    write(contents, target)
    digest = load_data(f"imagefolder:{target}").train.digest
    monkeypatch.setattr(imagefolder, "FILES_PER_TASK", 1)
    assert load_data(f"imagefolder:{target}").train.digest == digest


def png_of_size(width, height):
    """The header of a PNG that claims a size; a bomb need not hold its pixels."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    checksum = zlib.crc32(header).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + checksum + b"\0\0\0\x05IDAT"


PIXELS = np.zeros((4, 5, 3), np.uint8)
JPEG = image_bytes(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), "JPEG")
SCAN = b"\xff\xda"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged image"),
        (b"no image", "damaged image"),
        (JPEG[:-30], "damaged image"),
        (JPEG.replace(SCAN, 65 * SCAN), "more than 64 scans are refused"),
        (JPEG[:2] + bytes(100), "damaged image"),
        (image_bytes(PIXELS)[:-30], "damaged image"),
        (image_bytes(PIXELS, "GIF"), "damaged image"),
        (image_bytes(PIXELS[:3]), "is 5 x 3, the images before are 5 x 4"),
        (image_bytes(np.zeros((4, 5), np.uint16)), "8 bits a channel"),
        (png_of_size(5000, 5000), "pixels are refused"),
        (png_of_size(100_000, 100_000), "damaged image"),
    ],
)
def test_damaged_images_are_named(content, message, contents, target):
    contents["train/cat/3.png"] = content
    write(contents, target)
    with pytest.raises(DatasetError, match="train/cat/3.png") as raised:
        load_data(f"imagefolder:{target}")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "name", ["train/cat/notes.txt", "train/cat/deep/0.png", "train/0.png", "test/ant/0.gif"]
)
def test_what_is_no_image_of_a_class_is_refused(name, contents, target):
    contents[name] = image_bytes(PIXELS)
    write(contents, target)
    with pytest.raises(DatasetError, match=name.rsplit("/", 1)[0]):
        load_data(f"imagefolder:{target}")


def test_an_empty_class_folder_is_refused(contents, tmp_path):
    write(contents, tmp_path)
    (tmp_path / "train" / "bee").mkdir()
    with pytest.raises(DatasetError, match="train/bee"):
        load_data(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_part_is_named(part, contents, target):
    write({name: c for name, c in contents.items() if not name.startswith(part)}, target)
    with pytest.raises(DatasetError, match=f"no image in {part}/<class>/"):
        load_data(f"imagefolder:{target}")


def test_a_class_that_is_not_trained_is_named(contents, target):
    contents["test/bee/0.png"] = contents["test/cat/0.png"]
    write(contents, target)
    with pytest.raises(DatasetError, match="test/bee/0.png: class 'bee' is not in train/"):
        load_data(f"imagefolder:{target}")


def test_a_damaged_member_is_named(contents, tmp_path):
    path = tmp_path / "data.zip"
    write(contents, path)
    content = path.read_bytes()
    start = content.index(contents["train/cat/3.png"])
    path.write_bytes(
        content[: start + 50] + bytes([content[start + 50] ^ 1]) + content[start + 51 :]
    )
    with pytest.raises(DatasetError, match="train/cat/3.png: damaged image: Bad CRC-32"):
        load_data(f"imagefolder:{path}")


def test_a_truncated_zip_is_refused(contents, tmp_path):
    path = tmp_path / "data.zip"
    write(contents, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match="data.zip: not a readable .zip"):
        load_data(f"imagefolder:{path}")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip_is_refused(contents, tmp_path):
    path = tmp_path / "data.zip"
    write(contents, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/cat/3.png", contents["train/cat/2.png"])
    with pytest.raises(DatasetError, match="train/cat/3.png: is in the .zip more than once"):
        load_data(f"imagefolder:{path}")


def test_huge_files_are_refused_before_they_are_read(contents, target, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_IMAGE_FILE_BYTES", 5000)
    contents["train/cat/3.png"] = bytes(5001)
    write(contents, target)
    with pytest.raises(DatasetError, match=r"train/cat/3\.png: .*5000.*5001|5001.*5000"):
        load_data(f"imagefolder:{target}")


def test_huge_data_sets_are_refused(contents, target, monkeypatch):
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 14 * (60 + 32) - 1)
    write(contents, target)
    with pytest.raises(DatasetError, match="that unpack to 1288; more than 1287 are refused"):
        load_data(f"imagefolder:{target}")


def test_a_member_without_a_name_is_passed_over(contents, tmp_path):
    path = tmp_path / "data.zip"
    write({**contents, ".": b"x"}, path)
    assert len(load_data(f"imagefolder:{path}").train) == 11


def test_a_fifo_among_the_images_is_refused(contents, tmp_path):
    write(contents, tmp_path)
    os.mkfifo(tmp_path / "train" / "cat" / "7.png")
    with pytest.raises(
        DatasetError, match=r"train/cat/7\.png: cannot be read: not a regular file"
    ):
        load_data(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_packed_in_another_way_are_refused(method, contents, tmp_path):
    write(contents, tmp_path / "data.zip")
    with zipfile.ZipFile(tmp_path / "data.zip", "a", method) as archive:
        archive.writestr("test/ant/1.png", contents["test/ant/0.png"])
    with pytest.raises(DatasetError, match=r"test/ant/1\.png: must be stored or deflated"):
        load_data(f"imagefolder:{tmp_path / 'data.zip'}")


def test_real_zip_is_listed_in_the_order_of_the_documentation(shared_data):
    with image_files.open_source(shared_data / "cifar10-jpeg.zip") as source:
        files = source.files()
    train = [file for file in files if file.part == "train"]
    assert (len(files), len(train)) == (60_000, 50_000)
    assert train[0].key == "train/airplane/0000.jpg"
    assert train[-1].key == "train/truck/4999.jpg"
    assert train == sorted(train, key=lambda file: (file.class_name, file.file_name))


def test_images_in_no_class_folder_have_no_labels(pixels, contents, target):
    flat = {name.replace("cat/", "cat").replace("ant/", "ant"): c for name, c in contents.items()}
    write(flat, target)
    data = load_data(f"imagefolder:{target}")
    splits = (data.train, data.validation, data.test)
    assert [split.labelled for split in splits] == [False] * 3
    assert data.classes == ()
    ordered = [f"train/{name}/{i}.png" for name in ("ant", "cat") for i in range(6)]
    expected = np.stack([pixels[name] for name in ordered]).transpose(0, 3, 1, 2)
    assert data.validation.inputs_uint8.tolist() == expected[[9]].tolist()
    assert (len(data.train), len(data.test)) == (11, 2)


@pytest.mark.parametrize("name", ["train/a.png", "test/a.png"])
def test_images_beside_class_folders_are_refused(contents, target, name):
    contents[name] = contents["test/ant/0.png"]
    write(contents, target)
    message = f"{name}: must be {name[:-6]}/<class>/<name>, as other images are in class folders"
    with pytest.raises(DatasetError, match=message):
        load_data(f"imagefolder:{target}")
