"""Builds a chat service from a model folder: renderer, engine and generation defaults."""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from turnwise.app.context_limit import ContextLimitedEngine
from turnwise.app.generation_defaults import load_generation_defaults, load_suppressed_tokens
from turnwise.app.model_attention import open_attention
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_versions.version_reference import model_of_version_folder
from turnwise.app.scope_files import read_scope, scope_base_folder
from turnwise.app.scoped_engine import AnsweringModel, ScopedEngine
from turnwise.app.shared_base_engines import SharedBaseEngines
from turnwise.app.system_fingerprint import system_fingerprint
from turnwise.chat.context_policies import CONTEXT_POLICIES, DEFAULT_CONTEXT_POLICY
from turnwise.chat.formats import apply_format, load_format
from turnwise.chat.service import EngineChatService
from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.inference import Quantization
from turnwise.core.reply_scoring import BestOfRanking, ChoiceRanker
from turnwise.core.served_versions import AnsweringVersion
from turnwise.core.stored_conversations import ConversationStore
from turnwise.models.bundled_models import bundled_model_at
from turnwise.models.discriminator_folder import find_discriminator
from turnwise.models.model_kind import check_servable, full_model_folder
from turnwise.models.stored_models import stored_model_name
from turnwise.text.chat_templates.prompt_template import prepend_prompt
from turnwise.text.question_scope import QuestionScope
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from turnwise.engine.adapted_engine import AdaptedEngine
    from turnwise.engine.engine import Engine
    from turnwise.engine.transformers_engine import TransformersEngine

DEVICES = ("auto", "cpu", "cuda")


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
    format: str | None = None,
    system_prompt: str | None = None,
    max_model_len: int | None = None,
    base_engines: SharedBaseEngines | None = None,
    prepare: bool = False,
    version: AnsweringVersion | None = None,
    best_of: BestOfRanking = "likelihood",
) -> Iterator[EngineChatService]:
    """Open a chat service for a model; its engine is closed when the block ends.

    Args:
        model: a model or adapter, as `resolve_model_folder` accepts it. None opens the default model.
        dtype: dtype of the weights: "auto" or a name in `models.dtypes.DTYPES`. With "auto", a GGUF file is computed
            in the formats that it is stored in.
        device: "auto", "cpu" or "cuda".
        quantize: "int8" or "int4" quantizes the weights; None leaves them as they are.
        kv_cache_memory_bytes: size of the KV cache. None: enough for `max_num_seqs` full contexts, up to a share of
            the machine's memory.
        max_num_seqs: maximum number of sequences in a batch.
        threads: processor threads of torch; None leaves torch's default.
        store: the store for requests with a conversation id; None stores nothing.
        defaults: generation parameters that replace those of the model's `generation_config.json`.
        name: the served model name; default: the folder's name.
        context_policy: the default context policy.
        format: interaction format, as `chat.formats.load_format` accepts it. None: the one of the model's template.
        system_prompt: system message of conversations without one; trusted.
        max_model_len: use only so many tokens of the model's context.
        base_engines: engines of base models that adapters share; default: one of its own.
        prepare: build in a thread, while the weights load, what the first constrained requests need.
        version: version of the model, which is stored with answers.
        best_of: what ranks the choices of requests with `best_of`; "discriminator" is the one in the model folder.

    Raises:
        InvalidParameter: an unknown device, dtype, quantization or context policy, or one that does not fit the model.
        ModelNotFound: the model folder does not exist.
        UserError: the model cannot be loaded, or has no discriminator for `best_of`.
    """
    CONTEXT_POLICIES.load(context_policy)
    interaction_format = None if format is None else load_format(format)
    folder = resolve_model_folder(model)
    _check_choice("device", "device", device, DEVICES)
    if quantize is not None:
        _check_choice("quantize", "type", quantize, get_args(Quantization))
    # Importing torch takes seconds, so every check that does without it comes first.
    check_servable(folder)
    if best_of == "discriminator":
        find_discriminator(folder)
    scope = read_scope(folder)
    outside = None if scope is None else scope_base_folder(folder, scope)
    defaults = {**load_generation_defaults(folder), **(defaults or {})}
    suppressed = load_suppressed_tokens(folder)
    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    if interaction_format is not None:
        tokenizer = apply_format(tokenizer, interaction_format)
    if system_prompt is not None:
        tokenizer = _with_system_prompt(tokenizer, system_prompt)
    renderer = Renderer.from_tokenizer(tokenizer)
    _preload_torch()
    import torch

    from turnwise.models.dtypes import DTYPES

    _check_choice("dtype", "dtype", dtype, [*DTYPES, "auto"])
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidParameter("device", "PyTorch finds no usable GPU. Use --device cpu.")
    with ExitStack() as stack:
        preparation = stack.enter_context(ThreadPoolExecutor(1)).submit(renderer.prepare) if prepare else None
        open_engine = partial(
            _open_engine, stack, dtype=dtype, device=device, quantize=quantize,
            kv_cache_memory_bytes=kv_cache_memory_bytes, max_num_seqs=max_num_seqs,
            base_engines=SharedBaseEngines() if base_engines is None else base_engines,
        )  # fmt: skip

        def open_model(folder: Path) -> AnsweringModel:
            engine = open_engine(folder)
            return AnsweringModel(engine, system_fingerprint(folder, f"{dtype} {device} {engine.kind}"))

        answering = open_model(folder)
        engine = answering.engine
        if scope is not None and outside is not None:
            engine = ScopedEngine(QuestionScope(scope.scope), answering, open_model(outside))
        if preparation is not None:
            wait([preparation])  # its error is not raised: the request that needs the result raises it
        yield EngineChatService(
            name=name or default_served_name(folder),
            created=_creation_time(folder),
            fingerprint=answering.fingerprint,
            renderer=renderer,
            engine=engine if max_model_len is None else ContextLimitedEngine(engine, max_model_len),
            defaults=defaults,
            suppressed=suppressed,
            store=store,
            context_policy=context_policy,
            format=interaction_format,
            version=version,
            ranker=_open_ranker(folder, tokenizer, threads) if best_of == "discriminator" else None,
            attention_reader=open_attention(folder, outside, engine),
        )


def _with_system_prompt(tokenizer: Tokenizer, system_prompt: str) -> Tokenizer:
    """The tokenizer with a template that adds a system message. Raises `InvalidParameter` for a special token in it."""
    if special := [token for token in tokenizer.special_tokens if token in system_prompt]:
        raise InvalidParameter(
            "prompt_template", f"The prompt contains {special[0]}, a special token of this model: leave it out."
        )
    template = Renderer.from_tokenizer(tokenizer).chat_template
    return tokenizer.with_chat_template(prepend_prompt(template, system_prompt))


def _open_ranker(folder: Path, tokenizer: Tokenizer, threads: int | None) -> ChoiceRanker:
    from turnwise.app.discriminators import open_ranker

    return open_ranker(folder, tokenizer, threads=threads)


def default_served_name(folder: Path) -> str:
    """The name that a model is served by unless another one is set."""
    if bundled_model_at(folder) is not None:
        return f"turnwise-{folder.name}"
    return model_of_version_folder(folder) or stored_model_name(folder) or folder.resolve().name


def _open_engine(
    stack: ExitStack,
    folder: Path,
    dtype: str,
    device: str,
    quantize: Quantization | None,
    kv_cache_memory_bytes: int | None,
    max_num_seqs: int,
    base_engines: SharedBaseEngines,
) -> "Engine | AdaptedEngine | TransformersEngine":
    """Load the weights into an engine that `stack` closes."""
    import torch

    from turnwise.engine.engine import Engine
    from turnwise.engine.runners.model_runner import preferred_dtype
    from turnwise.engine.transformers_engine import create_transformers_engine
    from turnwise.models import checkpoint, transformers_checkpoint
    from turnwise.models.dtypes import DTYPES
    from turnwise.models.model_kind import is_native

    if not is_native(folder):
        for option, value in (("quantize", quantize), ("kv_cache_gb", kv_cache_memory_bytes)):
            if value is not None:
                raise InvalidParameter(option, f"'{option}' cannot be used with models that transformers runs.")
        torch_dtype = DTYPES.get(dtype) or torch.float32
        loaded_model = transformers_checkpoint.load_for_generation(folder, dtype=torch_dtype, device=device)
        engine = create_transformers_engine(loaded_model, max_num_seqs=max_num_seqs)
        stack.callback(engine.close)
        return engine
    torch_dtype = DTYPES.get(dtype) or preferred_dtype(device)

    def create_engine(source: Path) -> Engine:
        # The engine reads the weights tensor by tensor into its own layout.
        # An explicit dtype asks for floats, also of a GGUF file.
        weights = checkpoint.Checkpoint(source, dtype=torch_dtype, device=device, dequantize=dtype != "auto")
        return Engine(
            weights, max_num_seqs=max_num_seqs, quantize=quantize, kv_cache_memory_bytes=kv_cache_memory_bytes
        )

    return base_engines.open(stack, folder, create_engine, device)


def _check_choice(parameter: str, noun: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidParameter(parameter, f"Unknown {noun} '{value}': {did_you_mean(value, choices)}")


def _preload_torch() -> None:
    """Ask the kernel to read torch's libraries ahead.

    An import from a cold disk reads them page by page, which can take most of a minute.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or not hasattr(os, "posix_fadvise"):
        return
    for library in Path(spec.origin).parent.glob("lib/*.so*"):
        descriptor = os.open(library, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _creation_time(folder: Path) -> int:
    """The modification time of the model's configuration, in Unix seconds."""
    names = ("config.json", "adapter_config.json")
    return int(next(folder / name for name in names if (folder / name).is_file()).stat().st_mtime)
