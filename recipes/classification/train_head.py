"""Trains the head of a classifier on a frozen encoder: train_head.py RECIPE [--decay 0.001 0.01]

RECIPE names the encoder, the labelled texts (`train` and `valid`), the objective with an optional `none_label`, and
the folder. The vectors of the texts are computed once, and the linear layer is fitted to them by L-BFGS, which takes
seconds and has no learning rate. Of the values of the weight decay the one with the lowest cross-entropy on the
validation texts is kept. The result has the files of the method `lora`, with an adapter that changes nothing.

Shapes: N texts, C hidden size, L logits.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.text_classifier import TextClassifier
from turnwise.core.files import atomic_directory
from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource
from turnwise.engine.classifier_engine import ClassifierEngine, encoder_hidden_states
from turnwise.models.adapters import save_adapter
from turnwise.models.classifier import ClassificationHead
from turnwise.models.classifier_config import CLASSIFIER_WEIGHTS_FILE, ClassifierConfig
from turnwise.models.encoder_weights import EncoderCheckpoint
from turnwise.models.safetensors_writer import save_safetensors
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.objectives.sequence_classification import SequenceClassificationObjective
from turnwise.training.recipe import load_recipe

MAX_ITERATIONS = 100
DECAYS = (1e-3, 3e-3, 1e-2)


def main(options: argparse.Namespace) -> None:
    """Train the head, and write the folder."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    recipe = load_recipe(options.recipe)
    encoder = resolve_model_folder(recipe.model.source)
    splits = {
        name: [text for source in sources for text in read_texts(Path(source.path))]
        for name, sources in (("train", recipe.data.train), ("valid", recipe.data.valid))
    }
    objective = recipe.objective
    assert isinstance(objective, SequenceClassificationObjective), "the recipe trains a classifier of texts"
    objective = objective.fit_labels(splits["train"])
    config = ClassifierConfig(
        "sequence_classification", objective.labels, objective.none_label, max_tokens=recipe.training.max_seq_len
    )
    names = [*config.labels, *([] if config.none_label is None else [config.none_label])]
    targets = {name: torch.tensor([names.index(text.labels[0]) for text in texts]) for name, texts in splits.items()}
    vectors = {
        name: text_vectors(encoder, config, [text.text for text in texts], options.threads)
        for name, texts in splits.items()
    }
    heads = []
    for decay in options.decay:
        head = fit_head(vectors["train"], targets["train"], config, decay)
        logits_NL = head(vectors["valid"])
        loss = F.cross_entropy(logits_NL, targets["valid"]).item()
        accuracy = (logits_NL.argmax(dim=1) == targets["valid"]).double().mean().item()
        print(f"weight decay {decay:g}: cross-entropy {loss:.3f}, accuracy {accuracy:.1%} on the validation texts")
        heads.append((loss, head))
    write_classifier(Path(recipe.out), encoder, config, min(heads, key=lambda pair: pair[0])[1])
    print(f"{recipe.out}: {len(splits['train']):,} texts, {len(config.labels)} labels")


def read_texts(path: Path) -> list[LabeledText]:
    """The labelled texts of a file."""
    return [text for text in AnnotationSource(path).read() if isinstance(text, LabeledText)]


def text_vectors(encoder: Path, config: ClassifierConfig, texts: Sequence[str], threads: int | None) -> Tensor:
    """Mean hidden states of texts, `(N, C)`, as the classifier computes them: the logits of an identity matrix."""
    weights = EncoderCheckpoint(encoder)
    size = weights.config.hidden_size
    identity = replace(config, labels=tuple(map(str, range(size))), none_label=None)
    head = ClassificationHead(identity, size)
    with torch.no_grad():
        head.linear.weight.copy_(torch.eye(size))
    engine = ClassifierEngine(encoder_hidden_states(weights, threads=threads), head, identity)
    classifier = TextClassifier(identity, Tokenizer.load(encoder, encoder), engine, config.max_tokens or 512)
    return torch.from_numpy(classifier.text_logits(texts)[0])


def fit_head(vectors_NC: Tensor, targets_N: Tensor, config: ClassifierConfig, decay: float) -> ClassificationHead:
    """A head with the least cross-entropy and weight decay on standardized vectors."""
    mean_C, scale_C = vectors_NC.mean(dim=0), vectors_NC.std(dim=0).clamp(min=1e-6)
    inputs_NC = (vectors_NC - mean_C) / scale_C
    weight_LC = torch.zeros(config.num_logits, inputs_NC.shape[1], requires_grad=True)
    bias_L = torch.zeros(config.num_logits, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_LC, bias_L], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs_NC @ weight_LC.T + bias_L, targets_N) + decay * weight_LC.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    head = ClassificationHead(config, inputs_NC.shape[1]).eval()
    with torch.no_grad():
        head.linear.weight.copy_(weight_LC / scale_C)
        head.linear.bias.copy_(bias_L - head.linear.weight @ mean_C)
    return head.requires_grad_(False)


def write_classifier(target: Path, encoder: Path, config: ClassifierConfig, head: ClassificationHead) -> None:
    """Write an adapter without updates, and the head."""
    with atomic_directory(target) as folder:
        save_adapter(folder, {}, base=encoder, rank=1, alpha=1, dropout=0.0, task_type="")
        save_safetensors(
            {name: tensor.contiguous() for name, tensor in head.state_dict().items()}, folder / CLASSIFIER_WEIGHTS_FILE
        )
        config.save(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--decay", type=float, nargs="+", default=DECAYS, help="values of the weight decay to compare")
    parser.add_argument("--threads", type=int, help="number of threads (default: as many as cores)")
    main(parser.parse_args())
