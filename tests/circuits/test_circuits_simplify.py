"""Simplified gate lists: the same function in fewer gates, and the adders among them."""

import numpy as np
import pytest

from axopt.circuits import Gate, Netlist, NetlistBuilder, generate, load_netlists
from axopt.circuits.adders import find_adders
from axopt.circuits.netlist import pack, unpack
from axopt.circuits.simplify import FALSE, TRUE, Simplified, simplify
from axopt.errors import CircuitError

NAMES = ["v1/mul8x2u_106", "v1/mul8x3u_0TM", "v1/mul7u_069", "v1/mul8s_1L1G", "v2022/mul8u_1SX"]


def outputs(simple: Simplified, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Evaluate gate by gate, as the attributes are documented."""
    values = [np.zeros_like(inputs[0]), *inputs]

    def value(literal):
        return ~values[literal >> 1] if literal & 1 else values[literal >> 1]

    for gate in simple.gates:
        x, y = value(gate.x), value(gate.y)
        result = x ^ y if gate.xor else x & y
        values.append(~result if gate.inverted else result)
    return [value(literal) for literal in simple.outputs]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_stay_the_same_for_all_operands(name):
    netlist = load_netlists()[name]
    pairs = np.arange(2 ** (netlist.bits_a + netlist.bits_w))
    inputs = [pack((pairs >> bit) & 1) for bit in range(netlist.bits_a + netlist.bits_w)]
    expected = [netlist.signals(inputs)[signal] for signal in netlist.outputs]
    for got, words in zip(outputs(simplify(netlist), inputs), expected, strict=True):
        np.testing.assert_array_equal(unpack(got, len(pairs)), unpack(words, len(pairs)))


@pytest.mark.parametrize("name", NAMES)
def test_no_signal_equals_another_or_its_complement(name):
    netlist = load_netlists()[name]
    pairs = np.arange(2 ** (netlist.bits_a + netlist.bits_w))
    inputs = [pack((pairs >> bit) & 1) for bit in range(netlist.bits_a + netlist.bits_w)]
    simple = simplify(netlist)
    every = [2 * signal for signal in range(simple.n_signals)]
    words = outputs(Simplified(simple.n_inputs, simple.gates, tuple(every)), inputs)
    functions = {min(w.tobytes(), (~w).tobytes()) for w in words}
    assert len(functions) == simple.n_signals


def test_an_exclusive_or_of_signals_that_never_differ_both_ways_is_a_conjunction():
    build = NetlistBuilder(2, 2, signed=False)
    (x, y), (z, _) = build.a, build.w
    both = build.and_(x, y)
    cases = {
        build.xor(both, x): False,  # both implies x
        build.xor(both, build.and_(z, build.not_(x))): False,  # never both 1
        build.xor(build.or_(x, y), build.not_(y)): False,  # never both 0
        build.xor(x, y): True,
    }
    for signal, xor in cases.items():
        assert simplify(build.netlist([signal])).gates[-1].xor is xor


def test_very_large_netlists_are_refused():
    gates = tuple(Gate("and", (2, 10)) for _ in range(20_001))
    with pytest.raises(CircuitError, match="at most 20,000 gates, got 20,001"):
        simplify(Netlist(8, 8, False, gates, (18,)))
    equal = Netlist(2, 2, False, tuple(Gate("and", (2, 4)) for _ in range(20_000)), (6,))
    assert len(simplify(equal).gates) == 1


def test_constants_need_no_gates():
    build = NetlistBuilder(2, 2, signed=False)
    x, y = build.a
    never = build.and_(build.and_(x, y), build.not_(build.or_(x, y)))
    simple = simplify(build.netlist([never, build.not_(never), x]))
    assert simple.gates == ()
    assert simple.outputs == (FALSE, TRUE, 2)


def test_loads_count_readers():
    build = NetlistBuilder(2, 2, signed=False)
    x, y = build.a
    both = build.and_(x, y)
    netlist = build.netlist([both, build.and_(both, build.w[0]), build.xor(both, build.w[1])])
    assert simplify(netlist).load.tolist() == [0, 1, 1, 1, 2, 1 + 2 + 1, 1, 1]


def test_adders_of_an_array_are_found():
    netlist = generate("exact", bits_a=2, bits_w=8, reduction="array")
    assert (netlist.counts["fas"], netlist.counts["has"]) == (6, 2)
    adders = find_adders(simplify(netlist))
    assert (adders.full, adders.shared, adders.half) == (6, 0, 2)
    assert len(adders.other) == 16  # partial products


def test_a_full_adder_whose_inside_is_read_is_shared():
    build = NetlistBuilder(2, 2, signed=False)
    x, y, z = *build.a, build.w[0]
    either = build.xor(x, y)
    carry = build.or_(build.and_(x, y), build.and_(either, z))
    total = build.xor(either, z)
    for outputs_, shared in (([total, carry], 0), ([total, carry, either], 1)):
        adders = find_adders(simplify(build.netlist(outputs_)))
        assert (adders.full, adders.shared, adders.half) == (1 - shared, shared, 0)


def test_gates_are_in_at_most_one_adder():
    for name in NAMES:
        simple = simplify(load_netlists()[name])
        adders = find_adders(simple)
        inside = 5 * (adders.full + adders.shared) + 2 * adders.half
        assert inside + len(adders.other) == len(simple.gates), name
