"""Python's asyncio, with uvloop where --uvloop asks for it.

Protocols and transports, not streams: streams cost a task for each connection and a buffer more.
`transport.write` writes at once and keeps what the system does not take. asyncio itself sets
TCP_NODELAY. Backlog of 4096, as all here have.
"""

import asyncio
import sys


class Echo(asyncio.Protocol):
    __slots__ = ("transport", "write")

    def connection_made(self, transport):
        self.transport = transport
        self.write = transport.write

    def data_received(self, data):
        self.write(data)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    host, port = server.sockets[0].getsockname()
    print(f"listening echo tcp {host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    else:
        runner = asyncio.Runner()
    with runner:
        runner.run(main())
