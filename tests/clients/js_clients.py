"""The JavaScript clients. Every script prints one line of JSON per capability."""

import json
from pathlib import Path

FOLDER = Path(__file__).with_name("js")
SCRIPTS = {  # by client: command line after `node`, capabilities, package
    "openai (JavaScript), chat": (["openai_chat.mjs"], "openai", True),
    "openai (JavaScript), responses": (["openai_responses.mjs"], "openai", False),
    "Vercel AI SDK, responses": (["vercel.mjs"], "ai", True),
    "Vercel AI SDK, chat": (["vercel.mjs", "chat"], "ai", True),
}


def version_of(client):
    """Return the installed version of a client's package."""
    package = json.loads((FOLDER / "node_modules" / SCRIPTS[client][1] / "package.json").read_text(encoding="utf-8"))
    return package["version"]
