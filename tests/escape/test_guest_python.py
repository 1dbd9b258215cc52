"""Code in a Python guest against wall 1: the known ways out of Python sandboxes, Pyodide's and n8n's among them.

Most of these work as far as they go: nothing filters the language. They lead nowhere, because a guest has no file, no
socket, no process and no host's object behind it. An attempt returns what it got hold of.
"""

import json

import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox

from .hostile import run

pytestmark = pytest.mark.usefixtures("unharmed")

NOTHING = (None, False, 0, "", [], {})

ATTEMPTS = {
    "subclasses to a loader with get_data": """
        for c in object.__subclasses__():
            if hasattr(c, "get_data"):
                return c("x", "/etc/passwd").get_data("/etc/passwd").decode()
    """,
    "subclasses to os._wrap_close and its globals": """
        for c in object.__subclasses__():
            if c.__name__ == "_wrap_close":
                return c.__init__.__globals__["system"]("id") == 0
    """,
    "attributes by a format string": """
        import os
        text = "{0.__init__.__globals__[os].environ}".format(type("A", (), {"__init__": lambda self: None})())
        return text
    """,
    "frames up to the host": """
        import sys, socket
        frame, found = sys._getframe(), []
        while frame is not None:
            found += [repr(v) for v in frame.f_globals.values() if isinstance(v, socket.socket) or callable(v) and
                      getattr(v, "__module__", "").startswith("plugyard.")]
            frame = frame.f_back
        return found
    """,
    "frames by a generator and by a traceback": """
        def steal():
            yield gen.gi_frame.f_back.f_back.f_globals
        gen = steal()
        seen = [next(gen)]
        try:
            1 / 0
        except ZeroDivisionError as error:
            seen.append(error.__traceback__.tb_frame.f_back.f_builtins)
        return [seen[1]["open"]("/etc/passwd").read()]
    """,
    "all objects of the collector": """
        import gc
        return [repr(o) for o in gc.get_objects() if type(o).__name__ in ("socket", "Popen", "Zygote", "Environment")]
    """,
    "descriptors that were left open": """
        import os
        found = []
        for fd in range(3, 200):
            try:
                found.append((fd, os.fstat(fd).st_mode))
            except OSError:
                pass
        return found
    """,
    "paths from descriptors that were opened before": """
        import os
        found = []
        for fd in range(0, 20):
            for path in (".", "..", "/", "etc/passwd", "../../../../etc/passwd", "/proc/self/mem"):
                try:
                    found.append((os.open(path, os.O_RDONLY, dir_fd=fd), path))
                except (OSError, NotImplementedError):
                    pass
        return found
    """,
    "pyodide's js": "import js\n        return js.process.mainModule.require('child_process').execSync('id')",
    "pyodide's run_js": "from pyodide.code import run_js\n        return run_js('process.env')",
    "pyodide's own module (CVE-2025-68668)": """
        import _pyodide._base
        return _pyodide._base.eval_code("import os; os.system('id')")
    """,
    "pyodide's ffi": "from pyodide_js import FS\n        return FS.readdir('/')",
    "emscripten's file system": "import _emscripten\n        return True",
    "the C library": "import ctypes\n        return ctypes.CDLL(None).system(b'id')",
    "the C library by _ctypes": "import _ctypes\n        return _ctypes.dlopen(None, 2)",
    "a process by its C module": """
        import _posixsubprocess
        ends = [-1] * 8
        return _posixsubprocess.fork_exec([b"id"], [b"/usr/bin/id"], True, (), None, None, *ends,
                                          False, False, -1, None, None, None, -1, None, False)
    """,
    "a process by posix_spawn": "import os\n        return os.posix_spawn('/usr/bin/id', ['id'], {})",
    "another program in its place": "import os\n        os.execv('/usr/bin/id', ['id'])\n        return True",
    "a socket by its C module": """
        import _socket
        s = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        s.connect(("127.0.0.1", 22))
        return True
    """,
    "a name server": "import socket\n        return socket.getaddrinfo('example.com', 80)",
    "a module built as a shared object": """
        import importlib.machinery as m, importlib.util as u
        loader = m.ExtensionFileLoader("x", "/usr/lib/x86_64-linux-gnu/libc.so.6")
        return repr(loader.create_module(u.spec_from_loader("x", loader)))
    """,
    "links and folders": "import os\n        os.symlink('/etc', 'x')\n        return os.listdir('x')",
    "a folder of its own": "import tempfile\n        return tempfile.mkdtemp()",
    "shared memory": "import _posixshmem\n        return _posixshmem.shm_open('/x', 66)",
    "a debugger": "import pdb\n        pdb.set_trace()\n        return open('/etc/passwd').read()",
    "the environment's variables": "import os\n        return dict(os.environ)",
    "the arguments of the process": "import sys\n        return [a for a in sys.argv if a and a != 'main.py']",
    "who it runs as": "import os\n        return os.getlogin()",
}

# What ends the guest, or the guest's own machinery, and nothing else.
SUICIDES = {
    "abort": "import os\n        os.abort()",
    "exit": "import os\n        os._exit(0)",
    "sys.exit": "import sys\n        sys.exit('bye')",
    "a signal": "import signal\n        signal.raise_signal(9)",
    "a fault": "import faulthandler\n        faulthandler._sigsegv()",
    "bytecode that reads what is not there": """
        f = lambda: 0
        f.__code__ = f.__code__.replace(co_code=bytes([151, 0, 144, 255, 144, 255, 100, 255, 83, 0]), co_consts=())
        return repr(f())
    """,
    "marshalled code that is broken": "import marshal\n        return marshal.loads(b'c' + b'\\xff' * 64)",
    "a stack without end": "import sys\n        sys.setrecursionlimit(10**9)\n        f = lambda f: f(f)\n        f(f)",
    "a stack without end in C": """
        import sys
        sys.setrecursionlimit(10**9)
        x = []
        for _ in range(10**6): x = [x]
        return repr(x)
    """,
    "the interpreter's own tables": "import builtins\n        builtins.__dict__.clear()\n        return 1",
    "the guest's own code": """
        import sys
        for name, module in list(sys.modules.items()):
            if name.startswith(("plugyard_guest", "wit_world", "json")):
                module.__dict__.clear()
        return 1
    """,
    "an error that raises when it is told": """
        class E(Exception):
            def __str__(self): raise E()
            __repr__ = __str__
        raise E()
    """,
}


def source(body: str) -> str:
    return f"def run(input):\n    if True:\n        {body.strip()}\n"


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_python_gets_hold_of_nothing(sandbox: Sandbox, attempt: str) -> None:
    outcome = await run(sandbox, Runtime.PYTHON, source(ATTEMPTS[attempt]), timeout_ms=5000)
    if outcome.status is ExecutionStatus.SUCCEEDED:
        assert json.loads(outcome.output or b"null") in NOTHING
    else:
        assert outcome.status in (ExecutionStatus.FAILED, ExecutionStatus.CRASHED)
        # An attempt that does not even load would prove nothing.
        assert outcome.error is not None
        assert outcome.error.code != "load_failed", outcome.error.message


@pytest.mark.parametrize("attempt", SUICIDES)
async def test_what_ruins_the_guest_ruins_one_execution(sandbox: Sandbox, attempt: str) -> None:
    outcome = await run(sandbox, Runtime.PYTHON, source(SUICIDES[attempt]), timeout_ms=5000)
    assert outcome.status in (
        ExecutionStatus.FAILED,
        ExecutionStatus.CRASHED,
        ExecutionStatus.OUT_OF_MEMORY,
        ExecutionStatus.TIMED_OUT,
    )
    assert outcome.error is not None


@pytest.mark.parametrize(
    ("service", "method"),
    [
        ("database", "query"),
        ("http", "request"),
        ("../database", "query"),
        ("", ""),
        ("files", "__class__"),
        ("\0", "x"),
    ],
)
async def test_the_door_itself_asks_for_the_grant(sandbox: Sandbox, service: str, method: str) -> None:
    body = f"""
        from wit_world.imports import host
        ticket = host.start({service!r}, {method!r}, '{{"granted": true, "tenantId": "globex"}}')
        answer = host.wait(None)
        return [answer.ticket == ticket, answer.ok]
    """
    outcome = await run(sandbox, Runtime.PYTHON, source(body))
    assert json.loads(outcome.output or b"null") in ([True, False], None)
