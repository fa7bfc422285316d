"""C models in EvoApproxLib's manner: one function of two integers, without loops and calls.

A model is parsed by ``pycparser`` and turned into gates; nothing is compiled or executed. Its
statements are declarations, assignments and one ``return`` at the end, of expressions with
``& | ^ ~ ! << >> + - *`` on the integer types of C and ``stdint.h``, with C's conversions. Rows of
the table are the first parameter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from axopt.circuits.builder import NetlistBuilder
from axopt.circuits.formats.bit_vectors import BitVector
from axopt.circuits.formats.c_statements import CType, Statements, c_type, refuse
from axopt.circuits.formats.reading import (
    check_width,
    imported_circuit,
    order_note,
    widths_in_name,
)
from axopt.circuits.netlist import MAX_BITS
from axopt.errors import CircuitError, LutFormatError, MissingPackageError
from axopt.files import read_bytes
from axopt.multipliers import Imported, register_importer
from axopt.multipliers.formats.text import decode, stated_figures, without_comments

MAX_FILE_BYTES = 1 << 18
"""Longest C model; EvoApproxLib's have 12 KB."""

_STDINT = "".join(
    f"typedef {sign} {plain} {prefix}int{width}_t; "
    for sign, prefix in (("signed", ""), ("unsigned", "u"))
    for plain, width in (("char", 8), ("short", 16), ("int", 32), ("long long", 64))
)
_DIRECTIVE = re.compile(
    r"\s*#\s*(?:include\b|pragma\b|ifndef\s+\w+\s*$|define\s+\w+\s*$|endif\b|$)"
)
_LONG_WORD = re.compile(r"\w{101}")
_USED_BIT = re.compile(
    r"\b(\w{1,64})\s{0,8}\)?\s{0,8}>>\s{0,8}\(?\s{0,8}(\d{1,4})[uU]?[\s)]{0,8}&\s{0,8}(?:0[xX]0*)?1[uUlL]{0,3}\b"
)
"""One bit of an operand, ``(a >> 3) & 1``; ``(a >> 3) * b`` does not tell the width of ``a``."""


@register_importer("c", suffixes=(".c",), title="C model")
def read(path: Path, signed: bool | None) -> Sequence[Imported]:
    """Read the multiplier that the function of a file computes.

    Raises:
        LutFormatError: If the file is anything but one function of two integers in the subset of C
            that this module reads; the message names the line and the construct.
        MissingPackageError: If ``pycparser`` is not installed.
    """
    try:
        content = read_bytes(path, limit=MAX_FILE_BYTES)
    except OSError as error:
        raise LutFormatError(f"{path}: cannot be read: {error.strerror}.") from error
    text = decode(content, path)
    code = _without_directives(without_comments(text, path), path)
    try:
        return [_multiplier(_function(code, path), code, text, path, signed)]
    except RecursionError:
        raise LutFormatError(f"{path}: expressions or blocks are nested too deeply.") from None
    except CircuitError as error:
        raise LutFormatError(f"{path}: {error}") from error


def _without_directives(code: str, where: object) -> str:
    """Blank preprocessor lines that change nothing; refuse others, strings and continued lines."""
    lines = code.split("\n")
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            if not _DIRECTIVE.match(line):
                raise LutFormatError(
                    f"{where}:{number}: the preprocessor line `{line.strip()[:40]}` is not read."
                )
            lines[number - 1] = ""
        for character in "\"'\\":
            if character in lines[number - 1]:
                raise LutFormatError(f"{where}:{number}: the character {character} is not read.")
        if _LONG_WORD.search(lines[number - 1]):
            raise LutFormatError(f"{where}:{number}: a word of more than 100 characters.")
    return "\n".join(lines)


def _function(code: str, where: object) -> Any:
    """Return the only function of a text, as pycparser's `FuncDef`."""
    try:
        from pycparser import c_ast, c_parser
    except ImportError as error:
        raise MissingPackageError(
            f"{where}: C models need pycparser; run: pip install 'axopt[rtl]'."
        ) from error
    try:
        tree = c_parser.CParser().parse(_STDINT + code, "")
    except c_parser.ParseError as error:
        line, _, problem = str(error).lstrip(":").partition(":")
        column, _, rest = problem.partition(":")
        problem = rest if column.strip().isdigit() else problem
        raise LutFormatError(f"{where}:{line}: not readable as C: {problem.strip()}.") from error
    functions = []
    for part in tree.ext:
        if isinstance(part, c_ast.FuncDef):
            functions.append(part)
        elif isinstance(part, c_ast.Decl) and isinstance(part.type, c_ast.FuncDecl):
            continue  # a prototype
        elif not isinstance(part, c_ast.Typedef):
            refuse(where, part)
    if len(functions) != 1:
        raise LutFormatError(f"{where}: expected exactly one function, got {len(functions)}.")
    return functions[0]


def _multiplier(function: Any, code: str, text: str, path: Path, signed: bool | None) -> Imported:
    """Evaluate a function over the bits of its parameters."""
    name = function.decl.name
    parameters = _parameters(function, path)
    widths, notes = _widths(name, parameters, code, path)
    build = NetlistBuilder(*widths, signed=False)
    kinds = [kind for _, kind in parameters]
    statements = Statements(build, path)
    for (operand, kind), bits in zip(parameters, (build.a, build.w), strict=True):
        above = bits[-1] if kind.signed else 0
        statements.declare(operand, kind, BitVector(tuple(bits), above))
    returned = c_type(path, function.decl.type.type)
    product = statements.run(function.body.block_items or [], returned)
    return imported_circuit(
        build,
        product,
        path,
        name=name,
        figures=stated_figures(text),
        declared=kinds[0].signed and kinds[1].signed,
        signed=signed,
        notes=(*notes, *order_note(path, *(operand for operand, _ in parameters))),
    )


def _parameters(function: Any, where: object) -> list[tuple[str, CType]]:
    """Return names and types of both parameters."""
    declared = function.decl.type.args
    parameters = [] if declared is None else declared.params
    if len(parameters) != 2 or function.param_decls:
        raise LutFormatError(
            f"{where}:{function.coord.line}: `{function.decl.name}` must have two parameters, "
            f"got {len(parameters)}."
        )
    return [(str(p.name), c_type(where, p.type)) for p in parameters]


def _widths(
    name: str, parameters: Sequence[tuple[str, CType]], code: str, where: object
) -> tuple[list[int], tuple[str, ...]]:
    """Return the widths of both operands, by name, types, or the bits that are used.

    Raises:
        LutFormatError: If an operand has more than 8 bits, or less than 2.
    """
    named = widths_in_name(name)
    highest: dict[str, int] = {}
    for match in _USED_BIT.finditer(code):
        highest[match[1]] = max(highest.get(match[1], 0), int(match[2]))
    widths, assumed = [], []
    for i, (operand, kind) in enumerate(parameters):
        if named is not None:
            bits = named[{"a": 0, "b": 1}.get(operand.lower(), i)]
        elif kind.width <= MAX_BITS:
            bits = kind.width
        else:
            bits = highest[operand] + 1 if operand in highest else MAX_BITS
            assumed.append(f"`{operand}` has {bits} bits")
        check_width(where, operand, bits)
        widths.append(bits)
    if not assumed:
        return widths, ()
    taken = " and ".join(assumed)
    return widths, (f"{where}: neither names nor types tell the widths; assumed: {taken}.",)
