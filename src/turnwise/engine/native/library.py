"""Loads the compiled library beside this file, checks it and declares its functions.

The library is compiled when the package is installed, if a C++ compiler is available (`hatch_build.py`), in variants
for several instruction sets; the best one that this processor supports is used. Without it the engine computes with
torch, which gives the same answers more slowly.
"""

import ctypes
import logging
from ctypes import POINTER, c_char_p, c_int32, c_uint32, c_void_p
from functools import cache
from pathlib import Path

from turnwise.engine.native.sources import FOLDER, VARIANTS, file_name, source_hash
from turnwise.engine.native.structs import Batch, EncoderBatch, EncoderWeights, KVCacheView, ModelWeights

log = logging.getLogger(__name__)


@cache
def libraries() -> tuple[ctypes.CDLL, ...]:
    """The compiled variants that run on this processor, the best first."""
    paths = [path for variant in VARIANTS if (path := FOLDER / file_name(variant)).exists()]
    if not paths:
        log.info("There is no compiled library, so the slower torch engine is used; installation needs a C++ compiler.")
        return ()
    usable, errors = [], []
    for path in paths:
        try:
            usable.append(_load(path))
        except (OSError, AttributeError) as error:
            errors.append(error)
    if not usable:
        log.warning("The compiled library cannot be used, so the slower torch engine is used: %s", errors[0])
    return tuple(usable)


def library(*sizes: int) -> ctypes.CDLL | None:
    """The best usable library whose vector width divides all `sizes`, or None."""
    return next(
        (
            candidate
            for candidate in libraries()
            if all(size % candidate.turnwise_vector_width() == 0 for size in sizes)
        ),
        None,
    )


def _load(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    loaded.turnwise_source_hash.restype = c_char_p
    if loaded.turnwise_source_hash().decode() != source_hash():
        raise OSError("it was compiled from another version; install again")
    if not loaded.turnwise_is_cpu_supported():
        raise OSError("it was compiled for another processor; install again on this machine")
    loaded.turnwise_instruction_set.restype = c_char_p
    loaded.turnwise_create.argtypes = (POINTER(ModelWeights), c_int32)
    loaded.turnwise_create.restype = c_void_p
    loaded.turnwise_forward.argtypes = (c_void_p, POINTER(Batch), POINTER(KVCacheView), c_void_p)
    loaded.turnwise_logits.argtypes = (c_void_p, c_void_p, c_int32, c_void_p)
    loaded.turnwise_last_error.restype = c_char_p
    loaded.turnwise_active_threads.argtypes = (c_void_p,)
    loaded.turnwise_set_test_perturbation.argtypes = (c_void_p, c_int32, c_uint32, c_int32)
    loaded.turnwise_set_test_perturbation.restype = None
    loaded.turnwise_destroy.argtypes = (c_void_p,)
    loaded.turnwise_destroy.restype = None
    loaded.turnwise_create_encoder.argtypes = (POINTER(EncoderWeights), c_int32)
    loaded.turnwise_create_encoder.restype = c_void_p
    loaded.turnwise_encode.argtypes = (c_void_p, POINTER(EncoderBatch), c_void_p)
    loaded.turnwise_set_encoder_perturbation.argtypes = (c_void_p, c_int32, c_uint32, c_int32)
    loaded.turnwise_set_encoder_perturbation.restype = None
    loaded.turnwise_destroy_encoder.argtypes = (c_void_p,)
    loaded.turnwise_destroy_encoder.restype = None
    return loaded
