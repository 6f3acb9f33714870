# SPDX-License-Identifier: MIT
"""trio: a task for each connection; its SocketStream sets TCP_NODELAY itself."""

import trio


async def echo(stream):
    try:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def main():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    print("PORT", listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(echo, listeners)


trio.run(main)
