"""Small dialogues for the training tests."""

import json


def write_chats(path, dialogues, **meta):
    """Write dialogues, lists of user and assistant texts in turn, to a JSONL file."""
    with path.open("w") as file:
        for texts in dialogues:
            messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
            file.write(json.dumps({"messages": messages, **meta}) + "\n")
    return path


ITEMS = ("lamp", "parcel", "kitchen", "order", "park", "Paket", "包裹", "library")


def small_talk(count):
    """Different dialogues of one or two exchanges."""
    return [
        [f"Where is my {ITEMS[i % 8]} number {i}?", f"Your {ITEMS[i % 8]} number {i} is on its way."]
        + (["Thank you!", "You are welcome."] if i % 3 == 0 else [])
        for i in range(count)
    ]
