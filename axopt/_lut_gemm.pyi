from numpy import int32, uint8, uint16
from numpy.typing import NDArray

def instruction_sets() -> list[tuple[str, bool]]: ...
def gemm(
    isa_index: int,
    threads: int,
    columns: NDArray[uint16],
    planes: NDArray[uint8],
    bias: int,
    a: NDArray[uint8],
    w: NDArray[uint8],
    out: NDArray[int32],
) -> None: ...
def conv2d(
    isa_index: int,
    threads: int,
    columns: NDArray[uint16],
    planes: NDArray[uint8],
    bias: int,
    x: NDArray[uint8],
    w: NDArray[uint8],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    out: NDArray[int32],
) -> None: ...
