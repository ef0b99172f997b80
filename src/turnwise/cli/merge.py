"""`turnwise merge`: merge an adapter into its base model, or subtract it again."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def merge(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="Adapter folder, as `turnwise train --method lora` writes it.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the merged model.")],
    unmerge: Annotated[
        Path | None,
        typer.Option(
            help="Subtract the adapter from this merged model and write the base model to OUT.", metavar="MERGED"
        ),
    ] = None,
    save_dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the saved weights. auto: the type of the base model."),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Merge an adapter into its base model, for programs that do not support adapters.

    **Examples**

    ```
    turnwise train talks.jsonl --out runs/polite --method lora
    turnwise merge runs/polite --out runs/merged
    turnwise merge runs/polite --unmerge runs/merged --out runs/base
    ```
    """
    import torch

    from turnwise.app.scope_files import reject_scope
    from turnwise.core.errors import InvalidParameter
    from turnwise.models import checkpoint, transformers_checkpoint
    from turnwise.models.adapter_config import is_adapter
    from turnwise.models.adapters import load_adapter
    from turnwise.models.classifier_config import is_classifier
    from turnwise.models.dtypes import DTYPES, hf_config_dtype
    from turnwise.models.generation_config import read_generation_config
    from turnwise.models.language_model import LanguageModel
    from turnwise.models.model_folders import read_hf_config
    from turnwise.models.model_kind import full_model_folder, is_native
    from turnwise.text.tokenization.tokenizer import Tokenizer
    from turnwise.training.export import export_model
    from turnwise.training.launch.run_dir import check_replaceable
    from turnwise.training.launch.save_precision import rounding_error

    if not is_adapter(adapter):
        raise InvalidParameter(
            "adapter", f"{adapter} is not an adapter folder: it has no adapter_config.json, or it is a complete model."
        )
    if is_classifier(adapter):
        raise InvalidParameter(
            "adapter", f"{adapter} is a classifier, which is used as it is: only chat models are merged."
        )
    reject_scope(adapter, "merged")
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    check_replaceable(out)
    source = adapter if unmerge is None else unmerge
    if out.resolve() in (adapter.resolve(), source.resolve(), full_model_folder(source).resolve()):
        raise InvalidParameter("out", f"{out} is one of the inputs. Choose another --out.")
    inverse = None if unmerge is None else load_adapter(adapter, with_base=False).inverse()
    model: LanguageModel
    if is_native(source):
        model = checkpoint.load(source, dtype=torch.float32, adapter=inverse)
    else:
        model = transformers_checkpoint.load(source, adapter=inverse)
    config = read_hf_config(full_model_folder(source))
    dtype = hf_config_dtype(config) if save_dtype == "auto" else DTYPES[save_dtype]
    generation = read_generation_config(source)
    rounding = rounding_error(model.module, dtype)
    export_model(out, model, Tokenizer.load(source, full_model_folder(source)), generation=generation, dtype=dtype)
    if dtype != torch.float32:
        name = str(dtype).removeprefix("torch.")
        typer.echo(
            f"Saved as {name}. Rounding changes the weights of the adapted matrices by {rounding.mean:.1e} on average "
            f"and {rounding.max:.1e} at most; --save-dtype float32 avoids it.",
            err=True,
        )
    typer.echo(f"The model is in {out}. Chat with it: turnwise chat {out}", err=True)
