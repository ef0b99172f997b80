"""The only file that knows every room: wires a model folder, an engine and a store into a chat service."""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from turnwise import __version__
from turnwise.chat.context_policies import DEFAULT_CONTEXT_POLICY, get_context_policy
from turnwise.chat.service import ChatService
from turnwise.core.errors import InvalidParameter, UserError, did_you_mean
from turnwise.core.json_file import read_optional_json_object
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams
from turnwise.core.ports import ConversationStore, Quantization
from turnwise.models.adapter_config import bundled_model_folder
from turnwise.models.model_folders import find_model_folder
from turnwise.models.model_kind import check_servable
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from turnwise.engine.adapted_engine import AdaptedEngine
    from turnwise.engine.engine import Engine
    from turnwise.evaluation.response_cache import ResponseCache
    from turnwise.evaluation.system_under_test import ModelUnderTest

BUNDLED_MODEL = "box"  # the name of the model that comes with the package
DEVICES = ("auto", "cpu", "cuda")


def resolve_model_folder(name: str | None) -> Path:
    """The folder of a model: the one that comes with the package for None or "box", else as `find_folder` finds it.

    Raises:
        ModelNotFound: there is none; the error says what to do.
    """
    return bundled_model_folder() if name is None or name == BUNDLED_MODEL else find_model_folder(name)


class SharedBaseEngines:
    """Engines of models that are served beside each other: an adapter is computed beside its base's weights.

    So there is one copy of them, and one pass for the chats of all; where an engine cannot do that, the adapter gets
    weights of its own.
    """

    def __init__(self) -> None:
        self._engines: dict[Path, Engine] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._engines)

    def engine(self, folder: Path, create_engine: Callable[[Path], "Engine"], device: str) -> "Engine | AdaptedEngine":
        """The engine for a model; `begin` makes one for a folder that has none yet."""
        from turnwise.engine.adapted_engine import create_adapted_engine
        from turnwise.engine.native.native_runner import fits
        from turnwise.models.adapter_config import is_adapter
        from turnwise.models.adapters import load_adapter
        from turnwise.models.checkpoint import read_decoder_config
        from turnwise.models.lora_factors import changes_only_layers, compute_lora_factors

        if not is_adapter(folder):
            return self._base_engine(folder, create_engine)
        adapter = load_adapter(folder)
        thin = compute_lora_factors(adapter)
        if device != "cpu" or not fits(read_decoder_config(adapter.base)) or not changes_only_layers(thin):
            return create_engine(folder)
        base = self._base_engine(adapter.base, create_engine)
        return create_adapted_engine(base, str(folder.resolve()), thin) or create_engine(folder)

    def _base_engine(self, folder: Path, create_engine: Callable[[Path], "Engine"]) -> "Engine":
        found = self._engines.get(folder.resolve())
        if found is None:
            found = self._engines[folder.resolve()] = create_engine(folder)
        return found


@contextmanager
def open_chat_service(
    model: str | None = None,
    *,
    dtype: str = "auto",
    device: str = "auto",
    quantize: Quantization | None = None,
    kv_cache_memory_bytes: int | None = None,
    max_num_seqs: int = 32,
    threads: int | None = None,
    store: ConversationStore | None = None,
    defaults: Mapping[str, Any] | None = None,
    name: str | None = None,
    context_policy: str = DEFAULT_CONTEXT_POLICY,
    base_engines: "SharedBaseEngines | None" = None,
    prepare: bool = False,
) -> Iterator[ChatService]:
    """A model ready to talk; its engine stops when the block ends.

    Args:
        model: a Hugging Face folder; None is the model in the box.
        dtype: of the weights, "auto" or a name in `models.checkpoint.DTYPES`.
        device: "auto", "cpu" or "cuda".
        cache_bytes: most memory for keys and values; None takes what the slots need, up to a share of the machine's.
        quantize: "int8" or "int4" rounds the weights to so many bits; None leaves them as they are.
        slots: most chats generated at once.
        threads: processor threads; None leaves it to torch.
        store: where conversations are kept.
        defaults: generation parameters to prefer over the model's own.
        name: what to call it; None takes the folder's name.
        context_policy: what becomes of conversations that the context does not hold, a name in `chat.context`.
        bases: where models that are served beside each other find what adapters have in common; None merges an adapter.
        prepare: build everything that the first requests need, while the weights are loaded.

    Raises:
        InvalidParameter: no such device, type of weights or context policy.
        ModelNotFound: no such model.
        UserError: a model that cannot be loaded.
    """
    get_context_policy(context_policy)
    folder = resolve_model_folder(model)
    if device not in DEVICES:
        raise InvalidParameter("device", f"Unknown device '{device}': {did_you_mean(device, DEVICES)}")
    if quantize is not None and quantize not in get_args(Quantization):
        raise InvalidParameter(
            "quantize", f"Unknown type '{quantize}': {did_you_mean(quantize, get_args(Quantization))}"
        )
    # Whatever can be checked without torch comes before it: a person should not wait for a mistake to be told.
    check_servable(folder)
    preferred = {**load_generation_defaults(folder), **(defaults or {})}
    suppressed = load_suppressed_tokens(folder)
    tokenizer = Tokenizer.load(folder)
    renderer = Renderer.from_tokenizer(tokenizer)
    _preload_torch()
    import torch

    from turnwise.engine.adapted_engine import AdaptedEngine
    from turnwise.engine.engine import Engine
    from turnwise.engine.runners.model_runner import preferred_dtype
    from turnwise.engine.transformers_engine import create_transformers_engine
    from turnwise.models import checkpoint
    from turnwise.models import transformers_model as hub

    if dtype != "auto" and dtype not in checkpoint.DTYPES:
        raise InvalidParameter("dtype", f"Unknown dtype '{dtype}': {did_you_mean(dtype, [*checkpoint.DTYPES, 'auto'])}")
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidParameter("device", "There is no GPU that torch can use here. Leave --device out, or say cpu.")
    with ExitStack() as stack:
        preparing = stack.enter_context(ThreadPoolExecutor(1)).submit(renderer.prepare) if prepare else None
        if not hub.is_native(folder):
            for option, said in (("quantize", quantize), ("cache_memory", kv_cache_memory_bytes)):
                if said is not None:
                    raise InvalidParameter(
                        option, f"'{option}' is not for models that transformers computes: leave it out."
                    )
            chosen = checkpoint.DTYPES.get(dtype) or torch.float32
            engine: Engine | AdaptedEngine = create_transformers_engine(
                hub.load_for_generation(folder, dtype=chosen, device=device), max_num_seqs=max_num_seqs
            )
            stack.callback(engine.close)
        else:
            chosen = checkpoint.DTYPES.get(dtype) or preferred_dtype(device)

            def create_engine(source: Path) -> Engine:
                # The engine reads the weights one by one into its own layout.
                weights = checkpoint.Checkpoint(source, dtype=chosen, device=device)
                new_engine = Engine(
                    weights, max_num_seqs=max_num_seqs, quantize=quantize, kv_cache_memory_bytes=kv_cache_memory_bytes
                )
                stack.callback(new_engine.close)
                return new_engine

            engine = (
                create_engine(folder) if base_engines is None else base_engines.engine(folder, create_engine, device)
            )
        if preparing is not None:
            wait([preparing])  # an error is left to the request that needs what cannot be built
        yield ChatService(
            name=name or (f"turnwise-{BUNDLED_MODEL}" if model in (None, BUNDLED_MODEL) else folder.resolve().name),
            created=_creation_time(folder),
            fingerprint=system_fingerprint(folder, f"{dtype} {device} {engine.kind}"),
            renderer=renderer,
            engine=engine,
            defaults=preferred,
            suppressed=suppressed,
            store=store,
            context_policy=context_policy,
        )


@contextmanager
def open_model_under_test(
    model: str | None, cache: "ResponseCache", *, sampling: Mapping[str, Any] | None = None, **serving: Any
) -> Iterator["ModelUnderTest"]:
    """A model to be evaluated as it is served; closed when the block ends.

    Args:
        model: as for `chat_service`.
        cache: what it said before.
        asked: generation parameters that differ from those it is served with.
        serving: the arguments of `chat_service`.

    Raises:
        UserError: as `chat_service` does.
    """
    from turnwise.core.chat_request import ChatRequest
    from turnwise.evaluation.system_under_test import ModelUnderTest

    with open_chat_service(
        model, base_engines=SharedBaseEngines(), **serving
    ) as service:  # adapters too are computed as they are served
        yield ModelUnderTest(
            service.name,
            service.engine,
            service.renderer,
            lambda history, said, tools: service.build_request(ChatRequest(history, sampling=said, tools=tools)),
            dict(sampling or {}),
            service.fingerprint,
            cache,
        )


def load_renderer(model: str | None) -> Renderer:
    """How a model is told what was said, without its weights. Raises `UserError` where the folder holds no model."""
    return Renderer.from_tokenizer(Tokenizer.load(resolve_model_folder(model)))


def _preload_torch() -> None:
    """Have torch's libraries read from disk in one go.

    Importing them page by page from a cold disk can take most of a minute, and the first answer waits for it.
    """
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None or not hasattr(os, "posix_fadvise"):
        return
    for library in Path(found.origin).parent.glob("lib/*.so*"):
        handle = os.open(library, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(handle)


def load_suppressed_tokens(folder: Path) -> frozenset[int]:
    """The tokens that a model's `generation_config.json` says are never said. Raises as `generation_defaults` does."""
    found = _generation_config(folder).get("suppress_tokens") or []
    if not isinstance(found, list) or not all(type(id) is int and id >= 0 for id in found):
        raise UserError(f"{folder}/generation_config.json: 'suppress_tokens' should be a list of token ids.")
    return frozenset(found)


def load_generation_defaults(folder: Path) -> dict[str, Any]:
    """The sampling parameters in a model's `generation_config.json` that are ours too.

    Raises:
        UserError: the file is damaged, or asks for what we refuse.
    """
    path, written = folder / "generation_config.json", _generation_config(folder)
    found = {name: value for name, value in written.items() if name in PARAMETER_SPECS and value is not None}
    if written.get("do_sample") is False:
        found["temperature"] = 0.0
    found.pop("seed", None)  # a fixed seed would give everybody the same dice
    try:
        GenerationParams.resolve({}, found)
    except InvalidParameter as error:
        raise UserError(f"{path}: {error}") from error
    return found


def _generation_config(folder: Path) -> dict[str, Any]:
    return read_optional_json_object(folder / "generation_config.json")


def _creation_time(folder: Path) -> int:
    """When a model, or an adapter, was made; Unix time."""
    names = ("config.json", "adapter_config.json")
    return int(next(folder / name for name in names if (folder / name).is_file()).stat().st_mtime)


def system_fingerprint(folder: Path, decoding_settings: str) -> str:
    """Changes when the weights, an adapter's base, the tokenizer, how they are decoded or what decodes them change."""
    import torch

    from turnwise.models.adapter_config import adapter_base_folder, is_adapter
    from turnwise.models.model_folders import weights_digest

    digest = hashlib.sha256(f"{__version__} {torch.__version__} {decoding_settings} {weights_digest(folder)}".encode())
    if is_adapter(folder):
        digest.update(weights_digest(adapter_base_folder(folder)).encode())
    tokenizer = folder / "tokenizer.json"
    if tokenizer.is_file():
        digest.update(tokenizer.read_bytes())
    digest.update(_code_digest().encode())
    return f"fp_{digest.hexdigest()[:12]}"


@cache
def _code_digest() -> str:
    """A digest of the code that computes answers: a sampler that was mended gives others."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for room in ("engine", "models", "text"):
        for path in sorted(file for file in (package / room).rglob("*") if file.suffix in (".py", ".cpp", ".hpp")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def open_conversation_store(url: str | None) -> Iterator[ConversationStore | None]:
    """The store at this URL, or in the person's own file; closed when the block ends. "none" gives None."""
    from turnwise.core.executors import CALL_TIMEOUT_SECONDS, STORE_WRITE_EXECUTOR
    from turnwise.core.settings import Settings
    from turnwise.store import open_store

    if url == "none":
        yield None
        return
    store = open_store(url or Settings.from_environment().store_url)
    try:
        yield store
    finally:
        STORE_WRITE_EXECUTOR.drain(CALL_TIMEOUT_SECONDS)  # answers that were cut off at the end
        store.close()
