"""Prompts that live in a chat template: an instruction and demonstrations before every dialogue.

So a prompted model is an ordinary model folder, and whatever reads its template says the same.
"""

import json
from collections.abc import Sequence

from turnwise.core.messages import Message


def prepend_prompt(template: str, instruction: str | None, demonstrations: Sequence[Sequence[Message]] = ()) -> str:
    """A template that shows an instruction and demonstrations before the dialogue.

    Args:
        template: the model's own.
        instruction: a system message, for dialogues that bring none of their own.
        demonstrations: whole dialogues, of users and the assistant.
    """
    shown = [{"role": m.role, "content": m.content} for dialogue in demonstrations for m in dialogue]
    told = [] if instruction is None else [{"role": "system", "content": instruction}]
    # JSON is also how Jinja writes lists, objects and texts.
    before, between = (json.dumps(messages, ensure_ascii=False) for messages in (told, shown))
    return (
        "{%- if messages and messages[0]['role'] in ['system', 'developer'] -%}"
        f"{{%- set messages = messages[:1] + {between} + messages[1:] -%}}"
        "{%- else -%}"
        f"{{%- set messages = {before} + {between} + messages -%}}"
        "{%- endif -%}" + template
    )
