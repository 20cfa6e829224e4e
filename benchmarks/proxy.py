"""A slow line: passes bytes on in both directions, each half a round trip later.

    python -m benchmarks.proxy LISTEN_PORT SERVER_PORT ROUND_TRIP_SECONDS

A new connection waits for one and a half round trips before it reaches the server, which is when
TCP's handshake would be over there.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
    loop = asyncio.get_running_loop()
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    delivering = asyncio.create_task(deliver())
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            line.put_nowait((loop.time() + late, data))
    line.put_nowait((loop.time() + late, b""))
    with contextlib.suppress(OSError):
        await delivering


async def _serve(listen: int, server: int, round_trip: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.5 * round_trip)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server)
        late = round_trip / 2
        await asyncio.gather(_carry(reader, far_writer, late), _carry(far_reader, writer, late))

    async with await asyncio.start_server(connected, "127.0.0.1", listen) as serving:
        await serving.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
