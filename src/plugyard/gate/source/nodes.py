"""Nodes of tree-sitter's trees, read in the words of JavaScript: their text, their line, what a literal holds."""

import re

from tree_sitter import Node

_FEW = 400
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|([0-7]{1,3})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\n": ""}


def unescaped(raw: str) -> tuple[str, int]:
    """The text as the language reads it, and how many of its characters are printable ASCII written as escapes."""
    if "\\" not in raw:
        return raw, 0
    count = 0

    def plain(match: "re.Match[str]") -> str:
        nonlocal count
        code = match[1] or match[2] or match[3]
        if code is None and match[4] is None:
            return _PLAIN.get(match[5], match[5])
        character = character_of(code, 16) if code is not None else character_of(match[4], 8)
        count += " " <= character <= "~"
        return character

    return _ESCAPE.sub(plain, raw), count


def character_of(digits: str, base: int) -> str:
    value = int(digits, base)
    return chr(value) if value < 0x110000 else "?"


def few(node: Node) -> list[Node]:
    """Some of the nodes below one, the outer ones first."""
    found = [node]
    for one in found:
        if len(found) > _FEW:
            break
        found += one.named_children
    return found


def bare(node: Node) -> Node:
    while node.type in ("parenthesized_expression", "await_expression", "as_expression") and node.named_children:
        node = node.named_children[0]
    return node


def first_argument(node: Node) -> Node | None:
    arguments = node.child_by_field_name("arguments")
    return arguments.named_children[0] if arguments is not None and arguments.named_children else None


def is_written(node: Node) -> bool:
    parent = node.parent
    while parent is not None and parent.type in ("member_expression", "subscript_expression"):
        node, parent = parent, parent.parent
    return (
        parent is not None
        and parent.type in ("assignment_expression", "augmented_assignment_expression")
        and parent.child_by_field_name("left") == node
    )


def text_of(node: Node | None) -> str:
    if node is None or node.text is None:
        return "?"
    return node.text.decode("utf-8", "replace")


def value_of(node: Node) -> str:
    """What a string literal holds."""
    return unescaped(text_of(node)[1:-1])[0]


def line_of(node: Node) -> int:
    return int(node.start_point[0]) + 1
