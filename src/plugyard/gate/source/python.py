"""Reads Python by its own ``ast``: what is imported, called, mentioned, written and exported.

The parser is that of this process and not the guest's, so a file that it cannot read is a finding and no refusal.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

from plugyard.gate.source.facts import MOST_FACTS, SERVICES, Argument, Call, Import, Mention, Source, Text, is_vendored

_DECODERS = frozenset(
    {
        "base64.b64decode", "base64.b32decode", "base64.b16decode", "base64.b85decode", "base64.a85decode",
        "base64.decodebytes",
        "base64.urlsafe_b64decode", "base64.standard_b64decode", "bytes.fromhex", "bytearray.fromhex", "codecs.decode",
        "binascii.unhexlify", "binascii.a2b_base64", "binascii.a2b_hex", "zlib.decompress", "gzip.decompress",
        "bz2.decompress", "lzma.decompress", "marshal.loads", "chr",
    }
)  # fmt: skip
_BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "getattr", "open", "globals", "chr", "bytes", "vars"})
_TOLD = frozenset(
    {
        "__subclasses__", "__globals__", "__builtins__", "__bases__", "__base__", "__mro__", "__code__", "__closure__",
        "f_globals", "f_builtins", "f_back", "gi_frame", "environ", "__import__", "__loader__",
    }
)  # fmt: skip
_DECODING = re.compile(r"b64|b32|b16|b85|a85|decode|fromhex|unhexlify|a2b_|decompress|marshal|chr\(")
_LOOKED_AT = frozenset({"eval", "exec", "compile", "__import__", "import_module", "loads", "load", "system", "popen"})
_FEW, _SHORT = 400, 12
# The fields of each kind of node that can hold nodes; the others are names, numbers and markers.
_FIELDS = {
    kind: tuple(
        name
        for name in kind._fields
        if (
            name not in ("ctx", "op", "ops", "id", "attr", "arg", "name", "names", "module", "level", "lineno", "kind")
            and kind is not ast.Constant
        )
        or (kind is ast.keyword and name == "value")
    )
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


def read(path: str, text: str) -> Source:
    """The facts of one file."""
    vendored = is_vendored(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        return Source(path, "python", vendored, problem=f"cannot be read: {error.msg}", problem_line=error.lineno)
    except (ValueError, RecursionError, MemoryError) as error:
        return Source(path, "python", vendored, problem=f"cannot be read: {type(error).__name__}")
    return _Reading(path, vendored, _DECODING.search(text) is not None).of(tree)


class _Reading:
    """One file while its tree is walked."""

    def __init__(self, path: str, vendored: bool, may_decode: bool) -> None:
        self._path, self._vendored, self._may_decode = path, vendored, may_decode
        self._aliases: dict[str, str] = {}
        self._decoded: set[str] = set()
        self._imports: list[Import] = []
        self._assigned: list[tuple[str, ast.expr]] = []
        self._identifiers: dict[str, int] = {}

    def of(self, tree: ast.Module) -> Source:
        calls: list[ast.Call] = []
        attributes: list[ast.Attribute | ast.Subscript] = []
        texts: list[Text] = []
        for node in _walk(tree):
            kind = type(node)
            if kind is ast.Call:
                calls.append(node)  # type: ignore[arg-type]
            elif kind is ast.Attribute or kind is ast.Subscript:
                attributes.append(node)  # type: ignore[arg-type]
            elif kind is ast.Constant:
                value = node.value  # type: ignore[attr-defined]
                if type(value) in (str, bytes) and len(value) >= 8 and len(texts) < MOST_FACTS:
                    texts.append(Text(value if type(value) is str else value.decode("latin-1"), node.lineno))  # type: ignore[attr-defined]
            else:
                self._take(node)
        self._follow()
        found = [self._call(node) for node in islice(calls, MOST_FACTS)]
        got = [node for node in calls if type(node.func) is ast.Name and node.func.id == "getattr"]
        told = (self._mention(node) for node in islice((*attributes, *got), MOST_FACTS))
        mentions = [one for one in told if one is not None]
        services, passed_on = self._services(attributes, calls)
        return Source(
            self._path,
            "python",
            self._vendored,
            imports=tuple(self._imports),
            calls=tuple(found),
            mentions=tuple(mentions),
            texts=tuple(texts),
            identifiers=tuple(self._identifiers.items()),
            exports=_exports(tree),
            services=services,
            services_pass_on=passed_on,
        )

    def _take(self, node: Any) -> None:
        """Names and imports, as the walk meets them."""
        kind = type(node)
        if kind is ast.Name:
            self._name(node.id, node.lineno)
        elif kind is ast.arg:
            self._name(node.arg, node.lineno)
        elif kind is ast.Assign:
            self._assigned += [(target.id, node.value) for target in node.targets if type(target) is ast.Name]
        elif kind in (ast.AnnAssign, ast.NamedExpr):
            if type(node.target) is ast.Name and node.value is not None:
                self._assigned.append((node.target.id, node.value))
        elif kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
            self._name(node.name, node.lineno)
            returned = next((one.value for one in node.body if type(one) is ast.Return and one.value), None)
            if returned is not None and len(node.body) <= _SHORT:
                self._assigned.append((node.name, returned))
        elif kind is ast.Import:
            for one in node.names:
                self._imports.append(Import(one.name, node.lineno))
                self._aliases[one.asname or one.name.partition(".")[0]] = (
                    one.name if one.asname else one.name.partition(".")[0]
                )
        elif kind is ast.ImportFrom and not node.level:
            self._imports.append(Import(node.module or "", node.lineno))
            for one in node.names:
                self._aliases[one.asname or one.name] = f"{node.module}.{one.name}"

    def _name(self, name: str, line: int) -> None:
        # The walk takes no order, so the first line is the least.
        known = self._identifiers.get(name)
        if known is None or line < known:
            self._identifiers[name] = line

    def _follow(self) -> None:
        """Names that stand for others, and names that hold what a decoder gave."""
        for _ in range(2):
            for name, value in self._assigned:
                if isinstance(value, ast.Name | ast.Attribute):
                    target = self._dotted(value)
                    known = target.partition(".")[0] in _BUILTINS or "services" in target or "." in target
                    if known and not target.startswith(("?", name + ".")):
                        self._aliases.setdefault(name, target)
                elif self._decodes(value):
                    self._decoded.add(name)

    def _dotted(self, node: ast.AST, depth: int = 0) -> str:
        if isinstance(node, ast.Name):
            return self._aliases.get(node.id, node.id)
        if depth > 12:
            return "?"
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value, depth + 1)}.{node.attr}"
        if isinstance(node, ast.Subscript):
            key = node.slice
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier():
                return f"{self._dotted(node.value, depth + 1)}.{key.value}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            asked = node.args[1] if len(node.args) > 1 else None
            if isinstance(asked, ast.Constant) and isinstance(asked.value, str):
                return f"{self._dotted(node.args[0], depth + 1)}.{asked.value}"
        return "?"

    def _decodes(self, value: ast.AST) -> bool:
        """Whether a value comes out of a decoder, as far as a bounded look shows."""
        if not self._may_decode or type(value) in (ast.Constant, ast.Attribute):
            return False
        for node in islice(ast.walk(value), _FEW):
            if isinstance(node, ast.Name) and node.id in self._decoded:
                return True
            if isinstance(node, ast.Call) and self._dotted(node.func) in _DECODERS:
                return True
        return False

    def _argument(self, name: str, node: ast.Call) -> Argument:
        given = [*node.args, *(one.value for one in node.keywords if one.arg)]
        if not given:
            return Argument.NONE
        if isinstance(given[0], ast.Constant):
            return Argument.CONSTANT
        if name.rpartition(".")[2] not in _LOOKED_AT:
            return Argument.COMPUTED
        if self._decodes(given[0]):
            return Argument.DECODED
        few = islice(ast.walk(given[0]), _FEW)
        names = [one for one in few if isinstance(one, ast.Name | ast.Call)]
        if all(isinstance(one, ast.Call) and _joins(one) for one in names):
            return Argument.PIECES
        return Argument.COMPUTED

    def _call(self, node: ast.Call) -> Call:
        name = self._dotted(node.func)
        argument = self._argument(name, node)
        if name in ("__import__", "importlib.import_module") or name.endswith(".__import__"):
            constant = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            self._imports.append(Import(constant if isinstance(constant, str) else None, node.lineno, argument))
        return Call(name, node.lineno, argument)

    def _mention(self, node: ast.Attribute | ast.Subscript | ast.Call) -> Mention | None:
        name = self._dotted(node)
        if name.rpartition(".")[2] not in _TOLD:
            return None
        return Mention(name, node.lineno, type(getattr(node, "ctx", None)) is ast.Store)

    def _services(
        self, attributes: list[ast.Attribute | ast.Subscript], calls: list[ast.Call]
    ) -> tuple[tuple[tuple[str, int], ...], bool]:
        used: dict[str, int] = {}
        passed_on = False
        for node in attributes:
            owner, _, word = self._dotted(node).rpartition(".")
            if word in SERVICES and owner.rpartition(".")[2] == "services":
                used.setdefault(SERVICES[word], node.lineno)
        for call in calls:
            owner, _, word = self._dotted(call).rpartition(".")
            if word in SERVICES and owner.rpartition(".")[2] == "services":
                used.setdefault(SERVICES[word], call.lineno)
            given = [*call.args, *(one.value for one in call.keywords)]
            passed_on = passed_on or any(self._dotted(one).rpartition(".")[2] == "services" for one in given)
        return tuple(used.items()), passed_on


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but markers; twice as quick as ``ast.walk``, which looks into every field."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        for name in _FIELDS[type(node)]:
            value = getattr(node, name, None)
            if isinstance(value, list):
                stack += [one for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST):
                stack.append(value)


def _joins(call: ast.Call) -> bool:
    function = call.func
    return isinstance(function, ast.Attribute) and function.attr in ("join", "replace", "format", "lower", "strip")


def _exports(tree: ast.Module) -> frozenset[str] | None:
    """The names that a module has when it is loaded; ``None`` where that depends on what it does."""
    names: set[str] = set()
    for node in _top_level(tree.body):
        if isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names):
            return None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name == "__getattr__":
                return None
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {one.asname or one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.Expr | ast.Delete):
            # A call at the top can do anything to the module's names.
            if any(isinstance(one, ast.Name) and one.id in ("globals", "exec", "setattr") for one in ast.walk(node)):
                return None
        else:
            names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            if any(isinstance(one, ast.Name) and one.id in ("globals", "exec") for one in ast.walk(node)):
                return None
    return frozenset(names)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for field in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _top_level(handler.body)
        yield node
