"""The two kinds of arrays that rendering computes with."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
"""Numbers of pixels: heights, tones, light. The shape stands where it is used."""
Points = NDArray[np.float64]
"""(N, 2) x and y or s and t, m; (2,) for a single point."""
