"""Reads JavaScript and TypeScript by tree-sitter: what is imported, called, mentioned, written and exported.

The grammar is not the engine that runs the code, so a file that it cannot read well is a finding and no refusal.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import tree_sitter_javascript
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

from plugyard.gate.source.facts import MOST_FACTS, SERVICES, Argument, Call, Import, Mention, Source, Text, is_vendored
from plugyard.gate.source.nodes import (
    bare,
    character_of,
    few,
    first_argument,
    is_written,
    line_of,
    text_of,
    unescaped,
    value_of,
)

_QUERY = """
(call_expression) @call
(new_expression) @call
(member_expression) @member
(subscript_expression) @member
(import_statement) @import
(export_statement) @export
(variable_declarator) @declared
(assignment_expression) @assigned
(string) @string
(template_string) @string
(function_declaration) @function
"""
_NAMES = """
[(identifier) (property_identifier) (shorthand_property_identifier) (shorthand_property_identifier_pattern)] @name
"""
_ODD_NAMES = re.compile(r"[^\x00-\x7f]|\\u|_0x")
_DECODING = re.compile(r"atob|unescape|decodeURI|fromCharCode|fromCodePoint|Buffer\.from")
_LOOKED_AT = frozenset(
    {"eval", "Function", "setTimeout", "setInterval", "setImmediate", "require", "import", "constructor", "execScript"}
    | {"runInThisContext", "runInNewContext", "runInContext", "compileFunction", "Script", "AsyncFunction", "Worker"}
)
_TIMERS = ("setTimeout", "setInterval", "setImmediate")
_DECODERS = frozenset(
    {
        "atob",
        "unescape",
        "decodeURIComponent",
        "decodeURI",
        "String.fromCharCode",
        "String.fromCodePoint",
        "Buffer.from",
    }
)
_GLOBALS = ("globalThis.", "window.", "self.", "global.", "top.")
_TOLD = frozenset(
    {"constructor", "__proto__", "prototype", "binding", "mainModule", "env", "__defineGetter__", "_load", "dlopen"}
)
_FUNCTIONS = frozenset({"arrow_function", "function_expression", "function_declaration", "function"})
_ESCAPED_NAME = re.compile(r"\\u(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))")
_DEEPEST, _MOST_IN_AN_ERROR = 1_000, 2_000
_DEEP = 14
_SHORTEST, _LONG_LINE = 2, 300


class _Grammar(NamedTuple):
    parser: Parser
    query: Query
    names: Query


@lru_cache(maxsize=2)
def _grammar(typescript: bool) -> _Grammar:
    # Made once for each process; the jail is closed only after a rehearsal has made both.
    language = Language(
        tree_sitter_typescript.language_typescript() if typescript else tree_sitter_javascript.language()
    )
    return _Grammar(Parser(language), Query(language, _QUERY), Query(language, _NAMES))


def read(path: str, text: str) -> Source:
    """The facts of one file."""
    grammar = _grammar(path.endswith("ts"))
    data = text.encode("utf-8", "surrogatepass")
    tree = grammar.parser.parse(data)
    problem = _unreadable(tree)
    if problem is not None:
        return Source(path, "javascript", is_vendored(path), problem=problem)
    captured = QueryCursor(grammar.query).captures(tree.root_node)
    if _ODD_NAMES.search(text):
        # Names are looked at only where one could be odd, for they are most of a tree.
        captured["name"] = QueryCursor(grammar.names).captures(tree.root_node).get("name", [])
    return _Reading(path, _DECODING.search(text) is not None).of(captured)


class _Reading:
    """One file while its tree is there."""

    def __init__(self, path: str, may_decode: bool) -> None:
        self._path, self._may_decode = path, may_decode
        self._aliases: dict[str, str] = {}
        self._decoded: set[str] = set()
        self._imports: list[Import] = []

    def of(self, captured: dict[str, list[Node]]) -> Source:
        for node in captured.get("import", ())[:MOST_FACTS]:
            self._import(node)
        declared = captured.get("declared", [])[:MOST_FACTS]
        for node in declared:
            self._declare(node)
        for _ in range(2 if self._may_decode else 0):
            self._follow(declared, captured.get("assigned", [])[:MOST_FACTS], captured.get("function", [])[:MOST_FACTS])
        calls = [self._call(node) for node in captured.get("call", ())[:MOST_FACTS]]
        mentions, services = self._members(captured.get("member", ()))
        self._destructured_services(declared, captured.get("call", ()), services)
        identifiers, escaped = _names(captured.get("name", ()))
        return Source(
            self._path,
            "javascript",
            is_vendored(self._path),
            imports=tuple(self._imports),
            calls=tuple(calls),
            mentions=tuple(mentions),
            texts=_texts(captured.get("string", ())),
            identifiers=tuple(identifiers.items()),
            escaped=tuple(escaped.items()),
            exports=self._exports(captured),
            services=tuple((permission, line) for permission, line in services.items() if permission),
            services_pass_on="" in services,
        )

    # --- names ------------------------------------------------------------------------------------------------------

    def _import(self, node: Node) -> None:
        source = node.child_by_field_name("source")
        if source is None:
            return
        module = value_of(source).removeprefix("node:")
        self._imports.append(Import(module, line_of(node)))
        clause = next((child for child in node.named_children if child.type == "import_clause"), None)
        for child in clause.named_children if clause is not None else ():
            if child.type == "identifier":
                self._aliases[text_of(child)] = module
            elif child.type == "namespace_import":
                self._aliases[text_of(child.named_children[-1])] = module
            elif child.type == "named_imports":
                for one in child.named_children:
                    name, alias = one.child_by_field_name("name"), one.child_by_field_name("alias")
                    if name is not None:
                        self._aliases[text_of(alias or name)] = f"{module}.{text_of(name)}"

    def _declare(self, node: Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or value is None:
            return
        value = bare(value)
        source = self._required(value) or (
            self._dotted(value) if value.type in ("identifier", "member_expression", "subscript_expression") else ""
        )
        if not source or source.startswith("?"):
            return
        if name.type == "identifier":
            if source != text_of(name):
                self._aliases.setdefault(text_of(name), source)
        elif name.type == "object_pattern":
            for one in name.named_children:
                if one.type == "shorthand_property_identifier_pattern":
                    self._aliases.setdefault(text_of(one), f"{source}.{text_of(one)}")
                elif one.type == "pair_pattern":
                    key, to = one.child_by_field_name("key"), one.child_by_field_name("value")
                    if key is not None and to is not None and to.type == "identifier":
                        self._aliases.setdefault(text_of(to), f"{source}.{text_of(key)}")

    def _required(self, node: Node) -> str:
        """The module that ``require("...")`` or ``await import("...")`` names; empty where it is no such call."""
        if node.type != "call_expression":
            return ""
        function, given = node.child_by_field_name("function"), first_argument(node)
        if function is None or given is None or function.type not in ("identifier", "import"):
            return ""
        if text_of(function) not in ("require", "import") or given.type != "string":
            return ""
        return value_of(given).removeprefix("node:")

    def _dotted(self, node: Node | None, depth: int = 0) -> str:
        if node is None or depth > _DEEP:
            return "?"
        kind = node.type
        if kind == "identifier":
            name = text_of(node)
            return self._aliases.get(name, name)
        if kind == "member_expression":
            owner = self._dotted(node.child_by_field_name("object"), depth + 1)
            name = f"{owner}.{text_of(node.child_by_field_name('property'))}"
        elif kind == "subscript_expression":
            index = node.child_by_field_name("index")
            if index is None or index.type != "string":
                return "?"
            name = f"{self._dotted(node.child_by_field_name('object'), depth + 1)}.{value_of(index)}"
        elif kind in ("this", "import", "super"):
            return kind
        elif kind == "call_expression":
            return self._required(node) or "?"
        elif kind in ("parenthesized_expression", "await_expression", "non_null_expression", "as_expression"):
            return self._dotted(node.named_children[0] if node.named_children else None, depth + 1)
        else:
            return "?"
        for prefix in _GLOBALS:
            if name.startswith(prefix):
                return name[len(prefix) :]
        return name

    def _follow(self, declared: list[Node], assigned: list[Node], functions: list[Node]) -> None:
        """Names that hold what a decoder gave, and functions that decode."""
        for node in declared:
            name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            if name is not None and value is not None and name.type == "identifier" and self._decodes(value):
                self._remember(name)
        for node in assigned:
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            if left is not None and right is not None and left.type == "identifier" and self._decodes(right):
                self._remember(left)
        for node in functions:
            name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
            if name is not None and body is not None and self._decodes(body):
                self._remember(name)

    def _remember(self, name: Node) -> None:
        text = text_of(name)
        # In minified code one letter is a hundred variables.
        if len(text) > _SHORTEST or name.end_point[1] < _LONG_LINE:
            self._decoded.add(text)

    def _decodes(self, value: Node) -> bool:
        if not self._may_decode or value.type in ("string", "number", "true", "false", "null"):
            return False
        for node in few(value):
            if node.type == "identifier" and text_of(node) in self._decoded:
                return True
            if node.type == "call_expression":
                name = self._dotted(node.child_by_field_name("function"))
                if name in _DECODERS or name.endswith((".fromCharCode", ".fromCodePoint")):
                    return True
        return False

    # --- facts ------------------------------------------------------------------------------------------------------

    def _call(self, node: Node) -> Call:
        function = node.child_by_field_name("function") or node.child_by_field_name("constructor")
        name = self._dotted(function)
        if function is not None and function.type == "call_expression":
            # f(...)(...), as in constructor("...")(): what is called is what the inner call made.
            name = f"{self._dotted(function.child_by_field_name('function'))}()"
        argument = self._argument(name, node)
        if name in ("require", "import"):
            given = first_argument(node)
            constant = value_of(given).removeprefix("node:") if given is not None and given.type == "string" else None
            self._imports.append(Import(constant, line_of(node), argument))
        return Call(name, line_of(node), argument)

    def _argument(self, name: str, node: Node) -> Argument:
        if name.removesuffix("()").rpartition(".")[2] not in _LOOKED_AT:
            return Argument.COMPUTED
        arguments = node.child_by_field_name("arguments")
        given = arguments.named_children if arguments is not None and arguments.type == "arguments" else []
        if not given:
            return Argument.NONE
        first, last = bare(given[0]), bare(given[-1])
        if name in _TIMERS:
            return self._timed(first)
        # For Function the last argument is the body; for others it is mostly the only one.
        kinds = {self._kind(first), self._kind(last)}
        for one in (Argument.DECODED, Argument.COMPUTED, Argument.PIECES, Argument.CONSTANT):
            if one in kinds:
                return one
        return Argument.VALUE

    def _timed(self, given: Node) -> Argument:
        """What a timer is to run: a function mostly, and text only where that can be seen."""
        if given.type == "binary_expression" and any(one.type == "string" for one in few(given)):
            # Text that is joined to something is text, whatever it is joined to.
            return Argument.PIECES
        if given.type == "call_expression" and self._dotted(given.child_by_field_name("function")) in _DECODERS:
            return Argument.DECODED
        return Argument.VALUE

    def _kind(self, node: Node) -> Argument:
        if node.type == "string":
            return Argument.CONSTANT
        if node.type in ("number", "true", "false", "null", "regex", *_FUNCTIONS, "object"):
            return Argument.VALUE
        if node.type == "template_string" and not node.named_children:
            return Argument.CONSTANT
        if self._decodes(node):
            return Argument.DECODED
        leaves = {one.type for one in few(node)}
        if node.type == "template_string" and "template_substitution" not in leaves:
            return Argument.CONSTANT
        return Argument.COMPUTED if leaves & {"identifier", "this"} else Argument.PIECES

    def _members(self, nodes: list[Node] | tuple[()]) -> tuple[list[Mention], dict[str, int]]:
        mentions: list[Mention] = []
        services: dict[str, int] = {}
        for node in nodes:
            key = node.child_by_field_name("property") or node.child_by_field_name("index")
            if key is None:
                continue
            word = value_of(key) if key.type == "string" else text_of(key)
            if word in _TOLD and len(mentions) < MOST_FACTS:
                mentions.append(Mention(self._dotted(node), line_of(node), is_written(node)))
            elif word in SERVICES and self._dotted(node).rpartition(".")[0].rpartition(".")[2] == "services":
                services.setdefault(SERVICES[word], line_of(node))
        return mentions, services

    def _destructured_services(
        self, declared: list[Node], calls: list[Node] | tuple[()], services: dict[str, int]
    ) -> None:
        """``const { http } = context.services``, parameters that take services apart, and services that are handed on.

        The empty word stands for services that go where they cannot be followed.
        """
        for name, target in self._aliases.items():
            owner, _, word = target.rpartition(".")
            if word in SERVICES and owner.rpartition(".")[2] == "services":
                services.setdefault(SERVICES[word], 1)
            elif word == "services" and name == "":
                services[""] = 1
        for node in declared:
            pattern = node.child_by_field_name("name")
            if pattern is not None and pattern.type == "object_pattern":
                self._services_in(pattern, services)
        for call in calls:
            function = call.child_by_field_name("function")
            if function is not None and self._dotted(function) == "fetch":
                services.setdefault("network", line_of(call))
            arguments = call.child_by_field_name("arguments")
            for one in arguments.named_children if arguments is not None else ():
                if (
                    one.type in ("identifier", "member_expression")
                    and self._dotted(one).rpartition(".")[2] == "services"
                ):
                    services[""] = line_of(call)

    def _services_in(self, pattern: Node, services: dict[str, int]) -> None:
        for one in pattern.named_children:
            if one.type == "pair_pattern":
                key, to = one.child_by_field_name("key"), one.child_by_field_name("value")
                if key is not None and to is not None and text_of(key) == "services" and to.type == "object_pattern":
                    for each in to.named_children:
                        word = text_of(each.child_by_field_name("key") or each)
                        if word in SERVICES:
                            services.setdefault(SERVICES[word], line_of(each))

    # --- exports ----------------------------------------------------------------------------------------------------

    def _exports(self, captured: dict[str, list[Node]]) -> frozenset[str] | None:
        names: set[str] = set()
        for node in captured.get("export", ()):
            found = _exported(node)
            if found is None:
                return None
            names |= found
        for node in captured.get("assigned", ()):
            left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
            target = self._dotted(left)
            if target == "module.exports":
                if right is None or right.type != "object":
                    return None
                for one in right.named_children:
                    if one.type == "spread_element":
                        return None
                    key = one.child_by_field_name("key") or one.child_by_field_name("name") or one
                    names.add(value_of(key) if key.type == "string" else text_of(key))
            elif target.startswith(("exports.", "module.exports.")):
                names.add(target.rpartition(".")[2])
            elif target == "exports" or (left is not None and left.type == "subscript_expression" and "?" in target):
                return None
        if any(
            one.name in ("Object.assign", "Object.defineProperty")
            for one in map(self._call_name, captured.get("call", ()))
        ):
            return None
        return frozenset(names)

    def _call_name(self, node: Node) -> Call:
        return Call(self._dotted(node.child_by_field_name("function")), 0, Argument.NONE)


def _exported(node: Node) -> set[str] | None:
    """The names of one export statement; ``None`` for all names of another module."""
    names: set[str] = set()
    declaration = node.child_by_field_name("declaration")
    if declaration is not None:
        name = declaration.child_by_field_name("name")
        if name is not None:
            names.add(text_of(name))
        for one in declaration.named_children:
            if one.type == "variable_declarator":
                target = one.child_by_field_name("name")
                if target is None or target.type != "identifier":
                    return None
                names.add(text_of(target))
    for child in node.children:
        if child.type == "*":
            return None
        if child.type == "namespace_export":
            names.add(text_of(child.named_children[-1]))
        if child.type == "default":
            names.add("default")
        if child.type == "export_clause":
            for one in child.named_children:
                alias = one.child_by_field_name("alias") or one.child_by_field_name("name")
                if alias is not None:
                    names.add(value_of(alias) if alias.type == "string" else text_of(alias))
    return names


def _names(nodes: list[Node] | tuple[()]) -> tuple[dict[str, int], dict[str, int]]:
    names: dict[str, int] = {}
    escaped: dict[str, int] = {}
    for node in nodes:
        name = text_of(node)
        if "\\" in name:
            name = _ESCAPED_NAME.sub(lambda match: character_of(match[1] or match[2], 16), name)
            escaped.setdefault(name, line_of(node))
        if name not in names:
            names[name] = line_of(node)
    return names, escaped


def _texts(nodes: list[Node] | tuple[()]) -> tuple[Text, ...]:
    texts: list[Text] = []
    for node in nodes:
        size = node.end_byte - node.start_byte
        if size < 10 or len(texts) >= MOST_FACTS:
            continue
        value, escapes = unescaped(text_of(node)[1:-1])
        texts.append(Text(value, line_of(node), escapes))
    return tuple(texts)


def _unreadable(tree: Tree) -> str | None:
    """Why a tree is not looked at: it is nested beyond measure, or it is no code.

    A query over a hundred thousand nested calls takes minutes, so the depth is looked at before, without making nodes.
    A grammar that lags behind the language makes small errors; what is no code makes large ones.
    """
    cursor, depth = tree.walk(), 0
    down, along, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    faulty = tree.root_node.has_error
    while True:
        if faulty:
            node = cursor.node
            if node is not None and node.type == "ERROR" and _is_large(node, tree.root_node):
                return "cannot be read as code"
        if down():
            depth += 1
            if depth > _DEEPEST:
                return f"is nested deeper than {_DEEPEST} levels"
            continue
        while not along():
            if not up():
                return None
            depth -= 1


def _is_large(error: Node, root: Node) -> bool:
    covers = (error.end_byte - error.start_byte) * 2 > root.end_byte - root.start_byte
    return covers or error.child_count > _MOST_IN_AN_ERROR
