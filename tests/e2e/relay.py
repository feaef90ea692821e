"""A server's answers, held up on their way."""

import asyncio
import threading


class Relay:
    """Passes bytes to a port of this machine; what comes back waits for `held` seconds."""

    def __init__(self, port, at=0):
        self.to, self.held, self.loop, ready = port, 0.0, asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready, at), daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def _run(self, ready, at):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._pass, "127.0.0.1", at))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def _pass(self, reader, writer):
        back, to = await asyncio.open_connection("127.0.0.1", self.to)

        async def copy(source, sink, held):
            at = 0
            while data := await source.read(65_536):
                # Never before what came earlier.
                at = max(at + 1e-6, self.loop.time() + held())
                self.loop.call_at(at, sink.write, data)
            sink.close()

        await asyncio.gather(copy(reader, to, lambda: 0), copy(back, writer, lambda: self.held), return_exceptions=True)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
