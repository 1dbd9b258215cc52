"""Dead letters over HTTP: queued executions that were given up."""

import msgspec
from starlette.types import ASGIApp

from plugyard.application import deadletters
from plugyard.domain.identity import Action
from plugyard.http import examples, present, ran, views
from plugyard.http.answers import Answer, json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Reply, operation
from plugyard.http.queries import PAGE, page_of, text

_TAG = "Dead letters"
_LETTERS = "/api/v1/dead-letters"
_LETTER = _LETTERS + "/{deadLetterId}"


@operation(
    "GET",
    _LETTERS,
    tag=_TAG,
    action=Action.MANAGE_QUEUE,
    query=(text("plugin", "Only of this plugin, by its id.", example=examples.PLUGIN_ID), *PAGE),
    replies=[Reply(200, "A page.", views.PageView[views.DeadLetterView], examples.page_of(examples.DEAD_LETTER))],
)
async def list_dead_letters(exchange: Exchange) -> ASGIApp:
    """List the queued executions that were given up, the latest first.

    An execution is given up when its last attempt failed, or when it could not be run at all. It stays here for 30
    days.
    """
    asked = exchange.query
    found = await deadletters.dead_letters(exchange.platform, exchange.caller, asked["plugin"], page_of(asked))
    return json_answer(present.page(found, ran.dead_letter))


@operation(
    "GET",
    _LETTER,
    tag=_TAG,
    action=Action.MANAGE_QUEUE,
    replies=[
        Reply(
            200,
            "The dead letter with its input, which is null once it is no longer kept.",
            views.DeadLetterDetail,
            {"deadLetter": examples.DEAD_LETTER, "input": {"lines": []}},
        )
    ],
    problems=["not_found"],
)
async def get_dead_letter(exchange: Exchange) -> ASGIApp:
    """Show one dead letter, with the input that it had."""
    letter, given = await deadletters.dead_letter(exchange.platform, exchange.caller, exchange.id("deadLetterId"))
    shown = msgspec.Raw((given or "null").encode())
    return json_answer(views.DeadLetterDetail(dead_letter=ran.dead_letter(letter), input=shown))


@operation(
    "POST",
    _LETTER + "/replay",
    tag=_TAG,
    action=Action.MANAGE_QUEUE,
    replies=[
        Reply(
            202,
            "It is queued anew, as an execution of its own.",
            views.ExecutionView,
            examples.QUEUED,
            headers={"Location": "Where the new execution is shown."},
        )
    ],
    problems=["not_found", "function_not_found", "conflict", "wrong_state"],
)
async def replay_dead_letter(exchange: Exchange) -> ASGIApp:
    """Run a dead letter again, with the input that it had and the version that is active now.

    The dead letter is gone then. Where the new execution is given up too, it is a dead letter in its turn.
    """
    execution = await deadletters.replay(exchange.platform, exchange.caller, exchange.id("deadLetterId"))
    location = ("location", f"/api/v1/executions/{execution.id}")
    return json_answer(ran.execution(execution), status=202, headers=(location,))


@operation(
    "DELETE",
    _LETTER,
    tag=_TAG,
    action=Action.MANAGE_QUEUE,
    replies=[Reply(204, "It is dropped.")],
    problems=["not_found"],
)
async def drop_dead_letter(exchange: Exchange) -> ASGIApp:
    """Forget a dead letter; the record of its execution stays."""
    await deadletters.drop(exchange.platform, exchange.caller, exchange.id("deadLetterId"))
    return Answer(b"", status=204)


OPERATIONS = (list_dead_letters, get_dead_letter, replay_dead_letter, drop_dead_letter)
