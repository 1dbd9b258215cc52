"""What the service, its zygotes and its jailed processes say to each other.

Both sides import it; it imports nothing of ours.

Two conversations. The *control* channel between the service and a zygote is a SOCK_SEQPACKET pair: one message, one
packet, descriptors beside it. The *environment* channel between the service and one environment is a stream of frames:
four bytes of length (big-endian), then a MessagePack array whose first item names its kind. What plugins produce
travels inside frames as opaque bytes of JSON, so no frame nests deeper than its type.
"""

import socket
import struct
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import msgspec

PROTOCOL: Final = 3
"""Raised with every change to a frame; both sides compare it, so an old zygote is never talked to by accident."""

MAX_CONTROL_BYTES: Final = 64 * 1024
MAX_BUNDLE_BYTES: Final = 64 * 1024 * 1024
MAX_FRAME_BYTES: Final = MAX_BUNDLE_BYTES + 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
"""How long the JSON of one guest error may be; messages and stacks are cut to fit."""
MAX_JSON_DEPTH: Final = 128
MAX_ARGUMENT_BYTES: Final = 4 * 1024 * 1024
"""How long the JSON of one service call's arguments may be; a longer one is refused before it is sent."""
MAX_MESSAGE_BYTES: Final = 16 * 1024
"""How long the message, and the JSON of the fields, of one log line may be."""
LOAD_LOG_LINES: Final = 100
LOAD_LOG_BYTES: Final = 64 * 1024
"""What a plugin may log while it is loaded; those lines belong to the execution that had it loaded."""

_LENGTH = struct.Struct(">I")
_READ_BYTES = 64 * 1024


class WireError(Exception):
    """The other side broke the protocol."""


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message of either conversation."""


# --- control: service to zygote ------------------------------------------------------------------------------------


class Fork(Frame, frozen=True, tag="fork"):
    """Start a process in `role`. Descriptors beside the packet are handed to it."""

    request: int
    role: str
    params: dict[str, bool | int | float | str | None]


# --- control: zygote to service ------------------------------------------------------------------------------------


class Born(Frame, frozen=True, tag="born"):
    """The zygote has everything loaded and is where it stays; its pidfd comes beside the packet."""


class Hello(Frame, frozen=True, tag="hello"):
    """The zygote is ready (`error` empty) or never will be."""

    protocol: int
    roles: tuple[str, ...]
    error: str


class Forked(Frame, frozen=True, tag="forked"):
    """The process exists; its socket and its pidfd come beside the packet. `pid` is its name in the zygote's mouth."""

    request: int
    pid: int


class Refused(Frame, frozen=True, tag="refused"):
    """No process was started."""

    request: int
    error: str


class Exited(Frame, frozen=True, tag="exited"):
    """A process ended: `signal` is 0 for an exit by `code`; times are seconds, memory is peak resident bytes."""

    pid: int
    code: int
    signal: int
    user_s: float
    system_s: float
    peak_rss_bytes: int


# --- environment: service to environment ---------------------------------------------------------------------------


class Load(Frame, frozen=True, tag="load"):
    """Take in a plugin. `bundle` is JSON: {"entry": path, "files": {path: text}}; machine code for a component.

    `renewable` says that Renew may follow, so that the bundle is kept.
    """

    memory_bytes: int
    bundle: bytes
    renewable: bool = False


class Renew(Frame, frozen=True, tag="renew"):
    """Throw the instance away, make a new one, and take the same plugin in again; answered as Load is."""


class Prepare(Frame, frozen=True, tag="prepare"):
    """Do to a bundle what need be done once only. None of the plugin's code runs."""

    memory_bytes: int
    bundle: bytes


class Compile(Frame, frozen=True, tag="compile"):
    """Make machine code of an author's component. `memory_bytes` caps what the process may use for that."""

    memory_bytes: int
    component: bytes


class Invoke(Frame, frozen=True, tag="invoke"):
    """Run one function. `input` and `context` are JSON. The caps let an honest environment stop early."""

    function: str
    input: bytes
    context: bytes
    output_bytes: int
    log_lines: int
    log_bytes: int


class Answer(Frame, frozen=True, tag="answer"):
    """A service call has ended; `value` is JSON, or with `ok` false the JSON of an error."""

    ticket: int
    ok: bool
    value: bytes


# --- environment: environment to service ---------------------------------------------------------------------------


class Ready(Frame, frozen=True, tag="ready"):
    """The jail is closed and the guest stands. `base_bytes` is the private memory that a bare environment has."""

    protocol: int
    base_bytes: int


class Loaded(Frame, frozen=True, tag="loaded"):
    """The plugin is in; `exports` are the names of its functions, or `error` is the JSON of why not."""

    exports: tuple[str, ...]
    error: bytes


class Prepared(Frame, frozen=True, tag="prepared"):
    """The bundle with the result of its preparation inside; empty when there is none."""

    bundle: bytes


class Compiled(Frame, frozen=True, tag="compiled"):
    """The machine code of a component, or with `artefact` empty why there is none."""

    artefact: bytes
    error: str


class Call(Frame, frozen=True, tag="call"):
    """The plugin calls a service. `arguments` is JSON."""

    ticket: int
    service: str
    method: str
    arguments: bytes


class Log(Frame, frozen=True, tag="log"):
    """The plugin logs a line. `fields` is the JSON of an object."""

    level: str
    message: str
    fields: bytes


class Done(Frame, frozen=True, tag="done"):
    """The function has returned (`ok`, `payload` is its JSON) or raised (`payload` is the JSON of the error).

    `trap` says that the engine stopped the guest, after which the environment holds nothing usable.
    """

    ok: bool
    trap: bool
    payload: bytes


ToZygote = Fork
FromZygote = Born | Hello | Forked | Refused | Exited
ToEnvironment = Load | Renew | Prepare | Compile | Invoke | Answer
FromEnvironment = Ready | Loaded | Prepared | Compiled | Call | Log | Done

_encoder = msgspec.msgpack.Encoder()
_to_zygote = msgspec.msgpack.Decoder(ToZygote)
_from_zygote: msgspec.msgpack.Decoder[FromZygote] = msgspec.msgpack.Decoder(FromZygote)
_to_environment: msgspec.msgpack.Decoder[ToEnvironment] = msgspec.msgpack.Decoder(ToEnvironment)
_from_environment: msgspec.msgpack.Decoder[FromEnvironment] = msgspec.msgpack.Decoder(FromEnvironment)


def pack(message: Frame) -> bytes:
    """One control packet. Raises WireError above MAX_CONTROL_BYTES."""
    data = _encoder.encode(message)
    if len(data) > MAX_CONTROL_BYTES:
        raise WireError(f"a control message of {len(data)} bytes; at most {MAX_CONTROL_BYTES} are allowed")
    return data


def unpack_to_zygote(data: bytes) -> ToZygote:
    """Read a packet in the zygote. Raises WireError."""
    try:
        return _to_zygote.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from error


def unpack_from_zygote(data: bytes) -> FromZygote:
    """Read a packet in the service. Raises WireError."""
    try:
        return _from_zygote.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from error


def frame(message: Frame) -> bytes:
    """One frame with its length. Raises WireError above MAX_FRAME_BYTES."""
    data = _encoder.encode(message)
    if len(data) > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {len(data)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    return _LENGTH.pack(len(data)) + data


def decode_to_environment(data: bytes | bytearray | memoryview) -> ToEnvironment:
    """Read a frame's body in the environment. Raises WireError."""
    try:
        return _to_environment.decode(memoryview(data))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from error


def decode_from_environment(data: bytes | bytearray) -> FromEnvironment:
    """Read a frame's body in the service; whatever the bytes are, the only error is WireError."""
    try:
        return _from_environment.decode(memoryview(data))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(str(error)) from error


class Splitter:
    """Cuts a stream into frame bodies; memory is bounded by `cap`, which may change between frames."""

    __slots__ = ("_buffer", "cap")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes in and give out whole bodies. Raises WireError at a frame longer than the cap."""
        if not self._buffer and len(data) > 4 and _LENGTH.unpack_from(data)[0] == len(data) - 4 <= self.cap:
            # One whole frame, as nearly all come.
            yield data[4:]
            return
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self.cap:
                raise WireError(f"a frame of {length} bytes; at most {self.cap} are allowed")
            if len(self._buffer) < 4 + length:
                return
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield body


def send(channel: socket.socket, message: Frame) -> None:
    """Send one frame on a blocking socket."""
    channel.sendall(frame(message))


class Receiver:
    """Cuts what comes over a blocking socket into frame bodies; a frame that has come whole costs one system call."""

    __slots__ = ("_buffer", "_channel")

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = b""

    @property
    def holds_one(self) -> bool:
        """Whether a whole frame has been read already, so that the socket need not become readable for it."""
        buffer = self._buffer
        return len(buffer) >= 4 and len(buffer) - 4 >= int(_LENGTH.unpack_from(buffer)[0])

    def receive(self) -> bytes | bytearray | memoryview:
        """One frame's body. Raises EOFError at the end of the stream, WireError above MAX_FRAME_BYTES."""
        buffer = self._buffer
        while len(buffer) < 4:
            buffer += self._more()
        (length,) = _LENGTH.unpack_from(buffer)
        if length > MAX_FRAME_BYTES:
            raise WireError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are allowed")
        end = 4 + length
        if len(buffer) >= end:
            self._buffer = buffer[end:]
            return memoryview(buffer)[4:end]
        body = bytearray(length)
        view = memoryview(body)
        view[: len(buffer) - 4] = buffer[4:]
        view = view[len(buffer) - 4 :]
        self._buffer = b""
        while len(view):
            count = self._channel.recv_into(view)
            if count == 0:
                raise EOFError
            view = view[count:]
        return body

    def _more(self) -> bytes:
        data = self._channel.recv(_READ_BYTES)
        if not data:
            raise EOFError
        return data


_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_STEPS = [1 if byte == ord("(") else -1 for byte in range(256)]
_PEELS = 3


def json_depth_within(data: bytes, depth: int = MAX_JSON_DEPTH, values: int | None = None) -> bool:
    """Whether JSON nests at most `depth` deep and, where `values` is given, holds at most about so many values.

    Linear, by steps that work on all bytes at once: it runs in the serving process, on what a hostile guest made to be
    slow to look at. It says nothing about whether the text is well formed otherwise.
    """
    if data.count(b"[") + data.count(b"{") <= depth and (values is None or data.count(b",") < values):
        return True
    # Up to a backslash outside of a string, where any reader stops, this leaves what stands outside of strings.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    outside = b"".join(plain.split(b'"')[::2]) if b'"' in plain else plain
    brackets = outside.translate(_BRACKETS, _ALL_BUT_BRACKETS)
    if values is not None and outside.count(b",") + len(brackets) // 2 > values:
        return False
    peeled = brackets
    for _ in range(_PEELS):
        peeled = peeled.replace(b"()", b"")
    # Taking the innermost pairs away makes it less deep by one each time, at most.
    return _deepest(peeled) + _PEELS <= depth or _deepest(brackets) <= depth


def _deepest(brackets: bytes) -> int:
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
