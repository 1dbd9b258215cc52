"""What a narrowed key may do, and that it makes no wider one."""

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.scopes import Scope, may_call, permitted, within

A, B = "plugin-a", "plugin-b"
_words = st.frozensets(st.sampled_from(["read", "execute", "configure"]), max_size=3)
_functions = st.frozensets(st.sampled_from(["f", "g"]), max_size=2)
_scopes = st.builds(Scope, _words, st.sampled_from([None, A, B]), _functions)


def test_no_scopes_narrow_nothing() -> None:
    assert permitted((), "configure", A)
    assert may_call((), A, "f")


def test_a_scope_of_a_plugin_lets_nothing_through_that_names_none() -> None:
    scope = Scope(frozenset({"execute"}), A)
    assert permitted([scope], "execute", A)
    assert not permitted([scope], "execute", B)
    assert not permitted([scope], "execute", None)
    assert not permitted([scope], "read", A)


def test_a_scope_of_functions_executes_those_and_reads_nothing() -> None:
    scope = Scope(frozenset(), A, frozenset({"f"}))
    assert may_call([scope], A, "f")
    assert not may_call([scope], A, "g")
    assert not may_call([scope], B, "f")
    assert not permitted([scope], "read", A)


@given(st.lists(_scopes, min_size=1, max_size=3), st.lists(_scopes, max_size=3))
def test_what_lies_within_never_lets_more_through(held: list[Scope], asked: list[Scope]) -> None:
    if not within(asked, held):
        return
    assert asked
    for action in ("read", "execute", "configure"):
        for plugin in (None, A, B):
            assert not permitted(asked, action, plugin) or permitted(held, action, plugin)
            for function in ("f", "g"):
                if plugin is not None and may_call(asked, plugin, function):
                    assert may_call(held, plugin, function)


@given(st.lists(_scopes, min_size=1, max_size=3))
def test_a_key_lies_within_itself_and_the_stored_form_is_the_same(scopes: list[Scope]) -> None:
    assert within(scopes, scopes)
    assert [Scope.from_document(one.to_document()) for one in scopes] == scopes
