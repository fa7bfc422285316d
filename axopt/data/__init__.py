"""Readers that turn a source of samples into three splits: train, validation and test."""

from axopt.data.augmentation import AUGMENTATIONS, Augmentation
from axopt.data.dataset import Dataset, Split, to_float
from axopt.data.download import download_cifar10
from axopt.data.registry import READERS, list_readers, load_data, register_reader

__all__ = [
    "AUGMENTATIONS",
    "READERS",
    "Augmentation",
    "Dataset",
    "Split",
    "download_cifar10",
    "list_readers",
    "load_data",
    "register_reader",
    "to_float",
]
