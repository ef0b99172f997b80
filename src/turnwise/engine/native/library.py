"""The compiled library: found beside this file, checked, and its functions declared.

It is compiled while the package is installed, where a C++ compiler is at hand (`hatch_build.py`), in a few variants
that use more or fewer of the processor's instructions; the best that runs here is taken. Without it the engine runs on
torch, which gives the same answers more slowly. The structures below mirror those of `decoder.cpp`.
"""

import ctypes
import logging
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_uint32, c_void_p
from functools import cache
from pathlib import Path

from turnwise.engine.native.sources import FOLDER, VARIANTS, file_name, source_hash

log = logging.getLogger(__name__)


class Matrix(Structure):
    """A matrix in panels, its scales if it is of whole numbers, and its bias, or null."""

    _fields_ = (
        *((name, c_void_p) for name in ("weights", "scales", "bias")),
        *((name, c_int32) for name in ("inputs", "outputs", "bits")),
    )


class Norm(Structure):
    """A normalisation's weight and bias, or null."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class Layer(Structure):
    """One block of the decoder."""

    _fields_ = (
        *((name, Norm) for name in ("attention_norm", "query_norm", "key_norm", "mlp_norm")),
        *((name, Matrix) for name in ("qkv", "out", "up", "down")),
        ("rotated", c_int32),
        ("window", c_int32),
    )


class Model(Structure):
    """A whole decoder."""

    _fields_ = (
        *((name, c_int32) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim")),
        *(
            (name, c_int32)
            for name in ("feed_forward", "vocabulary", "context", "layer_norm", "gated", "gelu", "half_embed")
        ),
        ("norm_eps", c_float),
        ("layer", POINTER(Layer)),
        *((name, c_void_p) for name in ("embed", "position", "cosines", "sines")),
        ("norm", Norm),
        ("head", Matrix),
    )


class Cache(Structure):
    """Where keys and values lie."""

    _fields_ = (("keys", c_void_p), ("values", c_void_p), ("blocks", c_int32), ("half", c_int32))


class Thin(Structure):
    """What an adapter changes of a matrix; nothing where `down` is null."""

    _fields_ = (*((name, c_void_p) for name in ("down", "up", "factor", "ranges")), ("ranks", c_int32))


class Batch(Structure):
    """The new tokens of a pass."""

    _fields_ = (
        *((name, c_void_p) for name in ("ids", "lines", "positions", "wanted", "tables", "table_lengths", "adapters")),
        *((name, c_int32) for name in ("rows", "wanted_rows", "hidden", "line_count", "ranks")),
    )


@cache
def libraries() -> tuple[ctypes.CDLL, ...]:
    """What was compiled and runs on this processor, the best first."""
    paths = [path for variant in VARIANTS if (path := FOLDER / file_name(variant)).exists()]
    if not paths:
        log.info("there is no compiled library, so the slower engine runs; it needs a C++ compiler at installation")
        return ()
    found, problems = [], []
    for path in paths:
        try:
            found.append(_load(path))
        except (OSError, AttributeError) as error:
            problems.append(error)
    if not found:
        log.warning("the compiled library cannot be used, so the slower engine runs: %s", problems[0])
    return tuple(found)


def library(*sizes: int) -> ctypes.CDLL | None:
    """The best library here whose vectors divide `sizes`, or None."""
    return next((one for one in libraries() if all(size % one.turnwise_width() == 0 for size in sizes)), None)


def _load(path: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(path))
    found.turnwise_source.restype = c_char_p
    if found.turnwise_source().decode() != source_hash():
        raise OSError("it is of another version; install again")
    if not found.turnwise_runs_here():
        raise OSError("it was compiled for another processor; install again here")
    found.turnwise_arithmetic.restype = c_char_p
    found.turnwise_create.argtypes = (POINTER(Model), c_int32)
    found.turnwise_create.restype = c_void_p
    found.turnwise_forward.argtypes = (c_void_p, POINTER(Batch), POINTER(Cache), c_void_p)
    found.turnwise_logits.argtypes = (c_void_p, c_void_p, c_int32, c_void_p)
    found.turnwise_error.restype = c_char_p
    found.turnwise_threads.argtypes = (c_void_p,)
    found.turnwise_disturb.argtypes = (c_void_p, c_int32, c_uint32, c_int32)
    found.turnwise_disturb.restype = None
    found.turnwise_destroy.argtypes = (c_void_p,)
    found.turnwise_destroy.restype = None
    return found
