"""Statements and expressions of a C model, evaluated on signals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from axopt.circuits.builder import NetlistBuilder
from axopt.circuits.formats.bit_vectors import (
    BitVector,
    bitwise,
    complement,
    constant,
    difference,
    is_zero,
    product,
    shifted_left,
    shifted_right,
    total,
)
from axopt.errors import LutFormatError

MAX_BIT_OPERATIONS = 500_000
"""Bounds the time of an evaluation; EvoApproxLib's largest 8-bit models have 5,000."""

_INT_WIDTH = 32
_PLAIN = {"char", "short", "int", "long", "signed", "unsigned"}
_STDINT = re.compile(r"(u?)int(8|16|32|64)_t")
_LITERAL = re.compile(r"(0[xX][0-9a-fA-F]{1,40}|[0-9]{1,40})([uU]?[lL]{0,2}|[lL]{1,2}[uU])")
_READ = "& | ^ ~ ! << >> + - *"
_CONSTRUCTS = {
    **{
        "For": "a loop",
        "While": "a loop",
        "DoWhile": "a loop",
        "If": "`if`",
        "Switch": "`switch`",
    },
    **{"FuncCall": "a call", "PtrDecl": "a pointer", "ArrayDecl": "an array"},
    **{"ArrayRef": "an array", "TernaryOp": "`?:`", "Goto": "`goto`", "Compound": "a block"},
    **{
        "Struct": "a struct",
        "Union": "a union",
        "Enum": "an enumeration",
        "FuncDecl": "a function",
    },
    **{"StructRef": "a struct", "InitList": "an initialiser list", "ExprList": "a comma"},
    **{"Decl": "a declaration", "Label": "a label", "Return": "an early `return`"},
}


@dataclass(frozen=True, slots=True)
class CType:
    """An integer type of C."""

    width: int
    signed: bool

    @property
    def promoted(self) -> CType:
        """The type in which an expression computes with values of this type."""
        return INT if self.width < _INT_WIDTH else self

    def common(self, other: CType) -> CType:
        """The type in which an expression combines values of both types."""
        one, two = self.promoted, other.promoted
        width = max(one.width, two.width)
        return CType(width, all(t.signed for t in (one, two) if t.width == width))


INT = CType(_INT_WIDTH, True)
Value = tuple[CType, BitVector]


def refuse(where: object, node: Any, construct: str = "") -> NoReturn:
    """Raise the error that names the line and the construct of a node."""
    kind = type(node).__name__
    construct = construct or _CONSTRUCTS.get(kind, kind)
    line = f":{node.coord.line}" if getattr(node, "coord", None) is not None else ""
    raise LutFormatError(
        f"{where}{line}: {construct} is not read; a model has declarations, assignments and one "
        f"return, of expressions with {_READ}."
    )


def c_type(where: object, node: Any) -> CType:
    """Return the type of a declaration.

    Raises:
        LutFormatError: If it is no integer type of C or ``stdint.h``.
    """
    while type(node).__name__ in ("TypeDecl", "Typename"):
        node = node.type
    if type(node).__name__ != "IdentifierType":
        refuse(where, node)
    words = list(node.names)
    match = _STDINT.fullmatch(words[0]) if len(words) == 1 else None
    if match is not None:
        return CType(int(match[2]), not match[1])
    if not set(words) <= _PLAIN:
        refuse(where, node, f"the type `{' '.join(words)}`")
    width = 8 if "char" in words else 16 if "short" in words else 64 if "long" in words else 32
    return CType(width, "unsigned" not in words)


class Statements:
    """Evaluates the statements of a function.

    Args:
        build: Takes the gates.
        where: The file, for messages.
    """

    def __init__(self, build: NetlistBuilder, where: object) -> None:
        self._build = build
        self._where = where
        self._types: dict[str, CType] = {}
        self._values: dict[str, BitVector] = {}
        self._spent = 0
        self._bitwise: Mapping[str, Callable[[int, int], int]] = {
            "&": build.and_,
            "|": build.or_,
            "^": build.xor,
        }
        self._expressions: Mapping[str, Callable[[Any], Value]] = {
            "Constant": self._literal,
            "ID": self._variable,
            "UnaryOp": self._unary,
            "BinaryOp": self._binary,
            "Cast": self._cast,
        }

    def declare(self, name: str, kind: CType, value: BitVector | None = None) -> None:
        """Add a variable."""
        self._types[name] = kind
        if value is not None:
            self._values[name] = value.wrapped(kind.width, kind.signed)

    def run(self, statements: Sequence[Any], returned: CType) -> BitVector:
        """Evaluate statements up to the return at their end.

        Returns:
            The value that is returned, as the type ``returned`` holds it.

        Raises:
            LutFormatError: If a statement is not in the subset that is read.
        """
        if not statements or type(statements[-1]).__name__ != "Return":
            raise LutFormatError(f"{self._where}: the last statement must be a return.")
        for statement in statements[:-1]:
            self._statement(statement)
        last = statements[-1]
        if last.expr is None:
            refuse(self._where, last, "a return without a value")
        _, value = self._expression(last.expr)
        return value.wrapped(returned.width, returned.signed)

    def _statement(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Decl":
            if "static" in node.storage or "extern" in node.storage:
                refuse(self._where, node, f"`{node.storage[0]}`")
            if node.name in self._types:
                refuse(self._where, node, f"a second declaration of `{node.name}`")
            value = None if node.init is None else self._expression(node.init)[1]
            self.declare(node.name, c_type(self._where, node.type), value)
        elif kind == "Assignment":
            self._assign(node)
        elif kind not in ("EmptyStatement", "Pragma"):
            refuse(self._where, node)

    def _assign(self, node: Any) -> None:
        if type(node.lvalue).__name__ != "ID" or node.lvalue.name not in self._types:
            refuse(self._where, node, "an assignment to something that is not declared")
        name = node.lvalue.name
        value = self._expression(node.rvalue)
        if node.op != "=":
            value = self._combined(node, node.op[:-1], self._variable(node.lvalue), value)
        self.declare(name, self._types[name], value[1])

    def _expression(self, node: Any) -> Value:
        evaluate = self._expressions.get(type(node).__name__)
        return refuse(self._where, node) if evaluate is None else evaluate(node)

    def _literal(self, node: Any) -> Value:
        match = _LITERAL.fullmatch(node.value)
        if match is None:
            refuse(self._where, node, f"the constant `{node.value[:40]}`")
        digits, suffix = match[1], match[2].lower()
        octal = digits[0] == "0" and digits[1:].isdigit()
        if octal and not set(digits) <= set("01234567"):
            refuse(self._where, node, f"the constant `{node.value}`")
        value = int(digits, 8) if octal else int(digits, 0)
        signs = (
            (False,)
            if "u" in suffix
            else (True,)
            if digits.isdigit() and not octal
            else (True, False)
        )
        for width in (64,) if "l" in suffix else (32, 64):
            for signed in signs:
                if value < 2 ** (width - signed):
                    return CType(width, signed), constant(value)
        refuse(self._where, node, f"the constant `{node.value[:40]}`")

    def _variable(self, node: Any) -> Value:
        if node.name not in self._types:
            refuse(self._where, node, f"`{node.name}`, which is not declared,")
        if node.name not in self._values:
            refuse(self._where, node, f"`{node.name}` before it has a value")
        return self._types[node.name], self._values[node.name]

    def _cast(self, node: Any) -> Value:
        kind = c_type(self._where, node.to_type)
        return kind, self._expression(node.expr)[1].wrapped(kind.width, kind.signed)

    def _unary(self, node: Any) -> Value:
        if node.op not in ("~", "!", "+", "-"):
            refuse(self._where, node, f"the operator `{node.op}`")
        kind, value = self._expression(node.expr)
        self._spend(len(value.low) + 1)
        if node.op == "!":
            return INT, is_zero(self._build, value)
        kind = kind.promoted
        if node.op == "~":
            value = complement(self._build, value)
        elif node.op == "-":
            value = difference(self._build, constant(0), value)
        return kind, value.wrapped(kind.width, kind.signed)

    def _binary(self, node: Any) -> Value:
        return self._combined(
            node, node.op, self._expression(node.left), self._expression(node.right)
        )

    def _combined(self, node: Any, op: str, left: Value, right: Value) -> Value:
        """Return the value of a binary operation, in the type that C gives it."""
        if op in ("<<", ">>"):
            return self._shifted(node, op, left, right)
        kind = left[0].common(right[0])
        x, y = (value.wrapped(kind.width, kind.signed) for _, value in (left, right))
        self._spend((len(x.low) + 1) * (len(y.low) + 1) if op == "*" else len(x.low + y.low) + 1)
        if op in self._bitwise:
            result = bitwise(self._bitwise[op], x, y)
        elif op in ("+", "-", "*"):
            result = {"+": total, "-": difference, "*": product}[op](self._build, x, y)
        else:
            refuse(self._where, node, f"the operator `{op}`")
        return kind, result.wrapped(kind.width, kind.signed)

    def _shifted(self, node: Any, op: str, left: Value, right: Value) -> Value:
        kind, places = left[0].promoted, right[1].value
        if places is None:
            refuse(self._where, node, "a shift by a variable")
        if not 0 <= places < kind.width:
            refuse(self._where, node, f"a shift of {kind.width} bits by {places}")
        self._spend(1)
        shifted = (shifted_left if op == "<<" else shifted_right)(left[1], places)
        return kind, shifted.wrapped(kind.width, kind.signed)

    def _spend(self, operations: int) -> None:
        self._spent += operations
        if self._spent > MAX_BIT_OPERATIONS:
            raise LutFormatError(
                f"{self._where}: needs more than {MAX_BIT_OPERATIONS:,} operations on bits."
            )
