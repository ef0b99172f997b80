"""Trains the classifier of emergencies, and prints what cross-validation tells of it.

    python recipes/emergencies/train.py OUT --harmless FILE...

OUT receives `classifier.json` and `classifier.safetensors`. The files hold harmless messages (JSON lines with
`messages`, or CSV, as in `benchmarks/emergency_recall.py`). They choose the thresholds and train nothing.
Cross-validation leaves out whole kinds of emergencies, and whole lines with all of their variants. Shapes: N messages,
M harmless ones of the files, K kinds, C = 1 + K outputs.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from emergencies.linear_layers import Floats, Matrix, bucket_matrix, fit_binary, fit_kinds
from emergencies.training_messages import HARMLESS, SEED, TrainingMessage, read_training_messages

from emergency_recall import MAX_CHARS, read_texts
from turnwise.app.embedding_services import open_embedding_service
from turnwise.app.scenario_folders import find_scenario
from turnwise.chat.service_path.text_encoders import EmbeddingEncoder
from turnwise.core.files import atomic_write
from turnwise.scenarios.message_classifier import SCRIPTS, centre, script_of

L2, L2_KINDS = 1e-4, 1e-5
NUM_FOLDS = 5
NUM_PER_FILE = 500  # harmless messages of either kind that are drawn from a file
MAX_FALSE_ALARMS_CHAT, MAX_FALSE_ALARMS_HEALTH = 0.005, 0.03
MAX_WRONG_KINDS = 0.1
PROBES = ["help, my father does not breathe", "what time do you open tomorrow", "他突然倒在地上", "今天天气不错"]

HEALTH = re.compile(
    r"\b(doctor|symptom|health|pain|disease|medic|headache|fever|vitamin|illness|injur|blood pressure|diabet|cancer|"
    "allerg|pregnan|sick|hospital)|医生|症状|健康|疼|痛|疾病|吃药|感冒|发烧|失眠|血压|糖尿病|癌|过敏|怀孕|生病|医院",
    re.IGNORECASE,
)

Embed = Callable[[Sequence[str]], Floats]


def main() -> None:
    """Train, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--harmless", type=Path, nargs="+", required=True)
    parser.add_argument("--embeddings", default="e5-small")
    options = parser.parse_args()
    encoder = EmbeddingEncoder(open_embedding_service(options.embeddings))
    train(options.out, lambda texts: asyncio.run(encoder.encode(texts)), *sample_texts(options.harmless))


def sample_texts(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Distinct texts without and with a word about health, up to `NUM_PER_FILE` each of every file."""
    rng = np.random.default_rng(SEED)
    samples: tuple[list[str], list[str]] = ([], [])
    for path in paths:
        texts = list(dict.fromkeys(text for text in read_texts(path) if len(text) <= MAX_CHARS))
        for sample, is_health in zip(samples, (False, True), strict=True):
            candidates = [text for text in texts if (HEALTH.search(text) is not None) == is_health]
            sample += [candidates[index] for index in sorted(rng.permutation(len(candidates))[:NUM_PER_FILE])]
    return samples


def train(out: Path, embed: Embed, chat: list[str], health: list[str]) -> None:
    """Train with an embedding model, choose the thresholds with harmless messages, and write the files to `out`."""
    messages = read_training_messages(find_scenario("health_information"))
    is_emergency_N = np.array([message.kind != HARMLESS for message in messages])
    weights_N = np.array([message.weight for message in messages])
    kinds = sorted({message.kind for message in messages} - {HARMLESS})
    vectors_ND = embed([message.text for message in messages])
    mean_D = vectors_ND.mean(axis=0)
    layers: list[tuple[Matrix, Matrix, Matrix]] = [
        (
            bucket_matrix([message.text for message in messages]), bucket_matrix(chat), bucket_matrix(health),
        ),
        (centre(vectors_ND, mean_D), centre(embed(chat), mean_D), centre(embed(health), mean_D)),
    ]  # fmt: skip
    heads, held_out, harmless = [], [], []
    for features_NF, chat_MF, health_MF in layers:
        head_F = fit_binary(features_NF, is_emergency_N, weights_N, L2)
        held_out.append(
            {
                label: cross_validate(features_NF, is_emergency_N, weights_N, folds_N)
                for label, folds_N in choose_folds(messages, kinds).items()
            }
        )
        harmless.append([features @ head_F[:-1] + head_F[-1] for features in (chat_MF, health_MF)])
        heads.append(head_F)
    scripts_N = np.array([script_of(message.text) for message in messages])
    chat_scripts_M, health_scripts_M = (np.array([script_of(text) for text in texts]) for texts in (chat, health))
    calibrations: dict[str, dict[str, dict[str, float]]] = {"lexical": {}, "combined": {}}
    for (name, by_script), size in zip(calibrations.items(), (1, 2), strict=True):
        logits = {label: np.mean([layer[label] for layer in held_out[:size]], axis=0) for label in held_out[0]}
        chat_M, health_M = (np.mean([layer[index] for layer in harmless[:size]], axis=0) for index in (0, 1))
        for script in SCRIPTS:
            chat_S, health_S = chat_M[chat_scripts_M == script], health_M[health_scripts_M == script]
            cut = max(
                np.quantile(chat_S, 1 - MAX_FALSE_ALARMS_CHAT), np.quantile(health_S, 1 - MAX_FALSE_ALARMS_HEALTH)
            )
            rows = scripts_N == script
            slope, intercept = fit_binary(logits["kinds"][rows, None], is_emergency_N[rows], weights_N[rows], 0.0)
            threshold = float(expit(slope * cut + intercept))
            by_script[script] = {"slope": float(slope), "intercept": float(intercept), "threshold": threshold}
            print(
                f"{name}, {script}: threshold {threshold:.3f}; false alarms: {(chat_S > cut).mean():.2%} "
                f"of {len(chat_S)} on chat, {(health_S > cut).mean():.2%} of {len(health_S)} on health"
            )
            for label, values_N in logits.items():
                recall, false_alarms = (
                    np.average(values_N[subset] > cut, weights=weights_N[subset])
                    for subset in (rows & is_emergency_N, rows & ~is_emergency_N)
                )
                print(f"  {label} left out: recall {recall:.1%}, false alarms {false_alarms:.1%}", flush=True)
    kind_heads, kind_threshold = fit_kind_heads([layer[0] for layer in layers], messages, kinds, weights_N)
    write(out, heads, kind_heads, mean_D, embed(PROBES), {
        "kinds": kinds, **calibrations, "kind_threshold": kind_threshold, "probes": PROBES,
    })  # fmt: skip


def choose_folds(messages: Sequence[TrainingMessage], kinds: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Fold of each message: by kind of the emergency (harmless ones by line), and by line."""
    rng = np.random.default_rng(SEED)
    fold_of_kind = dict(zip(rng.permutation(kinds), np.arange(len(kinds)) % NUM_FOLDS, strict=True))
    fold_of_line = rng.integers(0, NUM_FOLDS, messages[-1].line + 1)
    by_line_N = fold_of_line[[message.line for message in messages]]
    by_kind_N = np.array([fold_of_kind.get(m.kind, fold) for m, fold in zip(messages, by_line_N, strict=True)])
    return {"kinds": by_kind_N, "lines": by_line_N}


def cross_validate(
    features_NF: Matrix, is_emergency_N: NDArray[np.bool_], weights_N: Floats, folds_N: NDArray[np.int64]
) -> Floats:
    """Held-out logits of all messages."""
    logits_N = np.zeros(len(folds_N))
    for fold in range(NUM_FOLDS):
        is_held_out_N = folds_N == fold
        rest_N = np.flatnonzero(~is_held_out_N)
        head_F = fit_binary(features_NF[rest_N], is_emergency_N[rest_N], weights_N[rest_N], L2)
        logits_N[is_held_out_N] = features_NF[np.flatnonzero(is_held_out_N)] @ head_F[:-1] + head_F[-1]
    return logits_N


def fit_kind_heads(
    layers: Sequence[Matrix], messages: Sequence[TrainingMessage], kinds: Sequence[str], weights_N: Floats
) -> tuple[list[Floats], float]:
    """Heads of the kinds by layer, and the probability from which on few kinds are wrong on a fifth of the lines."""
    rows_N = np.array([index for index, message in enumerate(messages) if message.kind != HARMLESS])
    kinds_N = np.array([kinds.index(messages[row].kind) for row in rows_N])
    is_test_N = np.array([messages[row].line % 5 == 0 for row in rows_N])
    logits_MK = np.zeros((int(is_test_N.sum()), len(kinds)))
    heads: list[Floats] = []
    for features in layers:
        fitted = rows_N[~is_test_N]
        head = fit_kinds(features[fitted], kinds_N[~is_test_N], weights_N[fitted], len(kinds), L2_KINDS)
        logits_MK += features[rows_N[is_test_N]] @ head[:-1] + head[-1]
        heads.append(fit_kinds(features[rows_N], kinds_N, weights_N[rows_N], len(kinds), L2_KINDS))
    probabilities_MK = np.exp(logits_MK - np.logaddexp.reduce(logits_MK, axis=1, keepdims=True))
    top_M = probabilities_MK.max(axis=1)
    is_right_M = probabilities_MK.argmax(axis=1) == kinds_N[is_test_N]
    order_M = np.argsort(-top_M)
    wrong_M = np.cumsum(~is_right_M[order_M]) / np.arange(1, len(order_M) + 1)
    last = int(np.flatnonzero(wrong_M <= MAX_WRONG_KINDS)[-1])
    threshold = float(top_M[order_M][last])
    print(f"kinds: {is_right_M.mean():.1%} right; {(last + 1) / len(order_M):.1%} from {threshold:.2f} on")
    return heads, threshold


def write(
    out: Path, heads: Sequence[Floats], kind_heads: Sequence[Floats], mean_D: Floats, probes_PD: Floats,
    settings: dict[str, object],
) -> None:  # fmt: skip
    """Write the files: the lexical layer with 8 bits per weight, the other one with 16."""
    lexical_FC, embedding_FC = (
        np.hstack([head_F[:, None], kinds_FK]) for head_F, kinds_FK in zip(heads, kind_heads, strict=True)
    )
    scale_C = np.abs(lexical_FC[:-1]).max(axis=0) / 127
    tensors = {
        "lexical.weight": np.rint(lexical_FC[:-1] / scale_C).astype(np.int8),
        "lexical.scale": scale_C.astype(np.float32),
        "lexical.bias": lexical_FC[-1].astype(np.float32),
        "embedding.weight": embedding_FC[:-1].astype(np.float16),
        "embedding.bias": embedding_FC[-1].astype(np.float32),
        "embedding.mean": mean_D.astype(np.float32),
        "probes": probes_PD.astype(np.float16),
    }
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "classifier.safetensors", save({name: np.ascontiguousarray(t) for name, t in tensors.items()}))
    atomic_write(out / "classifier.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
