"""What the sandbox does not have: it would fail at the first execution, and a service does it instead."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package
from plugyard.gate.source.facts import Source

_RULES = (
    Rule(
        "code.socket",
        Severity.WARNING,
        Consequence.SHOW,
        "a socket is opened",
        "There is no network in the sandbox but what the http service offers.",
        "Ask for the permission network and use context.services.http, or fetch.",
    ),
    Rule(
        "code.file",
        Severity.INFO,
        Consequence.SHOW,
        "a file is opened",
        "There is no file system in the sandbox; the package's own resources are read-only text.",
        "Ask for the permission filesystem and use context.services.files.",
    ),
    Rule(
        "code.thread",
        Severity.INFO,
        Consequence.SHOW,
        "a thread is started",
        "An environment has one thread; service calls run side by side by themselves.",
        "Use asyncio.gather or Promise.all for what waits.",
    ),
    Rule(
        "code.environment",
        Severity.INFO,
        Consequence.SHOW,
        "the environment's variables are read",
        "They are empty in the sandbox.",
        "Declare a configuration in the manifest and read context.configuration.",
    ),
    Rule(
        "code.sleep",
        Severity.INFO,
        Consequence.SHOW,
        "the code waits by blocking",
        "It holds an environment that others wait for, and counts against the deadline.",
        "Let the caller, a schedule or a retry rule decide when to try again.",
    ),
)
_SOCKETS = frozenset(
    {"socket.socket", "socket.create_connection", "socket.create_server", "ssl.wrap_socket", "asyncio.open_connection"}
    | {
        "net.connect",
        "net.createConnection",
        "net.createServer",
        "tls.connect",
        "dgram.createSocket",
        "http.createServer",
    }
)
_FILES = frozenset({"open", "io.open", "os.open", "pathlib.Path.open", "os.remove", "os.makedirs", "shutil.copy"})
_THREADS = frozenset({"threading.Thread", "_thread.start_new_thread", "concurrent.futures.ThreadPoolExecutor"})
_SLEEPS = frozenset({"time.sleep", "Atomics.wait"})


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        # What a library has for other places is not the plugin's doing.
        if not source.vendored:
            _look(source, findings)


def _look(source: Source, findings: Findings) -> None:
    python = source.language == "python"
    for call in source.calls:
        name = call.name
        if name in _SOCKETS:
            findings.add("code.socket", source.path, f"calls {name}", line=call.line)
        elif (python and name in _FILES) or (not python and name.startswith(("fs.", "fs/promises."))):
            findings.add("code.file", source.path, f"calls {name}", line=call.line)
        elif name in _THREADS:
            findings.add("code.thread", source.path, f"calls {name}", line=call.line)
        elif name in _SLEEPS:
            findings.add("code.sleep", source.path, f"calls {name}", line=call.line)
        elif name == "os.getenv":
            findings.add("code.environment", source.path, "calls os.getenv", line=call.line)
    for one in source.mentions:
        if one.name in ("os.environ", "process.env"):
            findings.add("code.environment", source.path, f"reads {one.name}", line=one.line)


CHECK = Check("code-dead-ends", "What the sandbox does not have.", _RULES, _run)
