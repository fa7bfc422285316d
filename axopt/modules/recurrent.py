"""LSTM, GRU and RNN, networks and cells, built from linear layers.

They are the same functions as torch's modules, with the same arguments and results. Their products
are in linear layers that are named after torch's parameters. ``ih_l0`` multiplies the inputs of
the first layer with the weights of all gates, in one call for all time steps. ``hh_l0`` multiplies
its hidden state, in one call for each time step. ``hr_l0`` is the projection of an LSTM with
``proj_size``. ``ih_l0_reverse`` belongs to the backward direction. Cells have ``ih`` and ``hh``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from axopt.errors import ArgumentError
from axopt.modules.gates import State, Step, gru_step, lstm_step, relu_step, tanh_step
from axopt.modules.hooks import has_forward_hooks
from axopt.modules.linear import linear_of

Hx = Tensor | tuple[Tensor, Tensor]
"""States in torch's form: two tensors for an LSTM, one tensor for the others."""

_STEPS: dict[str, Step] = {
    "LSTM": lstm_step,
    "GRU": gru_step,
    "RNN_TANH": tanh_step,
    "RNN_RELU": relu_step,
}


def for_all_steps(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function for a layer that is called once a time step.

    A layer may have a method ``resolved`` that does its look-ups once and returns a function of
    the input, or None. Layers without it, with hooks or with gradients are called as modules.
    """
    resolved = getattr(layer, "resolved", None)
    if resolved is None or torch.is_grad_enabled() or has_forward_hooks(layer):
        return layer
    return cast(Callable[[Tensor], Tensor], resolved() or layer)


class Recurrent(nn.Module):
    """An ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` built from linear layers.

    Args:
        module: The module to replace. Its parameters are shared, not copied.

    Attributes:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, proj_size: As in
            torch's module.

    Example:
        >>> original = nn.GRU(3, 4, batch_first=True)
        >>> x = torch.rand(2, 5, 3)
        >>> torch.allclose(Recurrent(original)(x)[0], original(x)[0], atol=1e-6)
        True
    """

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.mode = module.mode
        self.input_size = module.input_size
        self.hidden_size = module.hidden_size
        self.num_layers = module.num_layers
        self.batch_first = module.batch_first
        self.dropout = module.dropout
        self.bidirectional = module.bidirectional
        self.proj_size = module.proj_size
        self._step = _STEPS[module.mode]
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                self._add_layers(module, suffix)
        self.train(module.training)

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        """Return the parameter-name suffixes of a layer, one per direction."""
        forward = f"l{layer}"
        return (forward, f"{forward}_reverse") if self.bidirectional else (forward,)

    def _add_layers(self, module: nn.RNNBase, suffix: str) -> None:
        for part in ("ih", "hh", "hr"):
            weight = getattr(module, f"weight_{part}_{suffix}", None)
            if weight is not None:
                bias = getattr(module, f"bias_{part}_{suffix}", None)
                self.add_module(f"{part}_{suffix}", linear_of(weight, bias))

    def flatten_parameters(self) -> None:
        """Do nothing. Models call it for cuDNN."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Hx | None = None
    ) -> tuple[Tensor | PackedSequence, Hx]:
        """Compute all time steps.

        Args:
            input: ``(time, batch, input_size)``, ``(batch, time, input_size)`` if batch_first,
                ``(time, input_size)``, or packed.
            hx: Initial hidden state, and cell state of an LSTM, each
                ``(num_layers * directions, batch, features)``, without ``batch`` if ``input``
                has none; zeros by default.

        Returns:
            The hidden states of the last layer, shaped as ``input``, and the last states.

        Raises:
            ArgumentError: If ``input`` or ``hx`` has another shape.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            raise ArgumentError(f"`input` must have 2 or 3 dimensions, got {input.ndim}.")
        batched = input.ndim == 3
        x = input if batched else input.unsqueeze(0 if self.batch_first else 1)
        initial = () if hx is None else self._states(hx)
        if not batched:
            initial = tuple(state.unsqueeze(1) for state in initial)
        batch, time = (0, 1) if self.batch_first else (1, 0)
        states = self._initial(x, x.shape[batch], initial)
        if x.shape[time] == 0:
            raise ArgumentError("`input` must have at least one time step, got none.")
        x, states = self._run(
            x, states, lambda y: y.unbind(time), lambda outputs: torch.stack(outputs, time)
        )
        if not batched:
            x, states = x.squeeze(batch), tuple(state.squeeze(1) for state in states)
        return x, self._hx(states)

    def _forward_packed(self, packed: PackedSequence, hx: Hx | None) -> tuple[PackedSequence, Hx]:
        sizes = packed.batch_sizes.tolist()
        initial = () if hx is None else self._states(hx)
        initial = _permuted(initial, packed.sorted_indices)
        states = self._initial(packed.data, sizes[0], initial)
        x, states = self._run(packed.data, states, lambda y: torch.split(y, sizes), torch.cat)
        return packed._replace(data=x), self._hx(_permuted(states, packed.unsorted_indices))

    def _run(
        self,
        x: Tensor,
        initial: State,
        split: Callable[[Tensor], Sequence[Tensor]],
        join: Callable[[list[Tensor]], Tensor],
    ) -> tuple[Tensor, State]:
        """Run all layers, one after the other.

        Args:
            x: Input of the first layer.
            initial: States of all layers and directions.
            split: Splits a tensor of all time steps into one tensor per step, batch first.
            join: Reverses ``split``.
        """
        finals: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                before = tuple(state[len(finals)] for state in initial)
                products = split(self._linear("ih", suffix)(x))
                steps, final = self._direction(products, before, suffix)
                outputs.append(join(steps))
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return x, tuple(torch.stack(states) for states in zip(*finals, strict=True))

    def _direction(
        self, steps: Sequence[Tensor], initial: State, suffix: str
    ) -> tuple[list[Tensor], State]:
        """Run one direction of one layer.

        Args:
            steps: Products with the input for each time step, ``(sequences, gates)``; later steps
                have fewer sequences if these differ in length.
            initial: Initial states, ``(batch, features)`` each.
            suffix: Parameter-name suffix of the direction.

        Returns:
            Hidden states by time, and the state of each sequence at its end.
        """
        reverse = suffix.endswith("_reverse")
        hh = for_all_steps(self._linear("hh", suffix))
        hr = for_all_steps(self._linear("hr", suffix)) if self.proj_size else None
        outputs: list[Tensor] = []
        ended: list[State] = []
        state = tuple(value[: len(steps[-1])] for value in initial) if reverse else initial
        for inputs in reversed(steps) if reverse else steps:
            rows, before = len(inputs), len(state[0])
            if rows > before:  # sorted by falling length: in reverse, longer ones begin first
                joining = (value[before:rows] for value in initial)
                state = tuple(map(torch.cat, zip(state, joining, strict=True)))
            elif rows < before:
                ended.append(tuple(value[rows:] for value in state))
                state = tuple(value[:rows] for value in state)
            state = self._step(inputs, hh(state[0]), state)
            if hr is not None:
                state = (hr(state[0]), *state[1:])
            outputs.append(state[0])
        if ended:
            state = tuple(map(torch.cat, zip(state, *reversed(ended), strict=True)))
        return outputs[::-1] if reverse else outputs, state

    def _linear(self, part: str, suffix: str) -> nn.Module:
        return cast(nn.Module, getattr(self, f"{part}_{suffix}"))

    def _sizes(self) -> tuple[int, ...]:
        """Return the number of features of each tensor of a state."""
        hidden = self.proj_size or self.hidden_size
        return (hidden, self.hidden_size) if self.mode == "LSTM" else (hidden,)

    def _initial(self, x: Tensor, batch: int, given: State) -> State:
        """Return the given states after a check, or zeros."""
        layers = self.num_layers * (1 + self.bidirectional)
        shapes = [(layers, batch, size) for size in self._sizes()]
        if not given:
            return tuple(x.new_zeros(shape) for shape in shapes)
        if [tuple(state.shape) for state in given] != shapes:
            raise ArgumentError(
                f"`hx` must have the shapes {shapes}, got {[tuple(s.shape) for s in given]}."
            )
        return given

    def _states(self, hx: Hx) -> State:
        return tuple(hx) if self.mode == "LSTM" else (cast(Tensor, hx),)

    def _hx(self, states: State) -> Hx:
        return (states[0], states[1]) if self.mode == "LSTM" else states[0]


class RecurrentCell(nn.Module):
    """An ``nn.LSTMCell``, ``nn.GRUCell`` or ``nn.RNNCell`` built from two linear layers.

    Args:
        module: The module to replace. Its parameters are shared, not copied.

    Example:
        >>> original = nn.RNNCell(3, 4)
        >>> x = torch.rand(2, 3)
        >>> torch.allclose(RecurrentCell(original)(x), original(x), atol=1e-6)
        True
    """

    def __init__(self, module: nn.RNNCellBase) -> None:
        super().__init__()
        self.mode = _mode_of(module)
        self.input_size = module.input_size
        self.hidden_size = module.hidden_size
        self._step = _STEPS[self.mode]
        self.ih = linear_of(module.weight_ih, module.bias_ih)
        self.hh = linear_of(module.weight_hh, module.bias_hh)
        self.train(module.training)

    def forward(self, input: Tensor, hx: Hx | None = None) -> Hx:
        """Compute one time step.

        Args:
            input: ``(batch, input_size)`` or ``(input_size,)``.
            hx: Hidden state, and cell state of an LSTM, each ``(batch, hidden_size)`` or
                ``(hidden_size,)``; zeros by default.

        Returns:
            The next states, in the form of ``hx``.

        Raises:
            ArgumentError: If ``input`` or ``hx`` has another shape.
        """
        if input.ndim not in (1, 2):
            raise ArgumentError(f"`input` must have 1 or 2 dimensions, got {input.ndim}.")
        shape = (*input.shape[:-1], self.hidden_size)
        pair = self.mode == "LSTM"
        if hx is None:
            state: State = (input.new_zeros(shape),) * (1 + pair)
        else:
            state = tuple(hx) if pair else (cast(Tensor, hx),)
        if any(value.shape != shape for value in state):
            raise ArgumentError(
                f"`hx` must have the shape {shape}, got {[tuple(s.shape) for s in state]}."
            )
        x = input.view(-1, self.input_size)
        state = tuple(value.view(-1, self.hidden_size) for value in state)
        state = self._step(self.ih(x), self.hh(state[0]), state)
        state = tuple(value.view(shape) for value in state)
        return (state[0], state[1]) if pair else state[0]


def _mode_of(module: nn.RNNCellBase) -> str:
    if isinstance(module, nn.RNNCell):
        return f"RNN_{module.nonlinearity.upper()}"
    return "LSTM" if isinstance(module, nn.LSTMCell) else "GRU"


def _permuted(states: State, order: Tensor | None) -> State:
    return states if order is None else tuple(s.index_select(1, order) for s in states)
