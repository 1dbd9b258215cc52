"""The connection to Valkey: it is killed, hangs, refuses, is full, and whoever asks waits a short while at most."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import hiredis
import pytest

from plugyard.domain.errors import Unavailable
from plugyard.domain.rates import Rate, RatePolicy
from plugyard.infrastructure.rates import LimitedRates
from plugyard.infrastructure.valkey.address import Address, BadAddress
from plugyard.infrastructure.valkey.cache import ValkeyShelves
from plugyard.infrastructure.valkey.link import Away, Lane, Link, Refused
from plugyard.infrastructure.valkey.rates import SharedRates
from tests.valkeys import Valkey

PASSWORD = "a password of the tests alone"
COMMAND_S = 0.2


class Replica:
    """What a service has of the server."""

    def __init__(self, url: str, command_s: float = COMMAND_S) -> None:
        self.link = Link(Address(url), connect_s=0.5, command_s=command_s)
        self.local = LimitedRates()
        self.rates = SharedRates(self.link, self.local)
        self.shelves = ValkeyShelves(self.link, plugin_bytes=1 << 20, plugin_entries=100, total_bytes=1 << 22)

    async def spend(self, policy: RatePolicy, who: str = "acme") -> Rate:
        return self.rates.at_hand(policy, who) or await self.rates.take(policy, who)

    async def until(self, *, up: bool) -> float:
        """Wait until the link says so; after how many seconds."""
        began = time.monotonic()
        while time.monotonic() - began < 10:
            if self.link.up is up:
                return time.monotonic() - began
            await asyncio.sleep(0.01)
        raise AssertionError(f"up={self.link.up} still after 10 s")


@asynccontextmanager
async def replica(url: str, **how: float) -> AsyncIterator[Replica]:
    made = Replica(url, **how)
    await made.local.load()
    async with AsyncExitStack() as parts:
        parts.push_async_callback(made.link.close)
        await made.link.open()
        yield made


class Puppet:
    """A server that takes everything and says OK to it, when and where ``answers`` lets it."""

    def __init__(self) -> None:
        self.seen = 0
        self.writers: dict[int, asyncio.StreamWriter] = {}

    async def answers(self, number: int, command: list[bytes]) -> bool:
        """Whether a command is answered, of the connection with that number; it may take its time."""
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, commands = self.seen, hiredis.Reader()
        self.seen += 1
        self.writers[number] = writer
        try:
            while data := await reader.read(65_536):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    if await self.answers(number, command):
                        writer.write(b"+OK\r\n")
        except ConnectionError:
            pass
        finally:
            del self.writers[number]
            writer.close()

    def hang_up(self) -> None:
        """End every connection."""
        for writer in self.writers.values():
            writer.close()


@asynccontextmanager
async def puppet() -> AsyncIterator[tuple[Puppet, str]]:
    """A puppet and the URL of it."""
    made = Puppet()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        yield made, f"valkey://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        made.hang_up()


async def eventually(holds: Callable[[], bool], within_s: float = 5) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"not within {within_s} s"
        await asyncio.sleep(0.01)


async def test_a_killed_server_fails_nobody_and_is_used_again_soon_after_it_is_back() -> None:
    policy, longest, refused = RatePolicy("execute-key", 100), 0.0, 0
    with Valkey() as server:
        async with replica(server.url) as one:
            stop = asyncio.Event()

            async def caller(number: int) -> None:
                nonlocal longest, refused
                while not stop.is_set():
                    began = time.monotonic()
                    refused += not (await one.spend(policy, f"tenant {number}")).allowed
                    await one.shelves.put("acme", str(number), b"k", b"1", None)
                    await one.shelves.get("acme", str(number), b"k")
                    longest = max(longest, time.monotonic() - began)
                    await asyncio.sleep(0.05)

            callers = [asyncio.create_task(caller(number)) for number in range(20)]
            await asyncio.sleep(0.3)
            server.kill()
            await one.until(up=False)
            await asyncio.sleep(0.7)
            await asyncio.to_thread(server.start)
            took = await one.until(up=True)
            await asyncio.sleep(0.3)
            stop.set()
            await asyncio.gather(*callers)
            assert took < 2
            assert longest < 3 * COMMAND_S + 0.1
            assert refused == 0
            assert one.link.counts.lost >= 1
            assert one.link.counts.skipped > 0
            assert await one.shelves.get("acme", "0", b"k") == b"1"


async def test_limits_are_kept_by_the_replica_while_the_server_is_away_and_go_on_from_what_it_took() -> None:
    policy = RatePolicy("execute-key", 50)
    with Valkey() as server:
        async with replica(server.url) as one:
            if 60 - time.time() % 60 < 10:
                await asyncio.sleep(60 - time.time() % 60 + 0.01)
            assert [(await one.spend(policy)).remaining for _ in range(30)] == list(range(49, 19, -1))
            server.kill()
            await one.until(up=False)
            answers = [await one.spend(policy) for _ in range(25)]
            assert [answer.allowed for answer in answers] == [True] * 20 + [False] * 5
            assert [answer.remaining for answer in answers[:20]] == list(range(19, -1, -1))


async def test_a_hanging_server_costs_whoever_waits_a_bounded_time_and_those_after_them_none() -> None:
    policy = RatePolicy("execute-key", 100)
    with Valkey() as server:
        async with replica(server.url) as one:
            await one.spend(policy)
            server.freeze()

            async def timed(number: int) -> float:
                began = time.monotonic()
                await one.spend(policy, f"tenant {number}")
                return time.monotonic() - began

            first = await asyncio.gather(*map(timed, range(50)))
            assert max(first) < 2 * COMMAND_S
            assert not one.link.up
            after = [await timed(number) for number in range(50, 100)]
            assert max(after) < COMMAND_S / 2
            assert sorted(after)[25] < 0.005
            server.thaw()
            assert await one.until(up=True) < 2
            assert (await one.spend(policy, "another")).allowed


async def test_a_process_that_was_late_itself_does_not_blame_the_server() -> None:
    with Valkey() as server:
        async with replica(server.url, command_s=0.1) as one:
            asked = one.rates._lane.send("PING")
            await asyncio.sleep(0)  # it is sent with this turn or the next
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251 - this process hangs
            assert await asked == b"PONG"
            assert one.link.counts.lost == 0


async def test_what_a_plugin_overwrote_or_deleted_while_the_server_was_apart_does_not_come_back() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            for plugin in ("p", "q"):
                await one.shelves.put("acme", plugin, b"k", b"1", None)
            server.freeze()
            await one.shelves.put("acme", "p", b"k", b"2", None)
            assert not one.link.up
            assert await one.shelves.get("acme", "q", b"k") is None, "skipped, as if it were empty"
            assert await one.shelves.delete("acme", "p", b"k") is False
            assert await one.shelves.count("acme", "p", b"n", 5, None, 100) == 5
            server.thaw()
            await one.until(up=True)
            assert await one.shelves.get("acme", "p", b"k") is None
            assert await one.shelves.get("acme", "p", b"n") is None
            assert await one.shelves.get("acme", "q", b"k") == b"1"


async def test_what_a_deleted_tenant_kept_is_not_called_forgotten_while_nobody_can_forget_it() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            await one.shelves.put("acme", "p", b"k", b"1", None)
            server.kill()
            await one.until(up=False)
            with pytest.raises(Unavailable):
                await one.shelves.forget_tenant("acme")


async def test_a_wrong_password_is_told_without_it() -> None:
    with Valkey(password=PASSWORD.replace(" ", "-")) as server:
        for url in (
            server.url.replace("password", "wrong"),
            f"valkey://127.0.0.1:{server.port}",
            f"redis://nobody:secret@127.0.0.1:{server.port}",
        ):
            link = Link(Address(url))
            link.lane()
            with pytest.raises(Refused) as refused:
                await link.open()
            assert not any(word in str(refused.value) for word in ("a-wrong", "a-password", "secret"))
            await link.close()
        async with replica(server.url) as one:
            assert one.link.up


async def test_a_password_that_changes_later_degrades_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with Valkey(password="first") as server:
        async with replica(server.url) as one:
            server.ask("CONFIG", "SET", "requirepass", "second")
            server._password = "second"
            server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await one.until(up=False)
            await asyncio.sleep(0.3)
            assert not one.link.up
            assert (await one.spend(RatePolicy("read-key", 5))).remaining == 4
            told = capsys.readouterr().out
            assert "AuthenticationError" in told
            assert "first" not in told


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1", "must begin with"),
        ("127.0.0.1:6379", "must begin with"),
        ("redis://", "no host"),
        ("redis://127.0.0.1:port", "port"),
        ("redis://127.0.0.1/cache", "number of a database"),
        ("redis://127.0.0.1?socket_timeout=5", "socket_timeout"),
        ("redis://127.0.0.1?protokoll=3", "protokoll"),
        ("redis://:hunter2@127.0.0.1?db=x", "db"),
        ("rediss://:hunter2@127.0.0.1?ssl_cert_reqs=perhaps", "perhaps"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_what_is_wrong(url: str, says: str) -> None:
    with pytest.raises(BadAddress, match=says) as bad:
        Address(url)
    assert "hunter2" not in str(bad.value)


def test_an_address_shows_no_password() -> None:
    address = Address("rediss://ada:hunter2@cache.example:6380/3?ssl_check_hostname=true")
    assert (address.shown, repr(address)) == ("rediss://cache.example:6380", "Address(rediss://cache.example:6380)")


async def test_a_server_that_is_no_valkey_or_not_there_is_waited_for() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    for url in (f"valkey://127.0.0.1:{port}", "valkey://127.0.0.1:1", "valkey://no-such-host.invalid"):
        began = time.monotonic()
        async with replica(url) as one:
            assert not one.link.up
            assert (await one.spend(RatePolicy("read-key", 5))).remaining == 4
        assert time.monotonic() - began < 5
    mute.close()


async def test_a_server_that_speaks_something_else_is_refused() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    web = await asyncio.start_server(speak, "127.0.0.1", 0)
    link = Link(Address(f"valkey://127.0.0.1:{web.sockets[0].getsockname()[1]}"))
    link.lane()
    with pytest.raises(Refused):
        await link.open()
    await link.close()
    web.close()


async def test_a_full_server_is_away_until_it_has_room() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            assert (await one.spend(RatePolicy("read-key", 5))).remaining == 4
            await one.until(up=False)
            assert (await one.spend(RatePolicy("read-key", 5))).remaining == 3
            server.ask("CONFIG", "SET", "maxmemory", "0")
            assert await one.until(up=True) < 2


async def test_scripts_that_the_server_forgot_are_loaded_again() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            server.ask("SCRIPT", "FLUSH")
            assert (await one.spend(RatePolicy("read-key", 5))).remaining == 4
            assert await one.until(up=True) < 2
            await one.shelves.put("acme", "p", b"k", b"1", None)
            assert await one.shelves.get("acme", "p", b"k") == b"1"


async def test_a_key_that_somebody_else_wrote_to_harms_that_key_alone() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            policy = RatePolicy("read-key", 5)
            await one.spend(policy)
            name = server.ask("KEYS", "plugyard:rate:*").split(b"\r\n")[2].decode()
            server.ask("SET", name, "spoilt")
            answers: list[Any] = [await one.spend(policy) for _ in range(3)]
            assert all(answer.allowed for answer in answers)
            assert one.link.up
            assert one.link.counts.failed == 3
            assert (await one.spend(policy, "another")).remaining == 4
            assert server.ask("HEXISTS", name, "n").startswith(b"-WRONGTYPE")


async def test_who_closes_while_it_is_tried_again_leaves_no_connection_open() -> None:
    greeted = asyncio.Event()

    async def answers(number: int, command: list[bytes]) -> bool:
        if number == 3:
            greeted.set()
        return number < 3

    async with puppet() as (server, url):
        server.answers = answers  # type: ignore[method-assign]
        made: list[Any] = []
        async with replica(url) as one:
            one.link.connect_s = 30
            connection = one.link.address.connection
            one.link.address.connection = lambda: made.append(connection()) or made[-1]  # type: ignore[method-assign]
            server.hang_up()
            await asyncio.wait_for(greeted.wait(), 5)
            assert [it.is_connected for it in made] == [True, True]
        assert [it.is_connected for it in made] == [False, False]
        await eventually(lambda: not server.writers)


async def test_what_nobody_has_thought_of_does_not_end_the_trying(capsys: pytest.CaptureFixture[str]) -> None:
    tried = 0

    async def stumble(run: object) -> None:
        nonlocal tried
        tried += 1
        if 1 < tried < 4:
            raise ValueError("something new")

    with Valkey() as server:
        link = Link(Address(server.url), connect_s=0.5, command_s=COMMAND_S)
        link.lane()
        link.before_return(stumble)
        await link.open()
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await eventually(lambda: tried == 4 and link.up)
        await link.close()
    told = capsys.readouterr().out
    assert told.count("ValueError: something new") >= 1
    assert told.count("valkey is away") == 2


async def test_answers_that_come_slowly_are_done_without_and_open_nobodys_circuit() -> None:
    command_s, pause_s, mute = 0.5, 0.3, False

    async def answers(number: int, command: list[bytes]) -> bool:
        if command[0] == b"GET":
            await asyncio.sleep(pause_s)
        return not mute

    async with puppet() as (server, url):
        server.answers = answers  # type: ignore[method-assign]
        async with replica(url, command_s=command_s) as one:
            limits, cache = one.rates._lane, one.shelves._lane

            async def timed(lane: Lane) -> tuple[bool, float]:
                began = time.monotonic()
                try:
                    return await lane.send("GET", "large") == b"OK", time.monotonic() - began
                except Away:
                    return False, time.monotonic() - began

            asked = await asyncio.gather(*(timed(cache) for _ in range(5)))
            assert [came for came, _ in asked] == [True] + [False] * 4
            assert max(took for _, took in asked) < 2 * command_s
            assert (one.link.up, one.link.counts.lost) == (True, 0)
            assert not cache.up, "its answers come still"
            came, took = await timed(cache)
            assert not came
            assert took < command_s / 2, "nobody waits for a lane that is behind"
            assert await limits.send("PING") == b"OK"
            await eventually(lambda: cache.up)
            assert (await timed(cache))[0]
            assert (one.link.up, one.link.counts.lost) == (True, 0)

            mute = True
            asked = await asyncio.gather(*(timed(cache) for _ in range(5)))
            assert not any(came for came, _ in asked)
            assert max(took for _, took in asked) < 2 * command_s
            await eventually(lambda: not one.link.up, 2 * command_s)


async def test_a_change_that_a_slow_lane_did_without_lets_no_older_value_come_back() -> None:
    with Valkey() as server:
        async with replica(server.url) as one:
            await one.shelves.put("acme", "p", b"k", b"1", None)
            await one.shelves.put("acme", "q", b"k", b"1", None)
            lane = one.shelves._lane
            asked = lane.send("PING")
            lane._given_up = asyncio.get_running_loop().time() + COMMAND_S  # as if it had waited for too long
            await one.shelves.put("acme", "p", b"k", b"2", None)
            assert await asked == b"PONG"
            assert await one.shelves.get("acme", "p", b"k") is None
            assert await one.shelves.get("acme", "q", b"k") == b"1"
            await one.shelves.put("acme", "p", b"k", b"3", None)
            assert await one.shelves.get("acme", "p", b"k") == b"3"
            assert one.link.counts.lost == 0
