"""Array types with shapes, from jaxtyping where it is installed.

A machine that only trains (torch, numpy, numba, scipy) need not have jaxtyping: there the names below subscript to
plain ``Any``. The test suite installs jaxtyping's import hook, which checks every annotated call at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
    except ImportError:

        class _Unchecked:
            def __class_getitem__(cls, item: Any) -> Any:
                return Any

        Bool = Float = Float32 = Float64 = Int = Int64 = _Unchecked

__all__ = ["Bool", "Float", "Float32", "Float64", "Int", "Int64"]
