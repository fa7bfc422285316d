"""C models: EvoApproxLib's manner, the semantics of C, and what is refused."""

import ctypes
import functools
import re
import resource
import shutil
import subprocess
import time
import warnings

import numpy as np
import pytest
from circuit_printers import COMMENT, as_c, check_comes_back
from grid import each

from axopt.circuits import load_netlists
from axopt.errors import LutFormatError
from axopt.multipliers import import_multiplier, read_tables

pytest.importorskip("pycparser", reason="needs the extra rtl: pip install 'axopt[rtl]'")


def read(tmp_path, text, **options):
    (tmp_path / "x.c").write_text(text)
    [found] = read_tables(tmp_path / "x.c", **options)
    return found


def function(body, *, a="uint8_t", b="uint8_t", returned="uint16_t", name="f"):
    return f"#include <stdint.h>\n{returned} {name}({a} A, {b} B) {{\n{body}\n}}\n"


@pytest.mark.parametrize("key", list(load_netlists())[::40])
def test_gate_lists_come_back(tmp_path, key):
    check_comes_back(functools.partial(read, tmp_path), as_c, key)


@pytest.mark.slow
@each("key", load_netlists())
def test_every_gate_list_comes_back(tmp_path, key):
    check_comes_back(functools.partial(read, tmp_path), as_c, key)


@pytest.mark.parametrize("name", ["1L2H", "1L2D", "1L1G", "1KR3"])
def test_unsigned_declarations_of_signed_circuits_are_recognised(tmp_path, library, name):
    text = as_c(
        load_netlists()[f"v1/mul8s_{name}"],
        f"mul8s_{name}",
        types=("uint8_t", "uint8_t", "uint16_t"),
    )
    found = read(tmp_path, text)
    np.testing.assert_array_equal(found.table, library[f"mul8s_{name}"].table)
    assert found.signed
    assert "declared unsigned and recognised as signed: the mean" in found.notes[0]


@pytest.mark.parametrize("kind", ["int", "uint32_t"])
def test_shifts_of_a_whole_operand_do_not_tell_its_width(tmp_path, kind):
    text = function("return ((A >> 2) << 2) * (B >> 1);", a=kind, b=kind, returned="int")
    found = read(tmp_path, text)
    a, w = np.arange(256)[:, None], np.arange(256)
    a, w = (a - 128, w - 128) if kind == "int" else (a, w)
    np.testing.assert_array_equal(found.table, (a >> 2 << 2) * (w >> 1))
    assert "assumed: `A` has 8 bits and `B` has 8 bits" in found.notes[0]


def test_a_model_states_its_figures(tmp_path, library):
    text = as_c(load_netlists()["v1/mul8s_1L2H"], "mul8s_1L2H", comment=COMMENT.format(mae=53))
    (tmp_path / "other.c").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        multiplier = import_multiplier(tmp_path / "other.c")
    assert multiplier.key == "user/mul8s_1L2H"
    assert (multiplier.power_mw, multiplier.area_um2, multiplier.delay_ns) == (0.301, 558.9, 1.36)
    assert multiplier.published == {"mae": 53.0}
    assert multiplier.digest == library["mul8s_1L2H"].digest


def test_rows_are_the_first_parameter(tmp_path):
    body = "return (uint16_t)((A & ~3) * B);"
    found = read(tmp_path, function(body).replace("uint8_t A, uint8_t B", "uint8_t B, uint8_t A"))
    assert found.table[5, 7] == 5 * 4
    assert found.table[7, 5] == 7 * 4
    assert "rows of the table are the first operand, `B`" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "types", "widths", "noted"),
    [
        ("mul8x5u_1F9", "uint64_t", (8, 5), False),
        ("mul4s_X", "int8_t", (4, 4), False),
        ("mine", "uint8_t", (8, 8), False),
        ("mine", "uint64_t", (7, 5), True),
    ],
)
def test_widths_follow_from_name_types_or_bits(tmp_path, name, types, widths, noted):
    body = "return ((A >> 6)&1) & ((B >> 4)&1);"
    found = read(tmp_path, function(body, a=f"const {types}", b=f"const {types}", name=name))
    assert (found.bits_a, found.bits_w) == widths
    assert (found.netlist.bits_a, found.netlist.bits_w) == widths
    assert (
        any("assumed: `A` has 7 bits and `B` has 5 bits" in note for note in found.notes) == noted
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (function("return A;", name="mul12u_34Y"), "operand `A` has 12 bits; operands of 2 to 8"),
        (function("return (A >> 11) & 1;", a="uint16_t"), "operand `A` has 12 bits"),
        (function("return A * B * 3;", returned="int"), "8 x 8 bits must have 16 bits"),
    ],
)
def test_wider_operands_and_products_are_refused(tmp_path, text, message):
    with pytest.raises(LutFormatError, match=message):
        read(tmp_path, text)


def test_a_product_returned_as_int_is_read_as_signed_or_unsigned(tmp_path):
    for prefix, signed in (("", True), ("u", False)):
        kind = f"{prefix}int8_t"
        found = read(tmp_path, function("return A * B;", a=kind, b=kind, returned="int"))
        assert (found.signed, found.mae, found.notes) == (signed, 0.0, ())


EXPRESSIONS = [
    "A * B",
    "(A >> 2) * (B >> 1) << 3",
    "~A & 0x3f | B ^ -A",
    "!A + !B - 2 * !!(A ^ 3)",
    "(uint8_t)(A + B) * 3 - (int8_t)(A - B)",
    "(unsigned char)~(A ^ B) << 8 >> 3",
    "((A & -A) << 4) - (B & 017) + 0xFFu",
    "(int8_t)(B << 1) * (int8_t)A",
    "-(A * B) >> 4",
    "(A - 200) * (B - 200L) ^ 1UL << 14",
    "((uint32_t)A - B >> 28) + (A + 1ull)",
]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc as the reference")
@pytest.mark.parametrize("types", ["uint8_t", "int8_t"])
def test_expressions_have_the_values_that_a_compiler_gives_them(tmp_path, types):
    bodies = [
        f"int16_t t = {e}; uint8_t u; u = t; u ^= A; t += u; t -= B; t <<= 1; t |= u & 3;\n"
        "return t;"
        for e in EXPRESSIONS
    ]
    texts = [
        function(body, a=types, b=types, returned="int16_t", name=f"f{i}")
        for i, body in enumerate(bodies)
    ]
    (tmp_path / "all.c").write_text("\n".join(texts))
    command = ["gcc", "-shared", "-fPIC", "-fwrapv", "-w", "-O1", "all.c", "-o", "all.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    compiled = ctypes.CDLL(str(tmp_path / "all.so"))
    low = -128 if types == "int8_t" else 0
    rng = np.random.default_rng(0)
    pairs = [(low, low), (low + 255, low), *rng.integers(low, low + 256, (300, 2)).tolist()]
    for i, text in enumerate(texts):
        found = read(tmp_path, text, signed=types == "int8_t")
        run = compiled[f"f{i}"]
        run.restype = ctypes.c_int16
        for a, b in pairs:
            got = (int(found.table[a - low, b - low]) + 32768) % 65536 - 32768
            assert got == run(a, b), (EXPRESSIONS[i], a, b)


@pytest.mark.parametrize(
    ("body", "construct"),
    [
        ("for (;;) ;\nreturn A;", "3: a loop"),
        ("while (1) A = 1;\nreturn A;", "3: a loop"),
        ("if (A) return B;\nreturn A;", "3: `if`"),
        ("A = 1;\nreturn g(A);", "4: a call"),
        ('system("touch owned");\nreturn A;', '3: the character " is not read'),
        ("system(A);\nreturn A;", "3: a call"),
        ("uint8_t *p = &A;\nreturn *p;", "3: "),
        ("uint8_t t[2];\nreturn A;", "3: an array"),
        ("return t[A];", "3: an array"),
        ("return A ? B : 1;", "`?:`"),
        ("return A / B;", "unexpected '/'"),
        ("return A % B;", "the operator `%`"),
        ("return A && B;", "the operator `&&`"),
        ("return A == B;", "the operator `==`"),
        ("return A++;", r"the operator `p\+\+`"),
        ("return sizeof(A);", "the operator `sizeof`"),
        ("return A << B;", "a shift by a variable"),
        ("return A >> 32;", "a shift of 32 bits by 32"),
        ("return A << -1;", "a shift of 32 bits by -1"),
        ("return 1.5;", r"the constant `1\.5`"),
        ("return 'a';", "the character ' is not read"),
        ("return 08;", "the constant `08`|not readable as C"),
        ("return 99999999999999999999999;", "the constant `9999"),
        ("uint8_t t;\nreturn t;", "4: `t` before it has a value"),
        ("return t;", "`t`, which is not declared"),
        ("t = 1;\nreturn A;", "an assignment to something that is not declared"),
        ("static int t = 0;\nreturn t;", "`static`"),
        ("float t = A;\nreturn t;", "the type `float`"),
        ("return;", "a return without a value"),
        ("A = B;", "the last statement must be a return"),
        ("{ return A; }", "the last statement must be a return"),
        ("return A, B;", "a comma"),
        ("return (A;", "not readable as C"),
        ("return A;\n#define A B", "4: the preprocessor line `#define A B`"),
    ],
)
def test_constructs_that_are_not_read_are_named_with_their_line(tmp_path, body, construct):
    with pytest.raises(LutFormatError, match=construct) as caught:
        read(tmp_path, function(body))
    assert str(caught.value).startswith(str(tmp_path / "x.c"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one function, got 0"),
        (function("return A;") + function("return B;", name="g"), "exactly one function, got 2"),
        ("int f(int A) { return A; }", "must have two parameters, got 1"),
        ("int f() { return 1; }", "must have two parameters, got 0"),
        ("int f(int A, int B, int C) { return A; }", "must have two parameters, got 3"),
        ("int f(int *A, int B) { return B; }", "a pointer"),
        ("int t = 1;\n" + function("return A;"), ":1: a declaration"),
        ("#if 0\n" + function("return A;"), ":1: the preprocessor line `#if 0`"),
        ("#include <stdint.h> /* x\n", "never ends"),
        ("\x00", "NUL"),
        ("int f(int A, int B) { return A \\\n; }", r"1: the character \\ is not read"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    with pytest.raises(LutFormatError, match=message):
        read(tmp_path, text)


HOSTILE = {
    "nested parentheses": lambda n: function(
        "return " + "(" * 100_000 + "A" + ")" * 100_000 + ";"
    ),
    "nested operators": lambda n: function("return " + "~" * 100_000 + "A;"),
    "a long sum": lambda n: function("return " + "+".join(["A"] * n(50_000)) + ";"),
    "nested blocks": lambda n: function("{" * 100_000),
    "a million gates": lambda n: function("A^=B;" * 1_000_000 + "return A;"),
    "many gates": lambda n: function("A=A*B+1;" * n(15_000) + "return A;"),
    "many constants": lambda n: function(
        "long long x=3;" + "x=x*x;" * n(15_000) + "x=x*A;" * 90 + "return x;"
    ),
    "a line of 10 MB": lambda n: function("return " + " " * 10_000_000 + "A;"),
    "a long name": lambda n: function("return " + "x" * 1_000_000 + ";"),
    "blanks": lambda n: function("return" + " " * 1_000_000 + ";"),
    "comments": lambda n: "/* /*" * 200_000,
    "an exponent": lambda n: function("return 1e9999999 << A;"),
    "a large constant": lambda n: function("return 0x" + "f" * 1_000_000 + ";"),
}


def check_hostile(tmp_path, name, share):
    (tmp_path / "x.c").write_text(HOSTILE[name](lambda count: count // share))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(LutFormatError, match=re.escape(str(tmp_path / "x.c"))) as caught:
        read_tables(tmp_path / "x.c")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_get_one_line_in_time(tmp_path, name):
    check_hostile(tmp_path, name, share=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_largest_hostile_models_get_one_line_in_time(tmp_path, name):
    check_hostile(tmp_path, name, share=1)
