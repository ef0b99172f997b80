"""Memory of the features of words in training examples, in bytes per token.

    python benchmarks/word_feature_memory.py DATA/conll2003/train.conll.gz minilm

The examples are those of `token_classification:word_features=true`. Sentences are tokenized one by one.
"""

import argparse
import tracemalloc
from pathlib import Path

from turnwise.app.model_names import resolve_model_folder
from turnwise.data.annotations.source import AnnotationSource
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives.token_classification import TokenClassificationObjective


def main() -> None:
    """Print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", help="folder or name of an encoder")
    arguments = parser.parse_args()
    sentences = AnnotationSource(arguments.data).read()
    tokenizer = Tokenizer.load(resolve_model_folder(arguments.model))
    context = ExampleContext(Renderer(tokenizer, ""), 512)
    objective = TokenClassificationObjective(word_features=True).fit_labels(sentences)
    tracemalloc.start()
    shard = in_memory_shard(example for sentence in sentences for example in objective.examples(sentence, context))
    used, peak = tracemalloc.get_traced_memory()
    arrays = {name: array.nbytes for name, array in shard._arrays.items() if name.startswith("token_labels")}
    print(f"{shard.tokens:,} tokens")
    for name, num_bytes in arrays.items():
        print(f"{name}: {num_bytes / shard.tokens:.2f} bytes per token")
    print(f"everything: {used / shard.tokens:.1f} bytes per token, at most {peak / shard.tokens:.1f} on the way")


if __name__ == "__main__":
    main()
