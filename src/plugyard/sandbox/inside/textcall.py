"""Calls of a guest's functions that take texts and give a text or an error, without wasmtime-py's general way.

That way asks the engine for the function's type at each call, builds an object for every part of it, and copies each
text three times; for a function as small as most of a plugin's are, it takes longer than the guest does. Here the type
is looked at once, when the function is bound. Everything of ctypes that is not in the jail is in this file; it follows
``wasmtime.component.Func.__call__`` of the release that `pyproject.toml` pins, and a test holds one against the other.
"""

from ctypes import byref, memmove, string_at
from typing import Any

from wasmtime import Store, _bindings
from wasmtime import _ffi as ffi
from wasmtime.component import Func, FuncType, ResultType, String
from wasmtime.component._enter import enter_wasm

# The bare functions of the library: what wraps them in Python does nothing but pass its arguments on.
_call = _bindings._wasmtime_component_func_call
_new_text = _bindings._wasm_byte_vec_new_uninitialized
_delete = _bindings._wasmtime_component_val_delete
_Value: Any = ffi.wasmtime_component_val_t
_STRING = ffi.WASMTIME_COMPONENT_STRING.value


def takes_texts(kind: object, count: int) -> bool:
    """Whether it is the type of a function of so many strings whose result is a string or, as its error, another."""
    if not isinstance(kind, FuncType) or [isinstance(one, String) for _, one in kind.params] != [True] * count:
        return False
    result = kind.result
    return isinstance(result, ResultType) and isinstance(result.ok, String) and isinstance(result.err, String)


class TextFunction:
    """One function of one instance, called with UTF-8 and answering with UTF-8.

    Whoever binds one has seen that ``takes_texts`` says so of its type: nothing here looks at it again.
    """

    __slots__ = ("_arguments", "_context", "_func", "_places", "_raw")

    def __init__(self, store: Store, func: Func, count: int) -> None:
        self._func = func
        self._raw = byref(func._func)
        self._context = store._context()
        self._arguments = (_Value * count)()
        texts = [self._arguments[number].of.string for number in range(count)]
        values = [self._arguments[number] for number in range(count)]
        self._places = [(byref(value), value, text, byref(text)) for value, text in zip(values, texts, strict=True)]

    def __call__(self, *texts: bytes) -> tuple[bool, bytes]:
        """Whether it succeeded, and its result or its error.

        Raises ``WasmtimeError`` where the engine stopped the guest, and what the platform raised inside of it. The
        texts have to be UTF-8: the engine takes that for granted.
        """
        if len(texts) != len(self._places):
            raise TypeError(f"{len(self._places)} texts are needed, not {len(texts)}")
        given = 0
        result = _Value()
        try:
            for (_, value, place, reference), text in zip(self._places, texts, strict=True):
                _new_text(reference, len(text))
                memmove(place.data, text, len(text))
                value.kind = _STRING
                given += 1
            error = _call(self._raw, self._context, self._arguments, given, byref(result), 1)
            if error:
                enter_wasm(lambda: error)
        finally:
            for reference, *_ in self._places[:given]:
                _delete(reference)
        outcome = result.of.result
        text = outcome.val.contents.of.string
        answer = outcome.is_ok, string_at(text.data, text.size) if text.size else b""
        _delete(byref(result))
        return answer
