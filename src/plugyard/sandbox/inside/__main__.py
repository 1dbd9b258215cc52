"""The zygote of environments: `python -m plugyard.sandbox.inside [stack=BYTES] RUNTIME=ARTEFACT ... DESCRIPTOR`."""

import resource
import sys

from plugyard.sandbox.inside import components, environment, zygote

# The largest stack that an engine makes, and as much again and more for what calls it.
_PROCESS_STACK_BYTES = 8 * 1024 * 1024


def make_room_for_stacks() -> None:
    """Let the processes' own stacks grow beyond those of the engine, or a guest's overflow would be the process's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft != resource.RLIM_INFINITY and soft < _PROCESS_STACK_BYTES:
        room = _PROCESS_STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, _PROCESS_STACK_BYTES)
        resource.setrlimit(resource.RLIMIT_STACK, (room, hard))


def main() -> None:
    """Map the guests and serve."""
    make_room_for_stacks()
    *artefacts, last = sys.argv[1:]
    paths = dict(argument.split("=", 1) for argument in artefacts)
    stack = int(paths.pop("stack", environment.STACK_BYTES))
    zygote.run(last, lambda: environment.prepare(paths, stack) | components.prepare(stack))


main()
