"""`turnwise export`, `quantize` and `convert`: write a model in another format."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from turnwise.cli.console_output import Overwrite, check_output_path

GgufTypeName = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]
QuantizedTypeName = Literal["q8_0", "q4_0", "q4_1"]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Model folder, adapter folder, GGUF file or model name.")]


def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="The GGUF file to write.")],
    gguf: Annotated[
        GgufTypeName,
        typer.Option(help="Type of the matrices: floats (f32, f16, bf16), 8 bits (q8_0) or 4 bits (q4_0, q4_1)."),
    ] = "f16",
    overwrite: Overwrite = False,
) -> None:
    """Write a model as a GGUF file, for llama.cpp and the programs that use it.

    The file has the tokenizer, the chat template and the stop tokens. An adapter is merged into its base model. To
    quantize to 4 bits with less loss, use `turnwise quantize`.

    **Examples**

    ```
    turnwise export runs/mine --gguf f16 --out mine.gguf
    turnwise export runs/mine --gguf q8_0 --out mine.q8_0.gguf
    ```
    """
    _write(model, out, gguf, overwrite=overwrite, calibrate=False, calibration=None)


def quantize(
    model: Model,
    out: Annotated[Path, typer.Option(help="The GGUF file to write.")],
    type_name: Annotated[
        QuantizedTypeName,
        typer.Option("--type", help="q4_1 has a minimum per group of 32 weights and loses less than q4_0."),
    ] = "q4_1",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Dialogues or texts like those that the model will see. Default: small talk of the package.",
            metavar="FILE",
        ),
    ] = None,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Round every weight to the nearest value, in seconds.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Quantize a model to 4 or 8 bits with little loss, and write it as a GGUF file.

    The matrices are quantized with second-order information from calibration texts (GPTQ): the error of each weight is
    compensated by later ones. Turnwise computes with the file as it is, and so does llama.cpp.

    **Examples**

    ```
    turnwise quantize runs/mine --out mine.gguf --calibrate talks.jsonl
    turnwise quantize runs/mine --type q4_0 --out mine.q4_0.gguf
    turnwise chat mine.gguf
    ```
    """
    from turnwise.core.errors import InvalidParameter

    if no_calibration and calibrate is not None:
        raise InvalidParameter("calibrate", "--calibrate and --no-calibration cannot be used together.")
    _write(model, out, type_name, overwrite=overwrite, calibrate=not no_calibration, calibration=calibrate)


def convert(
    model: Model,
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the weights. auto: bfloat16 if all tensors are stored in it, else float32."),
    ] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write a model as a folder in the Hugging Face layout, for transformers and other programs.

    Blocks of a GGUF file are dequantized. Turnwise itself opens GGUF files without conversion.

    **Examples**

    ```
    turnwise convert SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2
    turnwise convert mine.gguf --out models/mine --dtype bfloat16
    ```
    """
    from turnwise.app.model_export import convert_model
    from turnwise.core.errors import InvalidParameter
    from turnwise.training.launch.run_dir import check_replaceable

    check_replaceable(out)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    dtype_name = convert_model(model, out, dtype)
    typer.echo(f"The model is in {out}, in {dtype_name}. Chat with it: turnwise chat {out}", err=True)


def _write(
    model: str, out: Path, type_name: GgufTypeName, *, overwrite: bool, calibrate: bool, calibration: Path | None
) -> None:
    from rich.console import Console

    from turnwise.app.model_export import export_gguf
    from turnwise.cli.progress_bars import progress_bar
    from turnwise.core.errors import InvalidParameter

    if out.suffix.lower() != ".gguf":
        raise InvalidParameter("out", f"{out} should be the name of a file that ends with .gguf.")
    check_output_path(out, overwrite=overwrite)
    with progress_bar(Console(stderr=True), "matrices") as on_progress:
        result = export_gguf(
            model, out, type_name, calibration=calibration, calibrate=calibrate, on_progress=on_progress
        )
    texts = f", quantized with {result.calibration_tokens:,} calibration tokens" if result.calibration_tokens else ""
    typer.echo(f"{out}: {result.num_bytes / 1e6:,.1f} MB{texts}. Chat with it: turnwise chat {out}", err=True)
