"""Perplexity of 4-bit GGUF files: rounded to the nearest values, with calibration (GPTQ), and by llama-quantize.

    python benchmarks/quantization_perplexity.py MODEL DIALOGUES [DIALOGUES ...] --limit 8
    python benchmarks/quantization_perplexity.py smollm2 DIALOGUES --llama-python VENV/bin/python

DIALOGUES are files of held-out dialogues; perplexity is per token of whole dialogues in the chat template. Every file
is computed in float32 from its dequantized weights, so the differences are those of the weights alone. With
`--llama-python`, a Python that has llama_cpp, llama.cpp quantizes an F16 export of the same model to Q4_0.
"""

import argparse
import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

from turnwise.app.model_export import export_gguf
from turnwise.app.model_names import resolve_model_folder
from turnwise.core.messages import Conversation
from turnwise.data.sources import read_source
from turnwise.models import checkpoint
from turnwise.models.model_kind import full_model_folder
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer

# Name of a file: its format, and whether it is calibrated.
VARIANTS = {
    "Q4_0 nearest": ("q4_0", False), "Q4_0 GPTQ": ("q4_0", True),
    "Q4_1 nearest": ("q4_1", False), "Q4_1 GPTQ": ("q4_1", True),
}  # fmt: skip
QUANTIZE = """
import llama_cpp, sys
params = llama_cpp.llama_model_quantize_default_params()
params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, 2
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), params))
"""


def token_ids(renderer: Renderer, path: Path, limit: int, max_length: int) -> Iterator[torch.Tensor]:
    """Ids of the first dialogues of a file in the chat template, `(1, T)` each."""
    dialogues = (item for item in read_source(path) if isinstance(item, Conversation))
    for dialogue in islice(dialogues, limit):
        ids = renderer.render(dialogue.messages).ids[:max_length]
        yield torch.tensor([ids])


@torch.inference_mode()
def perplexity(folder: Path, texts: Sequence[torch.Tensor]) -> float:
    """Perplexity per token of a model that is computed in float32."""
    decoder = checkpoint.load(folder, dtype=torch.float32).decoder
    nats, num_tokens = 0.0, 0
    for ids_1T in texts:
        logits_TV = decoder.logits(decoder(ids_1T))[0]
        nats += float(torch.nn.functional.cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="sum"))
        num_tokens += ids_1T.shape[1] - 1
    return math.exp(nats / num_tokens)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("dialogues", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=8, help="dialogues of each file")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of each dialogue")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--calibrate", type=Path, help="calibration texts; default: those of the package")
    parser.add_argument("--llama-python", help="a Python that has llama_cpp")
    args = parser.parse_args()
    folder = resolve_model_folder(args.model)
    renderer = Renderer.from_tokenizer(Tokenizer.load(folder, full_model_folder(folder)))
    texts = {path: list(token_ids(renderer, path, args.limit, args.max_length)) for path in args.dialogues}
    exact = {path: perplexity(folder, ids) for path, ids in texts.items()}
    print("| file | " + " | ".join(path.stem for path in texts) + " |")
    print("| --- |" + " --- |" * len(texts))
    print("| unquantized | " + " | ".join(f"{value:.2f}" for value in exact.values()) + " |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.variants:
            gguf_type, calibrate = VARIANTS[name]
            path = Path(temporary) / f"{gguf_type}-{calibrate}.gguf"
            export_gguf(args.model, path, gguf_type, calibrate=calibrate, calibration=args.calibrate)
            print_row(name, path, texts, exact)
        if args.llama_python:
            source, target = Path(temporary) / "f16.gguf", Path(temporary) / "llama-quantize.gguf"
            export_gguf(args.model, source, "f16", calibrate=False)
            subprocess.run([args.llama_python, "-c", QUANTIZE, source, target], check=True, stderr=subprocess.DEVNULL)
            print_row("Q4_0 llama-quantize", target, texts, exact)


def print_row(name: str, path: Path, texts: dict[Path, list[torch.Tensor]], exact: dict[Path, float]) -> None:
    """Print the change of perplexity in percent for a GGUF file, and delete the file."""
    folder = resolve_model_folder(str(path))
    changes = [perplexity(folder, ids) / exact[file] - 1 for file, ids in texts.items()]
    print(f"| {name} | " + " | ".join(f"{change:+.1%}" for change in changes) + " |", flush=True)
    path.unlink()


if __name__ == "__main__":
    main()
