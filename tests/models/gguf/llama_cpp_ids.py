"""Token ids of llama.cpp: llama_cpp_ids.py LINES.json FILE... prints, per file, the ids of each line without and with
special tokens. Runs in an interpreter that has llama_cpp."""

import json
import sys
from pathlib import Path

from llama_cpp import Llama

lines = json.loads(Path(sys.argv[1]).read_text())
result = []
for file in sys.argv[2:]:
    model = Llama(file, vocab_only=True, verbose=False)
    result.append(
        [[model.tokenize(line.encode(), add_bos=False, special=special) for line in lines] for special in (False, True)]
    )
sys.stdout.write(json.dumps(result))
