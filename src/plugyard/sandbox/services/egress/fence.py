"""Whether a grant allows a request: its host, port, method and path. Called for the first hop and every further one.

A refusal tells the author what was refused and the admin what to grant, and names nothing that they do not know.
"""

from plugyard.domain.permissions import Permission
from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress.target import DEFAULT_PORTS, Target, TargetError, ambiguity, normal_path

HOW = 'an admin names it under "hosts" of the permission "network" at POST /api/v1/plugins/{id}/install'


def judge(grant: Permission, method: str, target: Target) -> None:
    """Raise Denied unless the grant covers this request."""
    if target.is_address:
        raise Denied("an address is never granted: name a host")
    if not grant.hosts:
        raise Denied(f"no host is granted yet, so {target.host} cannot be called: {HOW}")
    if not any(_host_allows(entry, target) for entry in grant.hosts):
        where = target.host if _usual_port(target) else f"{target.host}:{target.port}"
        raise Denied(f"the host {where} is not granted: {HOW}")
    if grant.methods and method not in grant.methods:
        raise Denied(f"the method {method} is not granted; granted: {', '.join(grant.methods)}")
    if grant.paths:
        _judge_path(grant.paths, target.path)


def _judge_path(granted: tuple[str, ...], path: str) -> None:
    doubt = ambiguity(path)
    if doubt is not None:
        raise Denied(f"the path could be read in more than one way ({doubt}), and the grant names paths")
    if not any(_path_allows(pattern, path) for pattern in granted):
        raise Denied(f"the path {path[:200]} is not granted; granted: {', '.join(granted)}")


def _host_allows(entry: str, target: Target) -> bool:
    """An exact name, or `*.` and a name of at least two labels, which takes every host below it; perhaps a port."""
    name, colon, port = entry.lower().partition(":")
    if colon:
        if port != str(target.port):
            return False
    elif not _usual_port(target):
        return False
    name = name.removesuffix(".")
    if not name.startswith("*."):
        return name == target.host
    return "." in name[2:] and target.host.endswith(name[1:])


def _usual_port(target: Target) -> bool:
    return target.port == DEFAULT_PORTS[target.scheme]


def _path_allows(pattern: str, path: str) -> bool:
    """An exact path, or a beginning with `*` for all that may follow it."""
    prefix, star, _ = pattern.partition("*")
    try:
        # Only the escapes are brought into one form here: a pattern that ends in the midst of a segment has no other.
        settled = "/".join(normal_path(f"/{part}")[1:] for part in prefix.split("/"))
    except TargetError:
        return False
    return path.startswith(settled) if star else path == settled
