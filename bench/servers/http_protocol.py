# SPDX-License-Identifier: MIT
"""The same minimal HTTP/1.1 server as an asyncio Protocol, on uvloop with --uvloop."""

import asyncio
import sys

from http_text import END, answer


class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(END)) >= 0:
            self.transport.write(answer(self.buffer[:end]))
            self.buffer = self.buffer[end + 4:]


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Http, "127.0.0.1", 0, backlog=1024)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
