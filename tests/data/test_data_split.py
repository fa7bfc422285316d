import numpy as np
import pytest
import torch

from axopt.data import Dataset, Split
from axopt.data.splitting import hold_out, split_three_ways
from axopt.errors import ArgumentError, DatasetError


def labelled(*targets):
    """A split whose one-pixel images are numbered, so that samples can be told apart."""
    numbers = torch.arange(len(targets), dtype=torch.uint8)
    return Split(numbers.view(-1, 1, 1, 1), torch.tensor(targets))


def numbers(split):
    return split.stored.flatten().tolist()


def test_batches_keep_the_order_and_the_remainder():
    batches = list(labelled(0, 1, 2, 3, 4).batches(2))
    assert [len(images) for images, _ in batches] == [2, 2, 1]
    assert torch.cat([targets for _, targets in batches]).tolist() == [0, 1, 2, 3, 4]


def test_uint8_becomes_float_over_255():
    split = Split(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8), torch.tensor([0]))
    ((images, _),) = split.batches(8)
    assert images.dtype == torch.float32
    assert torch.equal(images, torch.tensor([[[[0, 51, 255]]]]) / 255)
    assert torch.equal(images, split.inputs)


def test_float_is_taken_as_it_is():
    split = Split(torch.full((1, 1, 1, 1), 7.5), torch.tensor([0]))
    assert split.inputs.item() == 7.5
    with pytest.raises(DatasetError, match="not as uint8"):
        _ = split.inputs_uint8


def test_numbers_of_words_are_taken_as_they_are():
    split = Split(torch.tensor([[300, 2]]), torch.tensor([0]))
    ((words, _),) = split.batches(8)
    assert words.dtype == torch.int64
    assert words.tolist() == [[300, 2]]


def test_targets_may_be_outputs_of_a_reference():
    split = Split(torch.arange(3.0).view(3, 1), torch.arange(6.0).view(3, 2))
    assert numbers(split.take(2)) == [0, 1]
    assert split.take(2).targets.tolist() == [[0, 1], [2, 3]]
    assert Dataset("d", "d", split, split, split, ()).classes == ()


def test_a_period_sets_how_much_is_held_out():
    images, targets = torch.arange(40.0).view(40, 1), torch.arange(40) % 2
    train, validation, test = split_three_ways(images, targets, source="s", period=10)
    assert [len(train), len(validation), len(test)] == [32, 4, 4]
    assert numbers(validation) == [16, 17, 36, 37]
    assert numbers(test) == [18, 19, 38, 39]


@pytest.mark.parametrize("size", [0, -1])
def test_batches_refuse_sizes_below_one(size):
    with pytest.raises(ArgumentError, match="`size` must be >= 1"):
        labelled(0).batches(size)


def test_take_goes_round_classes_of_one_size():
    split = labelled(1, 1, 1, 0, 0, 0)
    assert numbers(split.take(4)) == [3, 0, 4, 1]
    assert split.take(4).targets.tolist() == [0, 1, 0, 1]


def test_take_keeps_the_proportions_of_unequal_classes():
    split = labelled(*[0] * 30, *[1] * 10, *[2] * 10)
    for n in (10, 25, 40):
        counts = torch.bincount(split.take(n).targets, minlength=3)
        expected = torch.tensor([0.6, 0.2, 0.2]) * n
        assert ((counts - expected).abs() <= 1).all()


def test_every_take_is_a_prefix_of_the_next_and_the_last_holds_all():
    split = labelled(2, 0, 0, 1, 2, 2, 0)
    taken = [numbers(split.take(n)) for n in range(1, 8)]
    assert all(longer[:-1] == shorter for shorter, longer in zip(taken, taken[1:], strict=False))
    assert sorted(taken[-1]) == list(range(7))


@pytest.mark.parametrize("n", [0, -1, 4])
def test_take_refuses_what_it_does_not_have(n):
    with pytest.raises(ArgumentError, match=r"`n` must be in 1\.\.3"):
        labelled(0, 1, 2).take(n)


def test_digest_depends_on_values_shape_dtype_and_targets_only():
    images, targets = torch.arange(8, dtype=torch.uint8).view(2, 1, 2, 2), torch.tensor([0, 1])
    digest = Split(images, targets).digest
    assert digest == Split(images.clone(), targets.clone()).digest
    strided = images.clone(memory_format=torch.contiguous_format).permute(0, 1, 3, 2)
    assert digest == Split(strided.contiguous().permute(0, 1, 3, 2), targets).digest
    others = [
        Split(images + 1, targets),
        Split(images.view(2, 1, 1, 4), targets),
        Split(images.float(), targets),
        Split(images, targets.flip(0)),
    ]
    assert digest not in {split.digest for split in others}


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.zeros(2, 1, dtype=torch.complex64), torch.zeros(2), "`inputs` must be dense real"),
        (np.array(["a", "b"]), torch.zeros(2), "`inputs` must be numbers, got an array of <U1"),
        ("ab", torch.zeros(2), "`inputs` must be a tensor or a NumPy array, got str"),
        (torch.zeros(2), torch.zeros(2), r"`inputs` must be samples of shape \(N, ...\)"),
        (torch.zeros(2, 1), 1.0, "`targets` must be a tensor or a NumPy array, got float"),
        (torch.zeros(2, 1), torch.tensor(2), r"`targets` must be of shape \(2,\)"),
        (None, torch.zeros(2), "must be given"),
        ((torch.zeros(2, 1), torch.zeros(3)), torch.zeros(2), r"each hold N samples.*\(3,\)"),
        ((torch.zeros(2, 1), torch.tensor(1.0)), torch.zeros(2), "each hold N samples"),
        ({"x": torch.zeros(2, 1), "y": "b"}, torch.zeros(2), r"`inputs\['y'\]` must be a tensor"),
        ((), torch.zeros(2), "each hold N samples"),
        ((torch.zeros(0, 1), torch.zeros(0)), torch.zeros(0), "hold a sample"),
        (torch.zeros(2, 1), torch.zeros(3), "`targets`"),
        (torch.zeros(0, 1), torch.zeros(0), "hold a sample"),
    ],
)
def test_split_checks_its_tensors(inputs, targets, message):
    with pytest.raises(ArgumentError, match=message):
        Split(inputs, targets)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("uint8", torch.uint8),
        ("bool", torch.bool),
        ("int8", torch.int64),
        ("uint16", torch.int64),
        (">i4", torch.int64),
        ("float16", torch.float32),
        ("float64", torch.float32),
        (">f4", torch.float32),
    ],
)
def test_arrays_become_tensors_of_few_dtypes(given, kept):
    array = np.array([[0, 1], [1, 0], [1, 1]]).astype(given)
    split = Split(array, array[:, 0])
    assert split.stored.dtype == kept
    assert split.stored.tolist() == array.tolist()
    assert split.targets.dtype == (torch.float32 if kept == torch.float32 else torch.int64)
    array.flags.writeable = False
    assert Split(array[::-1], array[:, 0]).stored.tolist() == array[::-1].tolist()
    if not given.startswith(">") and given != "uint16":
        tensor = torch.from_numpy(array.copy())
        assert Split(tensor, tensor[:, 0]).digest == split.digest


def several(n=6):
    words = torch.arange(3 * n).view(n, 3)
    mask, targets = torch.arange(n) % 2 == 0, torch.arange(n) % 3
    return words, mask, targets


@pytest.mark.parametrize("kind", ["tuple", "list", "mapping"])
def test_several_inputs_go_together(kind):
    words, mask, targets = several()
    given = {"tuple": (words, mask), "list": [words, mask], "mapping": {"w": words, "m": mask}}
    split = Split(inputs=given[kind], targets=targets)
    assert len(split) == 6

    def parts(inputs):
        assert isinstance(inputs, dict if kind == "mapping" else tuple)
        return [x.tolist() for x in (inputs.values() if kind == "mapping" else inputs)]

    batches = list(split.batches(4))
    assert parts(batches[0][0]) == [words[:4].tolist(), mask[:4].tolist()]
    assert parts(batches[1][0]) == [words[4:].tolist(), mask[4:].tolist()]
    taken = split.take(4)  # one of each class in turn
    assert taken.targets.tolist() == [0, 1, 2, 0]
    assert parts(taken.stored) == [words[:4].tolist(), mask[:4].tolist()]
    data = Dataset("d", "d", split, split, split, ("a", "b", "c"))
    other = Split(words[:, :2], targets)
    with pytest.raises(DatasetError, match="samples of test are torch.int64"):
        Dataset("d", "d", data.train, data.validation, other, data.classes)
    with pytest.raises(DatasetError, match="2 inputs, not one"):
        _ = split.inputs_uint8


def test_the_digest_covers_all_inputs_and_their_names():
    words, mask, targets = several()
    digests = {
        Split(words, targets).digest,
        Split((words, mask), targets).digest,
        Split((words, ~mask), targets).digest,
        Split((mask, words), targets).digest,
        Split({"w": words, "m": mask}, targets).digest,
        Split({"w": words, "n": mask}, targets).digest,
    }
    assert len(digests) == 6
    turned = Split({"m": mask, "w": words}, targets).digest
    assert turned == Split({"w": words, "m": mask}, targets).digest


def test_only_images_among_several_inputs_are_divided():
    images = torch.full((2, 1, 1, 1), 255, dtype=torch.uint8)
    split = Split((images, torch.tensor([7, 8])), torch.zeros(2, 1))
    ((found, numbers), _), *_ = split.batches(2)
    assert found.flatten().tolist() == [1.0, 1.0]
    assert numbers.tolist() == [7, 8]


def test_masks_as_targets_keep_their_order_and_need_no_classes():
    masks = torch.zeros(5, 4, 4, dtype=torch.uint8)
    split = Split(torch.arange(5.0).view(5, 1), masks)
    assert split.targets.dtype == torch.int64
    assert numbers(split.take(3)) == [0, 1, 2]
    Dataset("d", "d", split, split, split, ())
    classes = Split(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(DatasetError, match="`classes` must name"):
        Dataset("d", "d", classes, classes, classes, ())


def test_the_old_name_of_inputs_works_with_a_warning():
    with pytest.warns(FutureWarning, match="`stored`"):
        split = Split(stored=torch.zeros(2, 1), targets=torch.zeros(2))
    assert len(split) == 2


def test_the_digest_of_one_input_is_that_of_earlier_versions():
    digest = "b85e733bb9f2e74fbbb3e31d880c1a40e1ebf759dc50670291bffd80aceadbc5"
    samples = torch.arange(8, dtype=torch.uint8).view(2, 4)
    assert Split(samples, torch.tensor([0, 1])).digest == digest


@pytest.mark.parametrize(
    ("test_split", "message"),
    [
        (Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([0])), "samples of test"),
        (Split(torch.zeros(1, 1, 1, 1), torch.tensor([0])), "samples of test"),
        (labelled(0, 2), r"labels of test must be in 0\.\.1, got 2"),
        (labelled(0, -1), r"labels of test must be in 0\.\.1, got -1"),
    ],
)
def test_dataset_checks_that_splits_fit(test_split, message):
    with pytest.raises(DatasetError, match=message):
        Dataset("d", "d:path", labelled(0, 1), labelled(1), test_split, ("a", "b"))


def test_hold_out_takes_every_tenth():
    split = labelled(*[0] * 25)
    train, validation = hold_out(split.stored, split.targets, source="s")
    assert numbers(validation) == [9, 19]
    assert numbers(train) == [i for i in range(25) if i not in (9, 19)]


def test_hold_out_needs_ten_samples():
    split = labelled(*[0] * 9)
    with pytest.raises(DatasetError, match="some/path: .* got 9"):
        hold_out(split.stored, split.targets, source="some/path")


def test_split_three_ways_is_stratified_and_loses_nothing():
    split = labelled(*[1, 0] * 50)
    parts = split_three_ways(split.stored, split.targets, source="s")
    assert [len(part) for part in parts] == [60, 20, 20]
    assert [int(part.targets.sum()) for part in parts] == [30, 10, 10]
    assert sorted(sum(map(numbers, parts), [])) == list(range(100))
    assert all(numbers(part) == sorted(numbers(part)) for part in parts)
    assert numbers(parts[1])[:2] == [6, 7]  # the fourth sample of each class


def test_split_three_ways_needs_five_samples():
    split = labelled(0, 0, 0, 0)
    with pytest.raises(DatasetError, match="some/path: .* got 4"):
        split_three_ways(split.stored, split.targets, source="some/path")
