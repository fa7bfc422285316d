"""What is shown to readers, with searches that take less time."""

import re

FEW = 'budget=8, library=["mul8s_1KV8", "mul8s_1L2H", "mul8s_1KR3"]'
BUDGET = re.compile(r"\bbudget=\d+")


def smaller(code: str) -> str:
    """The code with 8 assignments of three multipliers in its searches; all else stays."""
    return BUDGET.sub(FEW, code)
