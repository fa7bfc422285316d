"""Read the combinational cells of a Liberty file: areas, capacitances, functions and tables.

The format is that of the "Liberty User Guide" of the Liberty Technical Advisory Board. Only what
this study needs is read; another unit or another order of a table's axes is an error.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from axopt.circuits.netlist import Words
from axopt.errors import CircuitError

EDGES = ("rise", "fall")

UNITS = {
    "time_unit": "1ns",
    "voltage_unit": "1V",
    "leakage_power_unit": "1nW",
    "capacitive_load_unit": "1,pf",
}
"""The only units that are read. Energies are then in pJ."""

AXES = {
    "variable_1": ("total_output_net_capacitance",),
    "variable_2": ("input_net_transition", "input_transition_time"),
}
"""The only axes of tables: the load in pF, then the transition time of the input in ns."""

Axes = Mapping[str, Mapping[str, str]]
"""The attributes of each template of tables by its name."""

Function = Callable[[Mapping[str, Words]], Words]
"""A cell's function: values of the input pins by name -> value of the output pin."""

_TOKEN = re.compile(
    r'/\*.*?\*/|"(?P<text>[^"]*)"|(?P<word>[^\s"(){}:;,\\]+)|(?P<mark>[(){}:;])', re.S
)
_PART = re.compile(r"\s*([A-Za-z_]\w*|[!'^*&+|()])")


@dataclass(frozen=True)
class Table:
    """Values over the load in pF (rows) and the transition time of the input in ns (columns)."""

    loads: Sequence[float]
    transitions: Sequence[float]
    values: Sequence[Sequence[float]]

    def at(self, load: float, transition: float) -> float:
        """Return the value at a point: bilinear within the table, linear beyond its edges."""
        i, u = _place(self.loads, load)
        j, v = _place(self.transitions, transition)
        low, high = self.values[i], self.values[i + 1]
        left = low[j] + u * (high[j] - low[j])
        right = low[j + 1] + u * (high[j + 1] - low[j + 1])
        return left + v * (right - left)


def _place(axis: Sequence[float], value: float) -> tuple[int, float]:
    """Return the interval of an axis and the place in it, in 0..1 within the axis."""
    i = min(max(bisect_right(axis, value) - 1, 0), len(axis) - 2)
    return i, (value - axis[i]) / (axis[i + 1] - axis[i])


@dataclass(frozen=True)
class Arc:
    """From an edge of an input pin to an edge of an output pin.

    Attributes:
        pin: The input pin.
        inputs: Edges of the input that can cause the edge of the output.
        edge: Edge of the output, "rise" or "fall".
        delay: Delay in ns.
        transition: Transition time of the output in ns.
    """

    pin: str
    inputs: tuple[str, ...]
    edge: str
    delay: Table
    transition: Table


@dataclass(frozen=True)
class Output:
    """An output pin: its function, its timing arcs and its tables of internal energy in pJ."""

    function: Function
    arcs: tuple[Arc, ...]
    energies: tuple[Table, ...]


@dataclass(frozen=True)
class Cell:
    """A combinational cell.

    Attributes:
        name: Its name.
        area: Area in um2.
        leakage_nw: Leakage power in nW.
        capacitances: Capacitance in pF by input pin.
        outputs: The output pins by name.
    """

    name: str
    area: float
    leakage_nw: float
    capacitances: Mapping[str, float]
    outputs: Mapping[str, Output]


@dataclass
class _Group:
    """A group of the file: ``name(title) { attributes and groups }``."""

    name: str
    title: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[_Group] = field(default_factory=list)

    def of(self, name: str) -> list[_Group]:
        return [group for group in self.groups if group.name == name]


@dataclass(frozen=True)
class Technology:
    """The cells of a Liberty file by name, and the supply voltage in V."""

    cells: Mapping[str, Cell]
    voltage: float


def read_liberty(file: Path) -> Technology:
    """Read a Liberty file; cells whose outputs are not functions of inputs are left out.

    Raises:
        CircuitError: If the file has other units or tables than this study can read.
        OSError: If the file cannot be read.
    """
    library = _parsed(file.read_text(encoding="utf-8"), file)
    for name, unit in UNITS.items():
        if library.attributes.get(name) != unit:
            raise CircuitError(
                f"{file}: `{name}` must be {unit}, got {library.attributes.get(name)}."
            )
    templates = library.of("lu_table_template") + library.of("power_lut_template")
    axes = {template.title: template.attributes for template in templates}
    cells = [_cell(group, axes) for group in library.of("cell")]
    return Technology(
        {cell.name: cell for cell in cells if cell is not None},
        float(library.attributes["nom_voltage"]),
    )


def _parsed(text: str, file: Path) -> _Group:
    """Return the outermost group."""
    root = _Group("", "")
    tokens = [match for match in _TOKEN.finditer(text) if match.lastgroup is not None]
    words = [match["text"] if match.lastgroup == "text" else match[0] for match in tokens]
    marks = [match[0] if match.lastgroup == "mark" else "" for match in tokens]
    open_groups, at = [root], 0
    while at < len(words):
        if marks[at] == "}":
            open_groups.pop()
            at += 1
        elif marks[at] == ";":
            at += 1
        elif marks[at + 1] == ":":
            end = marks.index(";", at)
            open_groups[-1].attributes[words[at]] = " ".join(words[at + 2 : end])
            at = end
        else:
            end = marks.index(")", at)
            name, title = words[at], ",".join(words[at + 2 : end])
            at = end + 1
            if marks[at] == "{":
                open_groups[-1].groups.append(_Group(name, title))
                open_groups.append(open_groups[-1].groups[-1])
                at += 1
            else:
                open_groups[-1].attributes[name] = title
    if len(root.groups) != 1 or root.groups[0].name != "library" or len(open_groups) != 1:
        raise CircuitError(f"{file}: a Liberty file must have one `library` group.")
    return root.groups[0]


def _cell(group: _Group, axes: Axes) -> Cell | None:
    """Return a cell, or None if it has states or no output that is a function of its inputs."""
    pins = {pin.title: pin for pin in group.of("pin")}
    kinds = {name: pin.attributes.get("direction") for name, pin in pins.items()}
    inputs = {name: pins[name] for name, kind in kinds.items() if kind == "input"}
    outputs = {name: pins[name] for name, kind in kinds.items() if kind == "output"}
    states = group.of("ff") + group.of("latch")
    three_state = any("three_state" in pin.attributes for pin in pins.values())
    if states or three_state or not outputs:
        return None
    return Cell(
        name=group.title,
        area=float(group.attributes["area"]),
        leakage_nw=float(group.attributes["cell_leakage_power"]),
        capacitances={name: float(pin.attributes["capacitance"]) for name, pin in inputs.items()},
        outputs={name: _output(pin, axes) for name, pin in outputs.items()},
    )


def _output(pin: _Group, axes: Axes) -> Output:
    """Return an output pin with its tables."""
    arcs = []
    for timing in pin.of("timing"):
        for edge in EDGES:
            other = EDGES[1 - EDGES.index(edge)]
            causes = {
                "positive_unate": (edge,),
                "negative_unate": (other,),
                "non_unate": EDGES,
            }[timing.attributes["timing_sense"]]
            delay, transition = timing.of(f"cell_{edge}")[0], timing.of(f"{edge}_transition")[0]
            related = timing.attributes["related_pin"]
            tables = _table(delay, axes), _table(transition, axes)
            arcs.append(Arc(related, causes, edge, *tables))
    energies = [
        _table(group, axes)
        for power in pin.of("internal_power")
        for edge in EDGES
        for group in power.of(f"{edge}_power")
    ]
    return Output(parse_function(pin.attributes["function"]), tuple(arcs), tuple(energies))


def _table(group: _Group, axes: Axes) -> Table:
    """Return a table, after a check of its axes."""
    for axis, allowed in AXES.items():
        if axes[group.title].get(axis) not in allowed:
            raise CircuitError(f"`{axis}` of {group.title} must be one of {allowed}.")
    loads, transitions = (_numbers(group.attributes[f"index_{i}"]) for i in (1, 2))
    values = _numbers(group.attributes["values"])
    width = len(transitions)
    rows = [values[i : i + width] for i in range(0, len(values), width)]
    if len(values) != len(loads) * width:
        raise CircuitError(
            f"{group.name}: {len(values)} values for {len(loads)} x {width} points."
        )
    return Table(loads, transitions, rows)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def parse_function(text: str) -> Function:
    """Return a Liberty function, such as ``"(!((A B)+C))"``, as a function of words.

    The operators bind in the order ``!`` or ``'`` (not), ``^`` (exclusive or), a space, ``*`` or
    ``&`` (and), ``+`` or ``|`` (or).

    Raises:
        CircuitError: If the text is no such expression of names.
    """
    parts = _PART.findall(text)
    if "".join(parts) != re.sub(r"\s", "", text):
        raise CircuitError(f"the function {text!r} has unknown characters.")
    rest = iter([*parts, ""])
    parser = _Parser(rest, text)
    function = parser.disjunction()
    if parser.part:
        raise CircuitError(f"the function {text!r} must end before {parser.part!r}.")
    return function


class _Parser:
    """A parser by recursive descent; ``part`` is the next part of the expression."""

    def __init__(self, rest: Iterator[str], text: str) -> None:
        self._rest, self._text = rest, text
        self.part = next(rest)

    def _take(self) -> str:
        part, self.part = self.part, next(self._rest, "")
        return part

    def disjunction(self) -> Function:
        left = self._conjunction()
        while self.part in ("+", "|"):
            self._take()
            left = _either(left, self._conjunction())
        return left

    def _conjunction(self) -> Function:
        left = self._exclusive()
        while self.part and self.part not in ("+", "|", ")"):
            if self.part in ("*", "&"):
                self._take()
            left = _both(left, self._exclusive())
        return left

    def _exclusive(self) -> Function:
        left = self._literal()
        while self.part == "^":
            self._take()
            left = _unequal(left, self._literal())
        return left

    def _literal(self) -> Function:
        part = self._take()
        if part == "!":
            return _inverted(self._literal())
        if part == "(":
            function = self.disjunction()
            if self._take() != ")":
                raise CircuitError(f"the function {self._text!r} lacks a bracket.")
        elif part and (part[0].isalpha() or part[0] == "_"):
            function = _pin(part)
        else:
            raise CircuitError(f"the function {self._text!r} lacks a name before {part!r}.")
        while self.part == "'":
            self._take()
            function = _inverted(function)
        return function


def _pin(name: str) -> Function:
    return lambda pins: pins[name]


def _inverted(x: Function) -> Function:
    return lambda pins: ~x(pins)


def _both(x: Function, y: Function) -> Function:
    return lambda pins: x(pins) & y(pins)


def _either(x: Function, y: Function) -> Function:
    return lambda pins: x(pins) | y(pins)


def _unequal(x: Function, y: Function) -> Function:
    return lambda pins: x(pins) ^ y(pins)
