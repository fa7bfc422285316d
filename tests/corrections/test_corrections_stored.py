"""Corrections on disk: what decides them, and files that cannot be trusted."""

import json
import logging
import multiprocessing
import os
from dataclasses import replace

import pytest
import torch
from correction_cases import calibrated, make_conv, make_linear, make_multiplier

from axopt.corrections import ALL, Correction, LayerCorrector, cache_folder, stored
from axopt.layers import Accumulator, QuantParams

INFINITE = float("inf")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AXOPT_CACHE", str(tmp_path))
    return tmp_path / "corrections"


@pytest.fixture
def computed(monkeypatch):
    """Numbers of the multipliers whose corrections are computed, not read."""
    found = []
    choose = LayerCorrector._choose

    def counted(self, multiplier, *args):
        found.append(multiplier.name)
        return choose(self, multiplier, *args)

    monkeypatch.setattr(LayerCorrector, "_choose", counted)
    return found


def best(layer, multiplier, **options):
    return LayerCorrector(layer).best(multiplier, swap=False, **options)


def bits(value):
    """All of a correction, to the last bit."""
    if isinstance(value, torch.Tensor):
        return (value.dtype, tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, Correction):
        return [bits(v) for v in (value.swap, value.error_pct, value.raw_error_pct,
                                  value.rejected, value.quantisation)]  # fmt: skip
    if isinstance(value, QuantParams):
        fields = (value.scale, value.zero_point, value.stride, value.code_of_level)
        return [bits(v) for v in fields]
    if hasattr(value, "activation"):
        fields = (value.activation, value.weights, value.gain, value.shift, value.corrections)
        return [bits(v) for v in fields]
    return value


@pytest.mark.parametrize("name", ["mul8s_1KTY", "mul8s_1L1G", "mul8u_2HH", "mul8s_1KV8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_what_is_read_equals_what_was_computed(name, per_channel, folder, computed, library):
    multiplier = library[name]

    def layer():
        return make_conv(multiplier, {"padding": 1}, per_channel=per_channel)[0]

    first, again = best(layer(), multiplier), best(layer(), multiplier)
    assert computed == [name]
    assert bits(first) == bits(again)
    assert len(list(folder.iterdir())) == 1


def test_formats_that_are_not_corrected_stay_the_same_objects(folder, library):
    multiplier = library["mul8s_1KV8"]
    layer, _ = make_conv(multiplier)
    nothing = replace(ALL, affine=False, weight_codes=False, activation_codes=False)
    for _ in range(2):
        found = best(layer, multiplier, allowed=nothing)
        assert found.quantisation.activation is layer.quantisation(True).activation
        assert found.quantisation.weights is layer.quantisation(True).weights


def test_multipliers_of_one_layer_share_formats_that_are_read(folder, library):
    def activation(corrector, name):
        return corrector.best(library[name], swap=False).quantisation.activation

    layer, _ = make_conv(library["mul8s_1KV8"])
    for _ in range(2):
        corrector = LayerCorrector(layer)
        assert activation(corrector, "mul8s_1KV8") is activation(corrector, "mul8s_1KVA")


def with_weight(layer):
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3


def with_bias(layer):
    with torch.no_grad():
        layer.bias[0] += 1e-3


def with_calibration(layer):
    calibrated(layer, torch.rand(3, 12))


def with_bounds(layer):
    layer.bounds = (0.0, INFINITE)


def with_accumulator(layer):
    layer.accumulator = Accumulator(20)


def with_fixed_formats(layer):
    raw = layer.quantisation(True)
    layer.fix_quantisation(True, replace(raw, gain=torch.full((5,), 1.5)))


CHANGES = (
    with_weight, with_bias, with_calibration, with_bounds, with_accumulator, with_fixed_formats,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_layer_is_another_one(change, folder, computed, library):
    multiplier = library["mul8s_1L2H"]
    layer, _ = make_linear(multiplier)
    best(layer, multiplier)
    change(layer)
    best(layer, multiplier)
    best(layer, multiplier)
    assert computed == ["mul8s_1L2H"] * 2


@pytest.mark.parametrize("option", [{"per_channel": False}, {"calibrator": "minmax"}])
def test_options_of_the_layer_count(option, folder, computed, library):
    multiplier = library["mul8s_1L2H"]
    for options in ({}, option, {}, option):
        best(make_linear(multiplier, **options)[0], multiplier)
    assert len(computed) == 2


def test_allowed_corrections_order_and_table_count(folder, computed, library):
    multiplier = library["mul8s_1KTY"]
    layer, _ = make_linear(multiplier)
    changed = multiplier.table.copy()
    changed[3, 5] += 1
    other = make_multiplier(changed, True)
    for _ in range(2):
        best(layer, multiplier)
        best(layer, other)
        best(layer, multiplier, allowed=replace(ALL, gain=False))
        for swap in (False, True):
            fixed = replace(ALL, order=False)
            LayerCorrector(layer).best(multiplier, swap=swap, allowed=fixed)
    assert len(computed) == 5


def test_a_choice_by_power_is_not_stored(folder, computed, library):
    """It depends on the gate list, which may change while the table stays."""
    multiplier = library["mul8s_1KTY"]
    layer, _ = make_linear(multiplier)
    for _ in range(2):
        best(layer, multiplier, allowed=replace(ALL, order="power"))
    assert len(computed) == 2
    assert not folder.exists()


def of_another_layer(path, content):
    path.write_text(json.dumps({**content, "layer": "0" * 64}))


def of_another_version(path, content):
    path.write_text(json.dumps({**content, "version": stored.VERSION + 1}))


def cut(path, content):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path, content):
    path.write_bytes(b"")


def nested(path, content):
    path.write_text("[" * 100_000)


def too_large(path, content):
    with path.open("r+b") as file:
        file.truncate(stored.MAX_FILE_BYTES + 1)


def fifo(path, content):
    path.unlink()
    os.mkfifo(path)


def altered(path, content):
    """Without its checksum being corrected."""
    [entry] = content["entries"].values()
    entry["error_pct"] *= 0.5
    path.write_text(json.dumps(content))


def forged(**changes):
    def forge(path, content):
        [(key, entry)] = content["entries"].items()
        entry = {**entry, **changes}
        content["entries"] = {key: {**entry, "sha256": stored._checksum(entry)}}
        path.write_text(json.dumps(content))

    return forge


DAMAGES = {
    "other layer": of_another_layer,
    "other version": of_another_version,
    "cut": cut,
    "empty": empty,
    "nested": nested,
    "too large": too_large,
    "fifo": fifo,
    "altered": altered,
    "gain of another size": forged(gain="AAAAAAAA"),
    "gain no base64": forged(gain="?"),
    "error no number": forged(error_pct="1"),
    "error infinite": forged(error_pct=INFINITE),
    "swap no truth value": forged(swap=1),
    "formats missing": forged(activation={}),
    "formats wrong": forged(weights={"scale": "AACAPw==", "zero_point": 900, "stride": 1,
                                     "codes": None}),
    "names no texts": forged(corrections=[1]),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_and_foreign_files_are_ignored_and_replaced(
    damage, folder, computed, library, caplog
):
    multiplier = library["mul8s_1L2H"]
    layer, _ = make_linear(multiplier)
    first = best(layer, multiplier)
    [path] = folder.iterdir()
    damage(path, json.loads(path.read_text()))
    with caplog.at_level(logging.WARNING):
        again = best(layer, multiplier)
    assert len(computed) == 2
    assert path.name in caplog.text
    assert bits(again) == bits(first)
    assert bits(best(layer, multiplier)) == bits(first)
    assert len(computed) == 2


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path, monkeypatch, library, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("AXOPT_CACHE", str(blocked))
    layer, _ = make_linear(library["mul8s_1L2H"])
    with caplog.at_level(logging.WARNING):
        for name in ("mul8s_1L2H", "mul8s_1KTY"):
            assert best(layer, library[name]).error_pct > 0
    assert caplog.text.count("are not stored") == 1


@pytest.mark.parametrize("value", ["", "off"])
def test_the_cache_can_be_switched_off(value, tmp_path, monkeypatch, computed, library):
    monkeypatch.setenv("AXOPT_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    multiplier = library["mul8s_1L2H"]
    layer, _ = make_linear(multiplier)
    for _ in range(2):
        best(layer, multiplier)
    assert len(computed) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("AXOPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "axopt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/some")
    assert str(cache_folder()) == "/home/some/.cache/axopt"
    monkeypatch.setenv("AXOPT_CACHE", "/x")
    assert str(cache_folder()) == "/x"


def test_old_files_are_removed_from_a_large_folder(folder, monkeypatch, library):
    folder.mkdir(parents=True)
    for number in range(4):
        path = folder / f"{number}.json"
        path.write_bytes(bytes(1000))
        os.utime(path, (number, number))
    other = folder / "notes.txt"
    other.write_bytes(bytes(1000))
    monkeypatch.setattr(stored, "MAX_FOLDER_BYTES", 3500)
    multiplier = library["mul8s_1L2H"]
    best(make_linear(multiplier)[0], multiplier)
    kept = {path.name for path in folder.iterdir()}
    assert kept >= {"3.json", "notes.txt"}
    assert not kept & {"0.json", "1.json", "2.json"}
    assert len(kept) == 3


def _correct_some(names, barrier):
    from axopt.multipliers import load_library

    library = load_library()
    layer, _ = make_linear(library["mul8s_1L2H"])
    barrier.wait()
    for name in names:
        best(layer, library[name])


def test_two_processes_write_at_once(folder, computed, library):
    """The file is sound at the end. Entries may be lost, and are computed again."""
    names = ["mul8s_1L2H", "mul8s_1KTY", "mul8s_1KV8", "mul8s_1L1G"]
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    torch.set_num_threads(1)
    workers = [
        context.Process(target=_correct_some, args=(order, barrier))
        for order in (names, names[::-1])
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    [path] = folder.iterdir()
    entries = json.loads(path.read_text())["entries"]
    assert all(stored._is_sound(entry) for entry in entries.values())
    layer, _ = make_linear(library["mul8s_1L2H"])
    for name in names:
        best(layer, library[name])
    assert len(computed) == len(names) - len(entries) < len(names)
