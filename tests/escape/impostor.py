"""A zygote whose "python" environments are native code that lies: both walls of them are taken to be lost.

Started by `test_forged_frames.py` as the zygote's own program. The jail is closed as always; what follows is forged.
The "javascript" environments are honest, so that others can be seen to run beside the liars.
"""

import json
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from plugyard.sandbox import jail, wire
from plugyard.sandbox.inside import components, environment, zygote

DONE = wire.frame(wire.Done(True, False, b'"forged"'))
LOADED = wire.frame(wire.Loaded(("run",), b""))
READY = wire.frame(wire.Ready(wire.PROTOCOL, 0))
LOG = wire.frame(wire.Log("info", "x" * 100, b"{}"))


def call(ticket: int, service: str = "cache", arguments: bytes = b"{}") -> bytes:
    return wire.frame(wire.Call(ticket, service, "get", arguments))


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


# What an environment says in place of an honest answer to an execution.
LIES: dict[str, bytes | list[bytes]] = {
    "ready again": READY,
    "loaded again": LOADED,
    "prepared": wire.frame(wire.Prepared(b"{}")),
    "a frame of the service's own": wire.frame(wire.Answer(1, True, b"{}")),
    "an invocation": wire.frame(wire.Invoke("run", b"{}", b"{}", 1, 1, 1)),
    "a control message": framed(wire.pack(wire.Exited(1, 0, 0, 0.0, 0.0, 0))),
    "a fork": framed(wire.pack(wire.Fork(1, "python", {}))),
    "done twice": DONE + DONE,
    "done, then a call": DONE + call(1),
    "done, then a line": DONE + LOG,
    "done, then loaded": DONE + LOADED,
    "a length without end": b"\xff\xff\xff\xff",
    "a length beyond the cap": (64 << 20).to_bytes(4, "big") + b"x" * 100_000,
    "an empty frame": framed(b""),
    "no frame": framed(b"\xc1"),
    "a frame that nests": framed(b"\x91" * 200_000),
    "a frame of a million items": framed(b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 100_000),
    "a map in place of an array": framed(b"\x81\xa4type\xa4done"),
    "a kind that does not exist": framed(b"\x92\xa5admin\x01"),
    "a number in place of text": framed(b"\x95\xa3log\x01\x02\x03"),
    "too many fields": framed(b"\x95\xa4done\xc3\xc2\xc4\x00\x01"),
    "text that is no UTF-8": framed(b"\x94\xa3log\xa2\xff\xff\xa1x\xc4\x02{}"),
    "an output that is no JSON": wire.frame(wire.Done(True, False, b"{")),
    "an output that nests": wire.frame(wire.Done(True, False, b"[" * 50_000 + b"]" * 50_000)),
    "an output beyond its cap": wire.frame(wire.Done(True, False, b'"' + b"x" * (2 << 20) + b'"')),
    "an error that is no error": wire.frame(wire.Done(False, False, b"\xff")),
    "an error beyond its cap": wire.frame(wire.Done(False, False, b'{"message": "' + b"x" * 200_000 + b'"}')),
    "lines without end": [LOG * 1000] * 200,
    "a line beyond its cap": wire.frame(wire.Log("info", "x" * 200_000, b"{}")),
    "calls without end": [call(1) * 1000] * 200,
    "a call of another tenant": call(1, arguments=b'{"tenantId": "globex", "granted": true}') + DONE,
    "a call of a service that does not exist": call(1, "../database") + DONE,
    "a call with arguments that are no JSON": call(1, arguments=b"\xff{") + DONE,
    "tickets that repeat": call(7) + call(7) + call(0) + call(-1) + call(2**63) + DONE,
    "half a frame, and the end": DONE[:-3],
    "one byte at a time": [DONE[index : index + 1] for index in range(len(DONE))],
    "nothing": b"",
    "silence": [],
}


def lie(channel: socket.socket, descriptors: list[int], params: zygote.Params) -> None:
    """The role: honest until the function is called."""
    jail.close(jail.JailConfig.from_params(params), [channel.fileno()])
    channel.sendall(READY)
    frames = wire.Receiver(channel)
    while True:
        request = wire.decode_to_environment(frames.receive())
        if isinstance(request, wire.Prepare):
            wire.send(channel, wire.Prepared(request.bundle))
        elif isinstance(request, wire.Load):
            channel.sendall(LOADED)
        elif isinstance(request, wire.Invoke):
            tell(channel, json.loads(request.input))


def tell(channel: socket.socket, name: str) -> NoReturn:
    told = LIES[name]
    for piece in told if isinstance(told, list) else [told]:
        channel.sendall(piece)
    # A liar that has said "nothing" or half of it ends; the others wait to see what comes of it.
    while name in ("silence", "done twice") or told:
        if name.startswith(("half", "an empty")):
            break
        time.sleep(0.05)
    raise EOFError


def prepare() -> dict[str, zygote.Role]:
    artefacts = dict(argument.split("=", 1) for argument in sys.argv[1:-1])
    roles: dict[str, Callable[[socket.socket, list[int], zygote.Params], None]] = environment.prepare(
        {"javascript": artefacts["javascript"]}
    )
    return {**roles, **components.prepare(), "python": lie}


if __name__ == "__main__":
    zygote.run(sys.argv[-1], prepare)
