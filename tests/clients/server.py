"""A server with the bundled model on a free port. Prints its base URL; stops at the end of its standard input."""

import sys

from turnwise.app.chat_services import open_chat_service
from turnwise.server.app import create_app
from turnwise.store import open_store
from turnwise.testing import serve_in_thread

store = open_store("sqlite:///:memory:")
with open_chat_service(store=store) as service, serve_in_thread(create_app({"box": service}, default="box")) as url:
    print(f"{url}/v1", flush=True)
    sys.stdin.read()
