from numpy import float32, int16, int32, uint8, uint16
from numpy.typing import NDArray

def instruction_sets() -> list[tuple[str, bool]]: ...
def code_bytes(isa_index: int) -> int: ...
def scalar_gemm(
    columns: NDArray[uint16],
    bias: int,
    a: NDArray[int32],
    w: NDArray[int32],
    out: NDArray[int32],
) -> None: ...
def lstm_gates(
    isa_index: int,
    threads: int,
    inputs: NDArray[float32],
    hidden: NDArray[float32],
    cell: NDArray[float32],
    next_hidden: NDArray[float32],
    next_cell: NDArray[float32],
    gates: NDArray[float32] | None = None,
) -> None: ...

class Operation:
    def __init__(
        self,
        *,
        isa_index: int,
        method: str,
        weight_shape: tuple[int, ...],
        stride: tuple[int, int],
        dilation: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
        weights: NDArray[uint8],
        maps: NDArray[uint8] | None = None,
        masks: NDArray[int16] | None = None,
        row_scale: int = 0,
        row_mask: int = 0,
        rows: NDArray[uint8] | None = None,
        classes: NDArray[uint8] | None = None,
        columns: NDArray[uint16] | None = None,
        planes: NDArray[uint8] | None = None,
        table_bias: int = 0,
        offset: NDArray[int32] | None = None,
        zero_point: NDArray[int32] | None = None,
        scale: NDArray[float32] | None = None,
        bias: NDArray[float32] | None = None,
        code_map: NDArray[uint8] | None = None,
        shift: int = -1,
    ) -> None: ...
    def run(
        self,
        threads: int,
        source: NDArray[float32] | NDArray[uint8],
        inverse_scale: float,
        zero_point: int,
        out: NDArray[float32] | NDArray[int32],
        bounds: tuple[float, float] = ...,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
