"""The short way into a guest's functions, held against wasmtime-py's own, on a real component."""

from pathlib import Path
from typing import Any

import pytest
from wasmtime import Engine, Store, WasmtimeError
from wasmtime.component import Component, Func

from plugyard.sandbox.inside import components
from plugyard.sandbox.inside.environment import Door, new_store
from plugyard.sandbox.inside.textcall import TextFunction, takes_texts

PLUGIN = Path(__file__).resolve().parents[2] / "examples/duplicate-finder/plugin.wasm"
CONTEXT = b"{}"


class _Platform:
    """Stands where an environment would."""

    gone = False

    def log(self, *_: object) -> None:
        if self.gone:
            raise EOFError("the service has gone")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return components.engine()


@pytest.fixture(scope="module")
def component(engine: Engine) -> Component:
    return Component(engine, PLUGIN.read_bytes())


@pytest.fixture
def both(engine: Engine, component: Component) -> tuple[Store, Func, TextFunction]:
    door: Any = Door(engine)
    door.environment = _Platform()
    store = new_store(engine)
    found = door.linker.instantiate(store, component).get_func(store, "invoke")
    assert found is not None
    assert takes_texts(found.type(store), 3)
    return store, found, TextFunction(store, found, 3)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("find", '{"texts": ["Müller & Söhne", "Mueller & Soehne", "Acme"], "threshold": 0.3}'),
        ("find", '{"texts": []}'),
        ("find", "null"),
        ("find", ""),
        ("nothing", "1"),
        ("", "{}"),
        ("find", '{"texts": ["' + "x" * 300_000 + '"]}'),
    ],
)
def test_both_ways_give_the_same(both: tuple[Store, Func, TextFunction], name: str, given: str) -> None:
    store, general, short = both
    for _ in range(3):
        wanted = general(store, name, given, CONTEXT.decode())
        assert short(name.encode(), given.encode(), CONTEXT) == (wanted.tag == "ok", wanted.payload.encode())


def test_what_the_platform_raises_inside_a_guest_comes_out(engine: Engine, component: Component) -> None:
    door: Any = Door(engine)
    door.environment = _Platform()
    store = new_store(engine)
    found = door.linker.instantiate(store, component).get_func(store, "invoke")
    assert found is not None
    door.environment.gone = True
    with pytest.raises(EOFError, match="the service has gone"):
        TextFunction(store, found, 3)(b"find", b'{"texts": []}', CONTEXT)


def test_a_call_with_too_few_texts_does_not_reach_the_guest(both: tuple[Store, Func, TextFunction]) -> None:
    with pytest.raises(TypeError, match="3 texts"):
        both[2](b"find")


def test_a_guest_that_the_engine_stops_is_told_of_as_such(engine: Engine, component: Component) -> None:
    store = new_store(engine)
    store.set_limits(2 * 1024 * 1024, 100, 10, 10, 10)
    found = Door(engine).linker.instantiate(store, component).get_func(store, "invoke")
    assert found is not None
    short = TextFunction(store, found, 3)
    with pytest.raises(WasmtimeError):
        short(b"find", b'{"texts": ["' + b"x" * 3_000_000 + b'"]}', CONTEXT)


def test_a_function_of_another_type_is_known_by_its_type(engine: Engine, component: Component) -> None:
    exports = component.type.exports(engine)
    assert takes_texts(exports["invoke"].ty, 3)
    assert not takes_texts(exports["invoke"].ty, 2)
    assert not takes_texts(exports["functions"].ty, 0)
