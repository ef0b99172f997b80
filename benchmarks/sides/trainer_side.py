"""transformers.Trainer and TRL's SFTTrainer as sides of training.py: trainer_side.py FOLDER DATA KIND THREADS RANK

KIND is "trainer", "trl", or "trl-packed". With a RANK above 0, TRL trains LoRA adapters on the replies. The script
runs in an environment of its own and knows nothing of Turnwise.
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

WARM = 2  # steps before the clock starts
# ChatML with the marks by which transformers finds the assistant's tokens.
REPLIES_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


class Clock(TrainerCallback):
    """Counts the tokens that are no padding, and the time, from the third step on."""

    def __init__(self) -> None:
        self.tokens, self.began, self.ended, self.steps = 0, 0.0, 0.0, 0

    def on_step_end(self, *_args: object, **_more: object) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps == WARM:
            self.tokens, self.began = 0, time.perf_counter()
        self.ended = time.perf_counter()

    def watch(self, model: torch.nn.Module, pad: int) -> None:
        """Count the ids that the model looks up."""

        def count(_module: object, inputs: tuple) -> None:
            self.tokens += int((inputs[0] != pad).sum())

        model.get_input_embeddings().register_forward_pre_hook(count)


def trainer_of(
    kind: str, model: object, tokenizer: object, talks: list, shared: dict, length: int, clock: Clock, rank: int
) -> Trainer:
    """The trainer of this kind."""
    if kind == "trainer":
        rows = [
            tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True)["input_ids"][:length] for talk in talks
        ]
        examples = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids} for ids in rows]
        return Trainer(
            model=model, args=TrainingArguments(**shared), train_dataset=Dataset.from_list(examples),
            data_collator=DataCollatorForSeq2Seq(tokenizer), callbacks=[clock],
        )  # fmt: skip
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        **shared, max_length=length, packing=kind == "trl-packed", gradient_checkpointing=False,
        assistant_only_loss=rank > 0,
    )  # fmt: skip
    lora = None
    if rank:
        from peft import LoraConfig

        lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        tokenizer.chat_template = REPLIES_MARKED
    return SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list([{"messages": talk} for talk in talks]),
        processing_class=tokenizer, callbacks=[clock], peft_config=lora,
    )  # fmt: skip


def main(folder: str, data: str, kind: str, threads: int, rank: int) -> None:
    """Train for as many steps as the input says, and answer with the figures as JSON."""
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    with open(data) as file:  # noqa: PTH123
        talks = [json.loads(line)["messages"] for line in file]
    for line in sys.stdin:
        steps, batch, length = map(int, line.split())
        model, clock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), Clock()
        clock.watch(model, tokenizer.pad_token_id)
        with tempfile.TemporaryDirectory() as place:
            shared = {
                "output_dir": place, "per_device_train_batch_size": batch, "max_steps": steps + WARM, "use_cpu": True,
                "report_to": [], "save_strategy": "no", "logging_strategy": "no", "learning_rate": 1e-4,
                "optim": "adamw_torch", "disable_tqdm": True, "bf16": False, "seed": 0,
            }  # fmt: skip
            trainer_of(kind, model, tokenizer, talks, shared, length, clock, rank).train()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"tokens": clock.tokens / (clock.ended - clock.began), "memory": memory}), flush=True)


main(*sys.argv[1:4], *map(int, sys.argv[4:]))
