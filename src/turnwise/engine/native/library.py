"""The compiled library: found beside this file, checked, and its functions declared.

It is compiled while the package is installed, where a C++ compiler is at hand (`hatch_build.py`). Without it the engine
runs on torch, which gives the same answers more slowly. The structures below mirror those of `decoder.cpp`.
"""

import ctypes
import logging
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_void_p
from functools import cache
from pathlib import Path

from turnwise.engine.native.sources import source_hash

log = logging.getLogger(__name__)

PATH = Path(__file__).with_name("_native.so")


class Matrix(Structure):
    """A matrix in panels and its bias, or null."""

    _fields_ = (("weights", c_void_p), ("bias", c_void_p), ("inputs", c_int32), ("outputs", c_int32))


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
        *((name, c_int32) for name in ("feed_forward", "vocabulary", "half", "layer_norm", "gated", "gelu")),
        ("norm_eps", c_float),
        ("layer", POINTER(Layer)),
        *((name, c_void_p) for name in ("embed", "position", "cosines", "sines")),
        ("norm", Norm),
        ("head", Matrix),
    )


class Cache(Structure):
    """Where keys and values lie."""

    _fields_ = (("keys", c_void_p), ("values", c_void_p), ("blocks", c_int32))


class Batch(Structure):
    """The new tokens of a pass."""

    _fields_ = (
        *((name, c_void_p) for name in ("ids", "lines", "positions", "wanted", "tables")),
        ("rows", c_int32),
        ("wanted_rows", c_int32),
        ("hidden", c_int32),
    )


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None where it was not compiled or not for this processor."""
    if not PATH.exists():
        log.info("there is no compiled library, so the slower engine runs; it needs a C++ compiler at installation")
        return None
    try:
        found = ctypes.CDLL(str(PATH))
        found.turnwise_source.restype = c_char_p
        source, runs_here = found.turnwise_source().decode(), bool(found.turnwise_runs_here())
    except (OSError, AttributeError) as error:
        log.warning("the compiled library cannot be loaded, so the slower engine runs: %s", error)
        return None
    if source != source_hash():
        log.warning("the compiled library is of another version, so the slower engine runs; install again")
        return None
    if not runs_here:
        log.warning("the library was compiled for another processor, so the slower engine runs; install again here")
        return None
    found.turnwise_create.argtypes = (POINTER(Model), c_int32)
    found.turnwise_create.restype = c_void_p
    found.turnwise_forward.argtypes = (c_void_p, POINTER(Batch), POINTER(Cache), c_void_p)
    found.turnwise_destroy.argtypes = (c_void_p,)
    found.turnwise_destroy.restype = None
    return found
