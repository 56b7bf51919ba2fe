"""The array types that signatures speak of."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
GradeArray: TypeAlias = NDArray[np.int8]
MarkArray: TypeAlias = NDArray[np.uint8]
BitArray: TypeAlias = NDArray[np.uint64]
IdArray: TypeAlias = NDArray[Any]  # the data set's own ids: int64, or str objects
WordArray: TypeAlias = NDArray[np.object_]
