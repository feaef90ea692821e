"""Many callers at once over plain sockets, each with a connection of its own that is kept."""

import asyncio
import json
import time


class Caller:
    """One connection to a gateway."""

    def __init__(self, port, key=None):
        self.port, self.key, self.line = port, key, None

    async def ask(self, text, user=None, model="gpt-4o", path="/v1/chat/completions", **more):
        """Status, headers and body of one request. The connection is made anew when it is gone."""
        if self.line is None:
            self.line = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.line
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
        head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
        if user is not None:
            head.append(f"user: {user}")
        if self.key:
            head.append(f"authorization: Bearer {self.key}")
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            if "content-length" in headers:
                answer = await reader.readexactly(int(headers["content-length"]))
            else:
                answer = b""
                while True:
                    size = int((await reader.readline()).strip() or b"0", 16)
                    answer += (await reader.readexactly(size + 2))[:-2]
                    if size == 0:
                        break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.line = None
            raise
        if headers.get("connection") == "close":
            writer.close()
            self.line = None
        return int(lines[0].split()[1]), headers, answer


async def crowd(ports, seconds, one, count, key=None):
    """Lets `count` callers work until the time is over, spread over the gateways; returns all they report."""
    until = time.monotonic() + seconds
    found = []

    async def work(number):
        caller = Caller(ports[number % len(ports)], key)
        while time.monotonic() < until:
            found.append(await one(caller, number))

    await asyncio.gather(*(work(number) for number in range(count)))
    return found
