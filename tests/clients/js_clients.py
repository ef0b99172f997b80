"""The JavaScript clients: a script each, which prints a line of JSON per capability."""

import json
from pathlib import Path

FOLDER = Path(__file__).with_name("js")
SCRIPTS = {  # by client: the command line after `node`, the capabilities, the package
    "openai (JavaScript), chat": (["openai_chat.mjs"], "openai", True),
    "openai (JavaScript), responses": (["openai_responses.mjs"], "openai", False),
    "Vercel AI SDK, responses": (["vercel.mjs"], "ai", True),
    "Vercel AI SDK, chat": (["vercel.mjs", "chat"], "ai", True),
}


def version_of(client):
    """The installed version of the client's package."""
    package = json.loads((FOLDER / "node_modules" / SCRIPTS[client][1] / "package.json").read_text(encoding="utf-8"))
    return package["version"]
