"""transformers.Trainer and TRL's SFTTrainer as sides of training.py: trainer_side.py FOLDER DATA KIND THREADS RANK

KIND is "trainer", "trl" or "trl-packed". With a RANK above 0, TRL trains LoRA adapters on the replies. The script does
not import Turnwise.
"""

import json
import os
import resource
import sys
import tempfile
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

WARMUP_STEPS = 2  # not measured
# ChatML with the `generation` tags that transformers needs for the assistant mask.
TEMPLATE_WITH_GENERATION_TAGS = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


class Clock(TrainerCallback):
    """Measures time and tokens without padding after the warm-up steps."""

    def __init__(self) -> None:
        self.tokens, self.start, self.end, self.steps = 0, 0.0, 0.0, 0

    def on_step_end(self, *_args: object, **_kwargs: object) -> None:
        """Reset the counts after the warm-up, and record the time."""
        self.steps += 1
        if self.steps == WARMUP_STEPS:
            self.tokens, self.start = 0, time.perf_counter()
        self.end = time.perf_counter()

    def count_tokens(self, model: torch.nn.Module, pad_token_id: int) -> None:
        """Count the ids that are passed to the model's embedding layer."""

        def count(_module: object, inputs: tuple) -> None:
            self.tokens += int((inputs[0] != pad_token_id).sum())

        model.get_input_embeddings().register_forward_pre_hook(count)


def make_trainer(
    kind: str,
    model: object,
    tokenizer: object,
    dialogues: list,
    shared: dict,
    max_seq_len: int,
    clock: Clock,
    rank: int,
) -> Trainer:
    """A trainer of this kind; `shared` has the arguments that all kinds accept."""
    if kind == "trainer":
        rows = [
            tokenizer.apply_chat_template(dialogue, tokenize=True, return_dict=True)["input_ids"][:max_seq_len]
            for dialogue in dialogues
        ]
        examples = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids} for ids in rows]
        return Trainer(
            model=model, args=TrainingArguments(**shared), train_dataset=Dataset.from_list(examples),
            data_collator=DataCollatorForSeq2Seq(tokenizer), callbacks=[clock],
        )  # fmt: skip
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        **shared, max_length=max_seq_len, packing=kind == "trl-packed", gradient_checkpointing=False,
        assistant_only_loss=rank > 0,
    )  # fmt: skip
    lora = None
    if rank:
        from peft import LoraConfig

        lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        tokenizer.chat_template = TEMPLATE_WITH_GENERATION_TAGS
    return SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list([{"messages": dialogue} for dialogue in dialogues]),
        processing_class=tokenizer, callbacks=[clock], peft_config=lora,
    )  # fmt: skip


def main(folder: str, data: str, kind: str, threads: int, rank: int) -> None:
    """For every line of standard input, `STEPS BATCH_SIZE MAX_SEQ_LEN`, train and print the measurements as JSON."""
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    with open(data) as file:  # noqa: PTH123
        dialogues = [json.loads(line)["messages"] for line in file]
    for line in sys.stdin:
        steps, batch_size, max_seq_len = map(int, line.split())
        model, clock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), Clock()
        clock.count_tokens(model, tokenizer.pad_token_id)
        with tempfile.TemporaryDirectory() as temporary:
            shared = {
                "output_dir": temporary, "per_device_train_batch_size": batch_size, "max_steps": steps + WARMUP_STEPS,
                "use_cpu": True, "report_to": [], "save_strategy": "no", "logging_strategy": "no",
                "learning_rate": 1e-4, "optim": "adamw_torch", "disable_tqdm": True, "bf16": False, "seed": 0,
            }  # fmt: skip
            make_trainer(kind, model, tokenizer, dialogues, shared, max_seq_len, clock, rank).train()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"tokens": clock.tokens / (clock.end - clock.start), "memory": memory}), flush=True)


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
