"""The zygote: a process that has everything loaded and forks jailed processes on request.

Started by a clean exec with an empty environment and one descriptor, so a fork inherits no secret. It is generic over
*roles*: `plugyard.sandbox.inside` forks environments, `plugyard.gate.inside` forks inspectors of packages. A role is
called in the fresh process; it closes the jail itself, because only it knows what must be prepared before.

Its counterpart in the service is `plugyard.sandbox.outside.zygote_client`.
"""

import array
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import NoReturn

from plugyard.sandbox import jail, wire

Params = dict[str, bool | int | float | str | None]

Role = Callable[[socket.socket, list[int], Params], None]
"""`role(channel, descriptors, params)`: what one kind of child does, from just after the fork to its exit.

`channel` is its stream to the service, `descriptors` what came beside the fork request. It must call `jail.close` with
both in `keep` before it reads a byte that a plugin's author wrote. When it returns the process exits with 0, when it
raises with 1.
"""

_ANCILLARY = socket.CMSG_SPACE(4 * 8)


def run(last_argument: str, prepare: Callable[[], Mapping[str, Role]]) -> NoReturn:
    """The whole life of a zygote process: prepare the roles, enter its namespaces, serve until the service goes, exit.

    `last_argument` is what `zygote_client` adds to the command: the number of the control channel, and the namespaces
    that it promises. `prepare` must load all that is ever needed and leave no second thread.
    """
    descriptor, _, promised = last_argument.partition(":")
    control = socket.socket(fileno=int(descriptor))
    os.set_inheritable(control.fileno(), False)
    try:
        # Before the namespaces, in which files of others could be out of reach, and the process another one.
        roles = prepare()
        sys.dont_write_bytecode = True
        place = jail.enter(promised.split(",") if promised else ())
        _tell_of_birth(control)
        place.leave_files()
        # Before the first fork: a start takes longer than most executions, and others should not wait for it.
        jail.lower_priority()
    except Exception as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            control.send(wire.pack(wire.Hello(wire.PROTOCOL, (), f"{type(error).__name__}: {error}"[:2000])))
        os._exit(1)
    serve(control, roles, place)
    os._exit(0)


def _tell_of_birth(control: socket.socket) -> None:
    # Its number in here may mean another process to the service, so it shows itself.
    myself = os.pidfd_open(os.getpid())
    try:
        socket.send_fds(control, [wire.pack(wire.Born())], [myself])
    finally:
        os.close(myself)


def serve(control: socket.socket, roles: Mapping[str, Role], place: jail.Place) -> None:
    """Fork on request and report exits until the service closes `control`; then kill every child and return."""
    _Zygote(control, roles, place).serve()


class _Zygote:
    def __init__(self, control: socket.socket, roles: Mapping[str, Role], place: jail.Place) -> None:
        self.control = control
        self.roles = roles
        self.place = place
        self.children: set[int] = set()

    def serve(self) -> None:
        # What is alive now lives for good: freezing keeps the collector of every fork away from the shared pages.
        gc.collect()
        gc.freeze()
        wakeup, self.wakeup_write = socket.socketpair()
        wakeup.setblocking(False)
        self.wakeup_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wakeup_write.fileno(), warn_on_full_buffer=False)
        # Ctrl-C is the service's business; it closes the channel when it has finished.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        try:
            self.control.send(wire.pack(wire.Hello(wire.PROTOCOL, tuple(self.roles), "")))
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if wakeup.fileno() in ready:
                    with contextlib.suppress(BlockingIOError):
                        wakeup.recv(4096)
                    self.reap()
                if self.control.fileno() in ready and not self.take_request():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self.kill_all()

    def take_request(self) -> bool:
        """Carry out one request; False when the service has gone."""
        data, ancillary, flags, _ = self.control.recvmsg(wire.MAX_CONTROL_BYTES, _ANCILLARY)
        descriptors: list[int] = []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = array.array("i")
                whole.frombytes(payload[: len(payload) - len(payload) % whole.itemsize])
                descriptors += whole
        try:
            if not data:
                return False
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise wire.WireError("a control message was cut")
            self.fork(wire.unpack_to_zygote(data), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def fork(self, request: wire.Fork, descriptors: list[int]) -> None:
        role = self.roles.get(request.role)
        if role is None:
            self.tell(wire.Refused(request.request, f"there is no role {request.role!r}"))
            return
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self.tell(wire.Refused(request.request, str(error)))
            return
        parent = self.place.own_id_for_children()
        try:
            pid = self.place.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self.tell(wire.Refused(request.request, str(error)))
            return
        if pid == 0:
            self.live(parent, role, theirs, descriptors, request.params)
        self.children.add(pid)
        theirs.close()
        pidfd = os.pidfd_open(pid)
        try:
            self.tell(wire.Forked(request.request, pid), [ours.fileno(), pidfd])
        finally:
            os.close(pidfd)
            ours.close()

    def live(self, parent: int, role: Role, channel: socket.socket, descriptors: list[int], params: Params) -> NoReturn:
        """The child's whole life."""
        code = 1
        try:
            jail.follow(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            role(channel, descriptors, params)
            code = 0
        except EOFError:
            # The service closed the socket: the ordinary end of a child that is no longer wanted.
            code = 0
        except BaseException:
            with contextlib.suppress(Exception):
                traceback.print_exc()
                sys.stderr.flush()
        finally:
            os._exit(code)

    def tell(self, message: wire.Frame, descriptors: list[int] | None = None) -> None:
        data = wire.pack(message)
        if descriptors:
            socket.send_fds(self.control, [data], descriptors)
        else:
            self.control.send(data)

    def reap(self) -> None:
        while self.children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            self.children.discard(pid)
            signalled = os.WIFSIGNALED(status)
            self.tell(
                wire.Exited(
                    pid=pid,
                    code=-1 if signalled else os.WEXITSTATUS(status),
                    signal=os.WTERMSIG(status) if signalled else 0,
                    user_s=usage.ru_utime,
                    system_s=usage.ru_stime,
                    peak_rss_bytes=usage.ru_maxrss * 1024,
                )
            )

    def kill_all(self) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
