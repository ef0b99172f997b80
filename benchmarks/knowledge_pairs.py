"""Quality of the searches of a knowledge base on questions and answers of dialogues (`knowledge.py`)."""

import gzip
import json
import tempfile
from pathlib import Path

from turnwise.app.knowledge.encoder import ModelEncoder
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.app.knowledge.questions import mean_with_interval
from turnwise.core.knowledge import NewDocument, NewPassage
from turnwise.retrieval.fusion_tuning import MODES, JudgedQuery, measure, tune
from turnwise.retrieval.hybrid_index import NUM_CANDIDATES
from turnwise.store import open_knowledge_store


def measure_pairs(pairs: Path, encoder: str, max_pairs: int) -> None:
    """Print recall and nDCG of the three searches on questions and answers."""
    dialogues = read_pairs(pairs, max_pairs)
    with tempfile.TemporaryDirectory() as name:
        store = open_knowledge_store(f"sqlite:///{Path(name) / 'knowledge.db'}")
        base = KnowledgeBase(Path(name), store, ModelEncoder(encoder))
        store.add(NewDocument(pairs.name, "0" * 64), (NewPassage(answer, 0, len(answer)) for _, answer in dialogues))
        base.update_lexical(seconds=600)
        base.embed()
        counts = store.scope_counts("")
        assert counts is not None
        questions = [JudgedQuery(text, frozenset({number})) for number, (text, _) in enumerate(dialogues, 1)]
        tuning, held_out = questions[::2], questions[1::2]
        weight = tune(base.index, counts, tuning).weight
        print(
            f"{pairs}: {len(questions)} passages, {len(held_out)} questions, weight {weight:g} of {len(tuning)} others"
        )
        print("| search | recall@5 | nDCG@10 |\n| --- | --- | --- |")
        for mode in MODES:
            candidates = [base.index.candidates(q.query, NUM_CANDIDATES, counts, {}, mode) for q in held_out]
            result = measure(candidates, held_out, {"lexical": 0.0, "dense": 1.0}.get(mode, weight))
            cells = []
            for values_Q in (result.recall_Q, result.ndcg_Q):
                value = mean_with_interval(values_Q)
                bounds = "" if value.interval is None else f" [{value.interval.low:.3f}, {value.interval.high:.3f}]"
                cells.append(f"{value.mean:.3f}{bounds}")
            print(f"| {mode} | {' | '.join(cells)} |")
        base.close()


def read_pairs(path: Path, max_pairs: int) -> list[tuple[str, str]]:
    """First questions and answers of dialogues; an answer that occurs again is left out."""
    pairs: dict[str, str] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            messages = json.loads(line)["messages"]
            turn = [message["content"] for message in messages if message["role"] in ("user", "assistant")][:2]
            if len(turn) == 2 and turn[1].strip():
                pairs.setdefault(turn[1], turn[0])
            if len(pairs) == max_pairs:
                break
    return [(question, answer) for answer, question in pairs.items()]
