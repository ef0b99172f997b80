"""Prompts in a chat template: an instruction and demonstrations before every dialogue.

A prompted model is an ordinary model folder. Every program that uses its template adds the prompt.
"""

import json
from collections.abc import Sequence

from turnwise.core.messages import Message


def prepend_prompt(template: str, instruction: str | None, demonstrations: Sequence[Sequence[Message]] = ()) -> str:
    """A template that adds an instruction and demonstrations before the dialogue.

    Args:
        template: template of the model.
        instruction: system message for dialogues without one.
        demonstrations: complete dialogues of user and assistant.
    """
    system = [] if instruction is None else [{"role": "system", "content": instruction}]
    examples = [{"role": m.role, "content": m.content} for dialogue in demonstrations for m in dialogue]
    # JSON is also valid Jinja syntax for lists, objects and strings.
    system_json, examples_json = (json.dumps(messages, ensure_ascii=False) for messages in (system, examples))
    return (
        "{%- if messages and messages[0]['role'] in ['system', 'developer'] -%}"
        f"{{%- set messages = messages[:1] + {examples_json} + messages[1:] -%}}"
        "{%- else -%}"
        f"{{%- set messages = {system_json} + {examples_json} + messages -%}}"
        "{%- endif -%}" + template
    )
