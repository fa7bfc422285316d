"""What is shown to readers, with searches and measurements that take less time."""

import re

BUDGET = re.compile(r"\bbudget=\d+")
FEW = '["mul8s_1KV8", "mul8s_1KR3"]'
SMALLER = {
    BUDGET: f"budget=6, library={FEW}",
    re.compile(r'\blist\(library\.select\(release="v1", signed=True\)\)'): FEW,
    re.compile(r', "mul8s_1L2D", "mul8s_1L1G"'): "",
    re.compile(r"\b(validation_samples|test_samples)=\d+"): r"\1=40",
    re.compile(r"\bmin\(\d{3}, "): "min(40, ",
    re.compile(r"\blibrary=designed, "): "",
    re.compile(r"\bsensitivity\(emulated, data"): rf"\g<0>, library={FEW}, samples=20",
    re.compile(r"\bcomparison\.itertuples"): "comparison.head(2).itertuples",
    re.compile(r"\btake\(\d{3}\)"): "take(50)",
    re.compile(r"\btrain\.batches\("): "train.take(100).batches(",
    re.compile(r"\bepochs=2\b"): "epochs=1",
}
"""What is written -> what runs: fewer assignments, multipliers, samples and epochs."""


def smaller(code: str) -> str:
    """The code with each of `SMALLER` replaced."""
    for pattern, less in SMALLER.items():
        code = pattern.sub(less, code)
    return code
