"""`turnwise merge`: an adapter into its base, or out of it again."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def merge(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder, as `turnwise train --method lora` writes it.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model.")],
    undo: Annotated[
        Path | None, typer.Option(help="Merged model; subtracts the adapter from it to get the base model back.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the saved weights; auto: the type of the base model."),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Merge an adapter into its base model, for programs that do not support adapters.

    **Examples**

    ```
    turnwise train talks.jsonl --out runs/polite --method lora
    turnwise merge runs/polite --out runs/polite-whole
    turnwise merge runs/polite --undo runs/polite-whole --out runs/base-again
    ```
    """
    import torch

    from turnwise.core.errors import InvalidParameter
    from turnwise.core.json_file import read_json_object
    from turnwise.models import checkpoint, transformers_checkpoint
    from turnwise.models.adapter_config import is_adapter
    from turnwise.models.adapters import load_adapter
    from turnwise.models.dtypes import DTYPES, hf_config_dtype
    from turnwise.models.language_model import LanguageModel
    from turnwise.models.model_folders import read_hf_config
    from turnwise.models.model_kind import full_model_folder, is_native
    from turnwise.text.tokenization.tokenizer import Tokenizer
    from turnwise.training.export import export_model
    from turnwise.training.launch.run_dir import check_replaceable
    from turnwise.training.launch.save_precision import rounding_error

    if not is_adapter(adapter):
        raise InvalidParameter("adapter", f"{adapter} holds no adapter: no adapter_config.json, or a whole model.")
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    check_replaceable(out)
    source = adapter if undo is None else undo
    if out.resolve() in (adapter.resolve(), source.resolve(), full_model_folder(source).resolve()):
        raise InvalidParameter("out", f"{out} is what the model is made of. Choose another --out.")
    change = None if undo is None else load_adapter(adapter, with_base=False).inverse()
    model: LanguageModel
    if is_native(source):
        model = checkpoint.load(source, dtype=torch.float32, adapter=change)
    else:
        model = transformers_checkpoint.load(source, adapter=change)
    published = read_hf_config(full_model_folder(source))
    saved_as = hf_config_dtype(published) if dtype == "auto" else DTYPES[dtype]
    path = source / "generation_config.json"
    generation = read_json_object(path) if path.is_file() else None
    rounding = rounding_error(model.module, saved_as)
    export_model(out, model, Tokenizer.load(source), generation=generation, dtype=saved_as)
    if saved_as != torch.float32:
        name = str(saved_as).removeprefix("torch.")
        typer.echo(
            f"Saved as {name}, which rounds the sum of base and adapter: weights differ by {rounding.mean:.1e} on "
            f"average in the matrices that changed, and by {rounding.max:.1e} at most; --dtype float32 rounds "
            "none.",
            err=True,
        )
    typer.echo(f"The model is in {out}. Talk to it: turnwise chat {out}", err=True)
