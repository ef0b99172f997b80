"""Whether connections that are idle for a while lose requests: 300 requests at pauses of 1 to 65 s, through a delay.

    python benchmarks/idle_connections.py [--keep-alive SECONDS]

Between client and server is a relay that passes everything on 50 ms later in each direction, as a distant network does.
A server that closes an idle connection just as the client sends its next request loses that request.
"""

import argparse
import asyncio
import random

import httpx

from turnwise.server.app import create_app
from turnwise.server.uvicorn_server import KEEP_ALIVE_SECONDS
from turnwise.testing import ScriptedChatService, serve_in_thread

REQUESTS, DELAY = 300, 0.05
PAUSES = [1, 2, 4.9, 4.95, 5, 5.05, 5.1, 10, 15, 30, 60, 65]


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, later."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        writer.close()

    while data := await reader.read(65536):
        loop.call_later(DELAY, writer.write, data)
    loop.call_later(DELAY, close)


async def client(url: str, pauses: list[float]) -> list[str]:
    """The errors of one client's requests, one before each pause and one after the last."""
    errors = []
    limits = httpx.Limits(keepalive_expiry=None)  # a client that trusts the server to keep it
    async with httpx.AsyncClient(limits=limits, timeout=30) as http:
        for pause in [0.0, *pauses]:
            await asyncio.sleep(pause)
            try:
                (await http.get(f"{url}/v1/models")).raise_for_status()
            except httpx.HTTPError as error:
                errors.append(f"after {pause:g} s: {type(error).__name__}")
    return errors


async def measure(url: str) -> None:
    """Send all requests through the relay and print what failed."""
    host, port = url.removeprefix("http://").split(":")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer), return_exceptions=True)

    # Relays that are left at the end are cancelled, which is nothing to report.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with await asyncio.start_server(connect, "127.0.0.1", 0) as between:
        address = f"http://127.0.0.1:{between.sockets[0].getsockname()[1]}"
        chance = random.Random(0)
        clients = [[pause + chance.uniform(-0.01, 0.01)] for pause in PAUSES * 13][: REQUESTS // 2]
        found = await asyncio.gather(*(client(address, pauses) for pauses in clients))
    errors = [error for errors in found for error in errors]
    print(f"{sum(len(pauses) + 1 for pauses in clients)} requests, {len(errors)} failed")
    for error in sorted(set(errors)):
        print(f"  {errors.count(error)} × {error}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-alive", type=float, default=KEEP_ALIVE_SECONDS, help="Seconds, as of the server.")
    app = create_app({"scripted": ScriptedChatService()}, default="scripted")
    with serve_in_thread(app, keep_alive=parser.parse_args().keep_alive) as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
