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
    def set_geometry(
        self,
        weight_shape: tuple[int, ...],
        stride: tuple[int, int],
        dilation: tuple[int, int],
        pad_top_left: tuple[int, int],
        groups: int,
    ) -> None: ...
    def set_terms(
        self,
        maps: NDArray[uint8],
        masks: NDArray[int16],
        row_scale: int,
        row_mask: int,
        weights: NDArray[uint8],
        depthwise: bool,
    ) -> None: ...
    def set_residual(self, rows: NDArray[uint8], classes: NDArray[uint8]) -> None: ...
    def set_table(
        self,
        columns: NDArray[uint16],
        planes: NDArray[uint8],
        bias: int,
        weight_codes: NDArray[uint8],
        method: str,
    ) -> None: ...
    def set_output(
        self,
        offset: NDArray[int32],
        zero_point: NDArray[int32] | None,
        scale: NDArray[float32],
        bias: NDArray[float32],
    ) -> None: ...
    def set_code_map(self, codes: NDArray[uint8], shift: int) -> None: ...
    def run(
        self,
        isa_index: int,
        threads: int,
        source: NDArray[float32] | NDArray[uint8],
        inverse_scale: float,
        zero_point: int,
        out: NDArray[float32] | NDArray[int32],
        bounds: tuple[float, float] = ...,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
