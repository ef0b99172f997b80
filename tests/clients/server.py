"""A server with the model in the package on a free port: prints its base URL, ends when its standard input ends."""

import sys

from turnwise.app.services import chat_service
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import listening

store = open_store("sqlite:///:memory:")
with chat_service(store=store) as service, listening(create_app({"box": service}, default="box")) as url:
    print(f"{url}/v1", flush=True)
    sys.stdin.read()
