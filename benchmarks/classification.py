"""Speed and memory of classifying and tagging texts, compared with the pipelines of transformers on the same weights.

    python benchmarks/classification.py TEXTS [--encoder minilm] [--texts 1000] [--rounds 5]
    python benchmarks/classification.py TEXTS --agreement financial-sentiment --tasks

TEXTS has a text per line, or is a CSV file with the column `text`; both may end in .gz. A random head is put on an
encoder, and written as a classifier of Turnwise and as a model of transformers; "same results" is the share of texts
for which both predict the same in float32: not all of them when tagging, because they split words and sentences
differently.
Turnwise runs in process and behind `turnwise serve` (one request after the other); the
pipelines get all texts at once with a batch size. Every side runs in its own process and waits while another one is
measured. The sides are measured in rotation; speeds and ratios are medians over rounds. Memory is the peak of the
process (Linux only); that of the server has the chat model `tiny` in it. A second table compares the labels of int8
with those of float32, for the random heads and for the trained classifiers of `--agreement`.
"""

import argparse
import csv
import gzip
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

from embedding_speed import SIDES, Side
from turnwise.app.classifiers import open_classifier
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.text_classifier import sentence_of
from turnwise.models.classifier import Classifier, add_classifier
from turnwise.models.classifier_config import ClassifierConfig
from turnwise.models.classifier_outputs import label_probabilities
from turnwise.models.encoder_model import EncoderModel
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.text.words import iterate_sentences
from turnwise.training.export import export_model

CONFIGS = {
    "classify": ClassifierConfig(
        "sequence_classification", tuple(f"label {number}" for number in range(77)), pooling="first"
    ),
    "tag": ClassifierConfig(
        "token_classification",
        ("O", *(f"{prefix}-{name}" for name in ("PER", "LOC", "ORG", "MISC") for prefix in "BI")),
    ),
}
TAGGED_SHARE = 0.15  # of the words, as in news
POOLER_SCALE = 1e-3  # tanh(x) = x to 7 digits for inputs of this size


def read_texts(path: Path, count: int) -> list[str]:
    """The first `count` texts of a file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
        is_csv = ".csv" in path.suffixes
        rows = (row["text"] for row in csv.DictReader(file)) if is_csv else map(str.strip, file)
        return [text for text in rows if text.strip()][:count]


def make_classifier(folder: Path, encoder: Path, config: ClassifierConfig, texts: list[str]) -> Classifier:
    """Write a classifier with a random head. A tagger's "O" is as probable as `TAGGED_SHARE` says."""
    tokenizer = Tokenizer.load(encoder)
    classifier = add_classifier(EncoderModel.load(encoder), config, dropout=0.0, seed=0)
    classifier.module.eval()
    with torch.no_grad():
        classifier.head.linear.weight *= 20  # makes probabilities differ between texts
        if config.task == "token_classification":
            margins_N = torch.cat([outside_margins(classifier, tokenizer.encode(text)[:200]) for text in texts[:50]])
            classifier.head.linear.bias[0] += margins_N.quantile(1 - TAGGED_SHARE)
    export_model(folder, classifier, tokenizer)
    return classifier


def outside_margins(classifier: Classifier, ids: list[int]) -> torch.Tensor:
    """By how much the highest logit of a tag is above that of "O", for every token."""
    ids_1T = torch.tensor([ids])
    is_labelled_1T = torch.ones_like(ids_1T, dtype=torch.bool)
    positions_1T = torch.arange(len(ids))[None]
    logits_NK = classifier.word_logits(ids_1T, is_labelled_1T, torch.ones_like(ids_1T), positions_1T)
    return logits_NK[:, 1:].amax(dim=1) - logits_NK[:, 0]


def export_to_transformers(folder: Path, encoder: Path, classifier: Classifier) -> None:
    """Write the same model for transformers. Its pooler, which Turnwise does not have, becomes the identity."""
    is_tagger = classifier.config.task == "token_classification"
    model_class = AutoModelForTokenClassification if is_tagger else AutoModelForSequenceClassification
    labels = dict(enumerate(classifier.config.labels))
    model = model_class.from_pretrained(
        encoder, num_labels=len(labels), id2label=labels, label2id={label: id for id, label in labels.items()}
    )
    scale = 1.0 if is_tagger else POOLER_SCALE
    with torch.no_grad():
        if not is_tagger:
            pooler = model.base_model.pooler.dense
            pooler.weight.copy_(POOLER_SCALE * torch.eye(pooler.weight.shape[0]))
            pooler.bias.zero_()
        model.classifier.weight.copy_(classifier.head.linear.weight / scale)
        model.classifier.bias.copy_(classifier.head.linear.bias)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.model_max_length = classifier.context_length
    tokenizer.save_pretrained(folder)


class HttpSide:
    """A classifier behind a running `turnwise serve`, with one connection."""

    def __init__(self, url: str, pid: int, route: str, texts: list[str]) -> None:
        self.pid, self._route, self._texts = pid, route, texts
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)

    def measure(self, batch: str, count: int) -> dict:
        """Send `count` texts, `batch` in a request; returns seconds and the first results."""
        texts, results = self._texts[:count], []
        start = time.perf_counter()
        for i in range(0, len(texts), int(batch)):
            body = json.dumps({"model": "latest", "input": texts[i : i + int(batch)]})
            self._connection.request("POST", f"/v1/{self._route}", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 200:
                raise SystemExit(f"The server answered {response.status}: {answer['error']['message']}")
            results += answer["data"]
        return {"seconds": time.perf_counter() - start, "results": [_result(entry) for entry in results[:100]]}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _result(entry: dict) -> object:
    if "spans" in entry:
        return [[span["start"], span["end"], span["label"]] for span in entry["spans"]]
    return entry["scores"][0]["label"]


@contextmanager
def serve(folder: Path, threads: int, *options: str) -> Iterator[tuple[str, int]]:
    """Context manager: `turnwise serve` with a classifier; yields the URL and the process id."""
    command = [sys.executable, "-m", "turnwise", "serve", "tiny", "--port", "0", "--store", "none",
               "--threads", str(threads), "--classifier", str(folder), *options]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "COLUMNS": "200", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "listens on " in line:
                    yield line.split("listens on ")[1].split()[0], process.pid
                    return
            raise SystemExit(f"The server ended; run it alone to see why: {' '.join(command)}")
        finally:
            process.terminate()


def peak_memory(pid: int) -> float:
    """Peak of the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def measure_task(task: str, texts: list[str], encoder: Path, args: argparse.Namespace) -> None:
    """Measure one task and print its rows."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        classifier = make_classifier(root / task, encoder, CONFIGS[task], texts)
        export_to_transformers(root / "transformers", encoder, classifier)
        (root / "texts.json").write_text(json.dumps(texts), encoding="utf-8")

        def start(script: str, folder: Path, *options: str) -> Side:
            arguments = [str(folder), str(root / "texts.json"), str(args.threads), *options]
            return Side([sys.executable, str(SIDES / script), *arguments], args.threads)

        def start_server(*options: str) -> HttpSide:
            return HttpSide(*stack.enter_context(serve(root / task, args.threads, *options)), task, texts)

        sides = {
            "transformers": start("transformers_classification_side.py", root / "transformers"),
            "in process": start("turnwise_classification_side.py", root / task),
            "HTTP": start_server(),
            "int8 in process": start("turnwise_classification_side.py", root / task, "int8"),
            "int8 HTTP": start_server("--classifier-quantize", "int8"),
        }
        for side in sides.values():
            stack.callback(side.close)
        for batch in map(str, args.batch_sizes):
            for side in sides.values():
                side.measure(batch, min(len(texts), 64))  # warms up
            rounds = [
                {name: side.measure(batch, len(texts)) for name, side in sides.items()} for _ in range(args.rounds)
            ]
            cells = []
            for name, side in sides.items():
                seconds = [results[name]["seconds"] for results in rounds]
                peers = [results["transformers"]["seconds"] for results in rounds]
                ratio = statistics.median(peer / ours for ours, peer in zip(seconds, peers, strict=True))
                speed = f"{len(texts) / statistics.median(seconds):,.0f} texts/s"
                ratio_text = "" if name == "transformers" else f", {ratio:.2f}×"
                cells.append(f"{speed}{ratio_text}, {peak_memory(side.pid):,.0f} MB")
            pairs = zip(rounds[0]["in process"]["results"], rounds[0]["transformers"]["results"], strict=True)
            same = statistics.mean(ours == peer for ours, peer in pairs)
            print(f"| {task} | {batch} | {' | '.join(cells)} | {same:.0%} |", flush=True)


def print_agreement(model: str, texts: list[str], threads: int) -> None:
    """Print the share of equal labels of int8 and float32, and the largest difference of a probability."""
    exact, rounded = (open_classifier(model, quantize=quantize, threads=threads) for quantize in (None, "int8"))
    if exact.config.task == "token_classification":
        sentences = [sentence_of([word.text for word in words]) for text in texts for words in iterate_sentences(text)]
        tagged, int8_tagged = (
            [word for row in side.tag_words(sentences) for word in zip(*row, strict=True)] for side in (exact, rounded)
        )
        words = [(*left, *right) for left, right in zip(tagged, int8_tagged, strict=True)]
        same = statistics.mean(tag == int8_tag for tag, _, int8_tag, _ in words)
        difference = max(abs(p - q) for tag, p, int8_tag, q in words if tag == int8_tag)
    else:
        left, right = (label_probabilities(side.text_logits(texts)[0], side.config) for side in (exact, rounded))
        same, difference = (left.argmax(1) == right.argmax(1)).mean(), abs(left - right).max()
    print(f"| {model} | {same:.2%} | {difference:.3f} |", flush=True)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts_file", type=Path, metavar="TEXTS")
    parser.add_argument("--encoder", default="minilm", help="a BERT encoder: folder or name")
    parser.add_argument("--agreement", nargs="*", default=[], metavar="MODEL", help="trained classifiers to quantize")
    parser.add_argument("--tasks", nargs="*", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--texts", type=int, default=1000, help="number of texts")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32], help="texts of a call or request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    texts, encoder = read_texts(args.texts_file, args.texts), resolve_model_folder(args.encoder)
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"{len(texts)} texts of {args.texts_file}, {args.threads} threads, median of {args.rounds} rounds\n")
    if args.tasks:
        print("| command | texts at once | transformers | in process | HTTP | int8 in process | int8 HTTP | same |")
        print("| --- " * 8 + "|")
    for task in args.tasks:
        measure_task(task, texts, encoder, args)
    print("\n| int8 beside float32 | same labels | largest difference of a probability |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as root:
        for task in args.tasks:
            make_classifier(Path(root, task), encoder, CONFIGS[task], texts)
            print_agreement(str(Path(root, task)), texts, args.threads)
    for model in args.agreement:
        print_agreement(model, texts, args.threads)


if __name__ == "__main__":
    main()
