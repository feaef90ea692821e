"""A provider that counts for itself: what it was sent, what it wrote, and when. It speaks Chat Completions.

A token is a word. The last user text may hold `out=N` (words of the answer, unless the request bounds it), `pace=MS` (between
words of a stream), `cut=N` (the connection breaks after so many words), `nousage=1` (it does not count for others), `think=MS` (silence
before the first word), `wait=MS` (silence before the head of a stream), `status=N` (an error), `id=NAME` (how a test calls the request),
`mute=1` (the connection breaks in place of a
whole answer), `hold=MS` (a stream breaks off so long after its usage, without its end), `late=MS` (the model `late` fails after this time), `failing=MODEL` (this model fails).
"""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request


class Provider:
    """The provider in a process of its own: nothing that the tests do makes it look at its clock late."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the provider did not start"

    def _ask(self, method):
        with urllib.request.urlopen(urllib.request.Request(self.url, method=method), timeout=20) as answer:
            return json.load(answer)

    @property
    def calls(self):
        """All calls so far, in the order of their arrival; `at` is the machine's monotonic clock."""
        return self._ask("GET")["calls"]

    @property
    def lag(self):
        """How long its loop was late at worst, in seconds: a call may have arrived so much earlier than it was noted."""
        return self._ask("GET")["lag"]

    def clear(self):
        self._ask("DELETE")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Serving:
    """What runs in that process."""

    def __init__(self):
        self.calls, self.lag = [], 0.0

    async def run(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        print("http://127.0.0.1:%d/v1" % server.sockets[0].getsockname()[1], flush=True)
        while True:
            due = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            self.lag = max(self.lag, time.monotonic() - due)

    async def _serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"POST"):
                    return await self._tell(head, writer)
                at = time.monotonic()
                length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
                body = json.loads(await reader.readexactly(length))
                if not await self._answer(body, writer, at):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _tell(self, head, writer):
        if head.startswith(b"DELETE"):
            self.calls.clear()
        data = json.dumps({"calls": self.calls, "lag": self.lag}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data))
        await writer.drain()

    async def _answer(self, body, writer, at):
        messages = body.get("messages") or [{"content": body["prompt"]}]
        text = messages[-1]["content"]
        asked = dict(re.findall(r"(\w+)=(\S+)", text))
        prompt = sum(len(message["content"].split()) for message in messages)
        bound = body.get("max_completion_tokens", body.get("max_tokens"))
        wanted = int(asked.get("out", 5))
        words = wanted if bound is None else min(wanted, bound)
        call = {
            "at": at, "id": asked.get("id"), "prompt": prompt, "output": 0, "bound": bound, "whole": False,
            "key": body.get("model"),
        }
        self.calls.append(call)
        if body.get("model") == "late":
            await asyncio.sleep(float(asked["late"]) / 1000)
            asked["status"] = "500"
        if asked.get("failing") == body.get("model"):
            asked["status"] = "500"
        if "status" in asked:
            data = b'{"error":{"message":"no","type":"server_error"}}'
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%s" % (int(asked["status"]), len(data), data))
            await writer.drain()
            return True
        finish = "stop" if words == wanted else "length"
        usage = {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words}
        if "nousage" in asked:
            usage = None
        if "prompt" in body:
            return await self._completion(writer, words, finish, usage, call)
        if body.get("stream"):
            return await self._stream(writer, asked, words, finish, usage, call)
        pace = float(asked.get("pace", 0)) / 1000 * words
        # It has written all of it, whoever still waits for it.
        call["output"] = words
        if pace:
            await asyncio.sleep(pace)
        if "mute" in asked:
            writer.transport.abort()
            return False
        if "cut" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{\"id\":")
            await writer.drain()
            writer.transport.abort()
            return False
        answer = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage,
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": "word " * words}}],
        }
        return await self._whole(writer, answer, call)

    async def _completion(self, writer, words, finish, usage, call):
        call["output"] = words
        choice = {"index": 0, "text": "word " * words, "finish_reason": finish, "logprobs": None}
        answer = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        return await self._whole(writer, answer, call)

    async def _whole(self, writer, answer, call):
        if answer["usage"] is None:
            del answer["usage"]
        data = json.dumps(answer).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data))
        await writer.drain()
        call["whole"] = True
        return True

    async def _stream(self, writer, asked, words, finish, usage, call):
        def event(choices, **more):
            chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
            data = b"data: %s\n\n" % json.dumps(chunk).encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))

        pace, cut = float(asked.get("pace", 0)) / 1000, int(asked.get("cut", -1))
        await asyncio.sleep(float(asked.get("wait", 0)) / 1000)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if "think" in asked:
            # Reasoning that nobody sees is output too.
            call["output"] = words
            await asyncio.sleep(float(asked["think"]) / 1000)
            call["output"] = 0
        for word in range(words):
            if word == cut:
                writer.transport.abort()
                return False
            event([{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}])
            call["output"] += 1
            if pace:
                await asyncio.sleep(pace)
                await writer.drain()
        event([{"index": 0, "delta": {}, "finish_reason": finish}])
        if usage:
            event([], usage=usage)
        if "hold" in asked:
            await writer.drain()
            await asyncio.sleep(float(asked["hold"]) / 1000)
            writer.transport.abort()
            return False
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        call["whole"] = True
        return True


def worst_window(calls, seconds, cost=lambda call: call["prompt"] + call["output"]):
    """The largest sum over any trailing window, by the provider's own clock at the arrival of each call."""
    worst = total = 0
    first = 0
    ordered = sorted(calls, key=lambda call: call["at"])
    for call in ordered:
        total += cost(call)
        while ordered[first]["at"] <= call["at"] - seconds:
            total -= cost(ordered[first])
            first += 1
        worst = max(worst, total)
    return worst


if __name__ == "__main__":
    asyncio.run(Serving().run())
