"""A step of an LSTM between its products: gates, cell and hidden state in one native pass."""

import torch
from torch import Tensor

import axopt._lut_gemm as _lut_gemm
from axopt.kernels.dispatch import active_index


def lstm_gates(
    inputs: Tensor, hidden: Tensor, cell: Tensor, gates: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the next state of an LSTM from the products of one time step.

    The four gates of a row lie side by side in the order i, f, g, o. The hyperbolic tangent is off
    by at most 2e-7. Every instruction set and every number of threads gives the same bits.

    Args:
        inputs: Products with the input, biases added, ``(batch, 4 * features)`` float32 on the
            CPU, any strides.
        hidden: Products with the hidden state, shaped like ``inputs``.
        cell: Cell state, ``(batch, features)`` float32 on the CPU.
        gates: Receives the values of the gates, ``(batch, 4 * features)`` float32, contiguous;
            None if they are not needed.

    Returns:
        The next hidden state and the next cell state, ``(batch, features)`` float32 each.

    Raises:
        IsaError: If ``AXOPT_ISA`` names an unknown or unsupported instruction set.
        ValueError: If the shapes do not fit each other.

    Example:
        >>> import torch
        >>> from axopt.kernels import lstm_gates
        >>> hidden, cell = lstm_gates(torch.zeros(1, 4), torch.zeros(1, 4), torch.ones(1, 1))
        >>> cell  # sigmoid(0) * tanh(0) + sigmoid(0) * 1
        tensor([[0.5000]])
    """
    cell = cell.contiguous()
    next_hidden, next_cell = torch.empty_like(cell), torch.empty_like(cell)
    if inputs.stride(1) != 1:
        inputs = inputs.contiguous()
    _lut_gemm.lstm_gates(
        active_index(),
        torch.get_num_threads(),
        inputs.detach().numpy(),
        hidden.detach().contiguous().numpy(),
        cell.detach().numpy(),
        next_hidden.numpy(),
        next_cell.numpy(),
        None if gates is None else gates.numpy(),
    )
    return next_hidden, next_cell
