"""Builds an embedding service from a model folder: tokenizer, settings of sentence-transformers, encoder engine."""

from pathlib import Path

from turnwise.app.model_names import resolve_model_folder
from turnwise.chat.embedding_service import EncoderEmbeddingService
from turnwise.core.errors import InvalidParameter, UserError
from turnwise.core.system_memory import check_fits
from turnwise.models.encoder_config import read_encoder_config
from turnwise.models.sentence_encoder_config import read_sentence_encoder_config
from turnwise.models.stored_models import stored_model_name
from turnwise.models.tensor_files import TensorFiles
from turnwise.text.tokenization.embedding_tokenizer import EmbeddingTokenizer
from turnwise.text.tokenization.tokenizer import Tokenizer

INT8 = "int8"


def open_embedding_service(
    model: str, *, quantize: str | None = None, threads: int | None = None, name: str | None = None
) -> EncoderEmbeddingService:
    """Open an embedding model.

    Args:
        model: an encoder, as `resolve_model_folder` accepts it: a name of the model store, or a folder.
        quantize: "int8" quantizes the weights to 8 bits; None leaves them as they are.
        threads: number of threads; None is the default of the engine.
        name: the served model name. Default: the name in the store, or of the folder.

    Raises:
        InvalidParameter: an unknown quantization, or one that this machine cannot compute.
        ModelNotFound: there is no such model.
        UserError: the model is not an encoder, or a setting of it is not supported.
    """
    folder = check_embedding_model(model, quantize)
    config, settings = read_encoder_config(folder), read_sentence_encoder_config(folder)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size:,} tokens, the model only {config.vocab_size:,}."
        )
    max_length = min(settings.max_length or config.num_positions, config.num_positions)
    if max_length <= sum(map(len, tokenizer.added_ids)):
        raise UserError(f"{folder}: the maximum length of {max_length} tokens leaves no space for a text.")
    bits_per_weight = 8 if quantize == INT8 else 32
    check_fits(bits_per_weight * TensorFiles(folder).num_elements // 8, f"The embedding model in {folder}")
    # Importing torch takes seconds, so every check that does without it comes first.
    from turnwise.engine.encoder_engine import EncoderEngine
    from turnwise.models.encoder_weights import EncoderCheckpoint

    engine = EncoderEngine(EncoderCheckpoint(folder), settings.pooling, is_int8=quantize == INT8, threads=threads)
    return EncoderEmbeddingService(
        name=name or stored_model_name(folder) or Path(folder).resolve().name,
        created=int((folder / "config.json").stat().st_mtime),
        tokenizer=EmbeddingTokenizer(
            tokenizer, max_length, settings.is_lower_cased, settings.prefixes, settings.default_type
        ),
        embedder=engine,
    )


def check_embedding_model(model: str, quantize: str | None) -> Path:
    """The folder of an embedding model, checked as far as its config allows, before anything large is loaded.

    Raises:
        InvalidParameter: an unknown quantization.
        ModelNotFound: there is no such model.
        UserError: the model is not an encoder, or a setting of it is not supported.
    """
    if quantize not in (None, INT8):
        raise InvalidParameter("embedding_quantize", f"Embedding models can be quantized to {INT8} only.")
    folder = resolve_model_folder(model)
    read_encoder_config(folder)
    return folder
