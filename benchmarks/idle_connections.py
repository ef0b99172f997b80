"""Counts requests lost on idle connections: 300 requests with pauses of 1 to 65 s, through a relay with latency.

    python benchmarks/idle_connections.py [--keep-alive SECONDS]

A relay between client and server adds 50 ms in each direction, like a remote network. A server that closes an idle
connection while the next request is on its way loses that request.
"""

import argparse
import asyncio
import random

import httpx

from turnwise.server.app import create_app
from turnwise.server.uvicorn_server import KEEP_ALIVE_SECONDS
from turnwise.testing import ScriptedChatService, serve_in_thread

NUM_REQUESTS = 300
LATENCY = 0.05  # seconds in each direction
PAUSES = [1, 2, 4.9, 4.95, 5, 5.05, 5.1, 10, 15, 30, 60, 65]


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy a stream with latency."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        writer.close()

    while data := await reader.read(65536):
        loop.call_later(LATENCY, writer.write, data)
    loop.call_later(LATENCY, close)


async def client(url: str, pauses: list[float]) -> list[str]:
    """Send a request, and one more after each pause, over one connection; returns the errors."""
    errors = []
    limits = httpx.Limits(keepalive_expiry=None)  # the client never closes the connection itself
    async with httpx.AsyncClient(limits=limits, timeout=30) as http:
        for pause in [0.0, *pauses]:
            await asyncio.sleep(pause)
            try:
                (await http.get(f"{url}/v1/models")).raise_for_status()
            except httpx.HTTPError as error:
                errors.append(f"after {pause:g} s: {type(error).__name__}")
    return errors


async def measure(url: str) -> None:
    """Send all requests through the relay and print the errors."""
    host, port = url.removeprefix("http://").split(":")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(relay(reader, server_writer), relay(server_reader, writer), return_exceptions=True)

    # Relays that still run at the end are cancelled; asyncio would report each of them.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with await asyncio.start_server(connect, "127.0.0.1", 0) as relay_server:
        address = f"http://127.0.0.1:{relay_server.sockets[0].getsockname()[1]}"
        rng = random.Random(0)
        clients = [[pause + rng.uniform(-0.01, 0.01)] for pause in PAUSES * 13][: NUM_REQUESTS // 2]
        errors_by_client = await asyncio.gather(*(client(address, pauses) for pauses in clients))
    errors = [error for client_errors in errors_by_client for error in client_errors]
    print(f"{sum(len(pauses) + 1 for pauses in clients)} requests, {len(errors)} failed")
    for error in sorted(set(errors)):
        print(f"  {errors.count(error)} × {error}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--keep-alive",
        type=float,
        default=KEEP_ALIVE_SECONDS,
        help="seconds after which the server closes idle connections",
    )
    app = create_app({"scripted": ScriptedChatService()}, default="scripted")
    with serve_in_thread(app, keep_alive=parser.parse_args().keep_alive) as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    main()
