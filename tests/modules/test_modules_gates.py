"""The native step of an LSTM against its definition, and its gradients against autograd's."""

import subprocess
import sys

import pytest
import torch

from axopt.kernels import available, force_isa, lstm_gates
from axopt.modules.gates import lstm_step

# What is added and squashed is rounded a few times; results are at most 1, cells 1.3 here.
TOLERANCE = 4e-7


def operands(rows, size, scale=2.0):
    generator = torch.Generator().manual_seed(rows + 100 * size)
    shapes = (rows, 4 * size), (rows, 4 * size), (rows, size)
    return [
        torch.randn(shape, generator=generator) * s
        for shape, s in zip(shapes, (scale, scale, 1), strict=True)
    ]


def defined(inputs, hidden, cell):
    """The step as a text book has it, in the precision of its operands."""
    into, forget, update, out = (inputs + hidden).chunk(4, 1)
    cell = into.sigmoid() * update.tanh() + forget.sigmoid() * cell
    return out.sigmoid() * cell.tanh(), cell


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("size", [1, 7, 64, 256, 600])
def test_a_step_is_the_defined_one(rows, size):
    inputs, hidden, cell = operands(rows, size)
    found = lstm_step(inputs, hidden, (hidden, cell))
    expected = defined(inputs.double(), hidden.double(), cell.double())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().max() < TOLERANCE


def test_extreme_products_saturate_and_nan_stays():
    inputs = torch.tensor([[-1e30, 1e30, -200.0, 200.0], [torch.inf, -torch.inf, 90.0, -90.0]])
    hidden, cell = torch.zeros(2, 4), torch.tensor([[0.5], [-0.5]])
    found, cells = lstm_step(inputs, hidden, (cell, cell))
    assert cells.tolist() == [[0.5], [1.0]]
    torch.testing.assert_close(found, torch.tensor([[0.5], [0.0]]).tanh())
    hidden[1, 2] = torch.nan
    found, cells = lstm_step(inputs, hidden, (cell, cell))
    assert torch.isnan(found).tolist() == torch.isnan(cells).tolist() == [[False], [True]]


def test_strides_of_operands_change_no_bit():
    inputs, hidden, cell = operands(5, 8)
    expected = lstm_step(inputs, hidden, (hidden, cell))
    step = torch.stack((hidden, inputs), 1)[:, 1]
    across = [x.T.contiguous().T for x in (inputs, hidden, cell)]
    for a, b, c in ((step, hidden, cell), across):
        assert all(map(torch.equal, lstm_step(a, b, (b, c)), expected))


def test_instruction_set_threads_and_kept_gates_change_no_bit():
    inputs, hidden, cell = operands(300, 100)
    results, before = [], torch.get_num_threads()
    for isa in available():
        for threads, gates in ((1, None), (4, None), (3, torch.empty_like(hidden))):
            torch.set_num_threads(threads)
            with force_isa(isa):
                results.append(lstm_gates(inputs, hidden, cell, gates))
    torch.set_num_threads(before)
    for found in results[1:]:
        assert all(map(torch.equal, found, results[0]))
    into, forget, update, out = gates.chunk(4, 1)
    assert torch.equal(into * update + forget * cell, results[0][1])


def test_gates_obey_the_instruction_set_that_is_asked_for(monkeypatch):
    """A native pass with a choice of its own would run here."""
    script = "import torch; from axopt.modules.gates import lstm_step as step; x = torch.zeros; "
    script += "step(x(1, 4), x(1, 4), (x(1, 1), x(1, 1)))"
    monkeypatch.setenv("AXOPT_ISA", "nonsense")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "IsaError: `AXOPT_ISA`: instruction set 'nonsense' is unknown" in result.stderr


@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_gradients_are_autograds(used):
    operands_ = [x.requires_grad_() for x in operands(4, 9, scale=0.7)]
    weights = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(1))

    def gradients(step, tensors):
        results = step(*tensors)
        loss = sum((r * w).sum() for r, w, use in zip(results, weights, used, strict=True) if use)
        return results, torch.autograd.grad(loss, tensors)

    found, grads = gradients(lambda a, b, c: lstm_step(a, b, (b, c)), operands_)
    doubles = [x.detach().double().requires_grad_() for x in operands_]
    _, expected = gradients(defined, doubles)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6)
    with torch.no_grad():
        without = lstm_step(operands_[0], operands_[1], (operands_[1], operands_[2]))
    assert all(map(torch.equal, found, without))


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [(0, (3, 7), "`inputs`"), (1, (2, 8), "`hidden`"), (3, (3, 4), "`gates`")],
)
def test_shapes_that_do_not_fit_are_refused(position, shape, message):
    shapes = [(3, 8), (3, 8), (3, 2), (3, 8)]
    shapes[position] = shape
    with pytest.raises(ValueError, match=message):
        lstm_gates(*(torch.zeros(shape) for shape in shapes))
