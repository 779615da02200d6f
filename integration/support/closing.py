"""The ways in which a tunnel ends, and what TCP promises of each.

Each opens a tunnel, ends it after so many bytes, and raises `Wrong` where something
else arrives than what must. What never arrives, its caller's deadline tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from integration.support.ends import Line

Case = Callable[[Line, int], Coroutine[object, object, None]]


async def the_server_answers_and_closes(line: Line, size: int) -> None:
    """As HTTP/1.0 ends a body."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.receive_end(size))
        await tunnel.server.send(size)
        tunnel.server.close()


async def the_server_speaks_first_and_closes(line: Line, size: int) -> None:
    """The client sends nothing, ever."""
    async with line.tunnel(is_silent=True) as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.receive_end(size))
        await tunnel.server.send(size)
        tunnel.server.close()


async def the_server_half_closes(line: Line, size: int) -> None:
    """The client has seen the end, and goes on; then it closes."""
    async with line.tunnel() as tunnel:
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.client.receive_end(size))
            await tunnel.server.send(size)
            tunnel.server.half_close()
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.server.receive_end(size))
            await tunnel.client.send(size)
            tunnel.client.close()


async def the_client_half_closes(line: Line, size: int) -> None:
    """The server answers only after it has seen the end; then it closes."""
    async with line.tunnel() as tunnel:
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.server.receive_end(size))
            await tunnel.client.send(size)
            tunnel.client.half_close()
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.client.receive_end(size))
            await tunnel.server.send(size)
            tunnel.server.close()


async def the_client_half_closes_amid_the_answer(line: Line, size: int) -> None:
    """The server is sending when the end comes, and goes on after it."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.receive_end(2 * size))
        async with asyncio.TaskGroup() as first_half:
            first_half.create_task(tunnel.server.receive_end(size))
            first_half.create_task(tunnel.server.send(size))
            await tunnel.client.send(size)
            tunnel.client.half_close()
        await tunnel.server.send(size)
        tunnel.server.close()


async def the_client_sends_and_closes(line: Line, size: int) -> None:
    """It has heard nothing, and waits for nothing."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.server.receive_end(size))
        await tunnel.client.send(size)
        tunnel.client.close()


async def the_client_closes_after_the_answer(line: Line, size: int) -> None:
    """As browsers end what they kept alive."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.server.send(size))
        await tunnel.client.receive(size)
        tunnel.client.close()
        await tunnel.server.receive_end()


async def the_client_closes_while_the_server_sends(line: Line, size: int) -> None:
    """The server must not send for ever."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.server.send_until_refused())
        await tunnel.client.receive(size)
        tunnel.client.close()


async def the_server_closes_while_the_client_sends(line: Line, size: int) -> None:
    """The client must not send for ever."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.send_until_refused())
        await tunnel.server.receive(size)
        tunnel.server.close()


async def both_half_close_at_once(line: Line, size: int) -> None:
    """The two ends pass each other on the way."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        for end in (tunnel.client, tunnel.server):
            group.create_task(end.receive_end(size))
        await asyncio.gather(tunnel.client.send(size), tunnel.server.send(size))
        tunnel.client.half_close()
        tunnel.server.half_close()


async def the_client_resets(line: Line, size: int) -> None:
    """Everything had arrived before."""
    async with line.tunnel() as tunnel:
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.server.receive(size))
            await tunnel.client.send(size)
        tunnel.client.reset()
        await tunnel.server.receive_reset()


async def the_server_resets(line: Line, size: int) -> None:
    """Everything had arrived before."""
    async with line.tunnel() as tunnel:
        async with asyncio.TaskGroup() as group:
            group.create_task(tunnel.client.receive(size))
            await tunnel.server.send(size)
        tunnel.server.reset()
        await tunnel.client.receive_reset()


async def the_client_cuts_its_upload(line: Line, size: int) -> None:
    """What it sent last may be lost, but must not look complete."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.server.receive_reset())
        await tunnel.client.send(size)
        tunnel.client.reset()


async def the_server_cuts_its_answer(line: Line, size: int) -> None:
    """What it sent last may be lost, but must not look complete."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        group.create_task(tunnel.client.receive_reset())
        await tunnel.server.send(size)
        tunnel.server.reset()


async def the_server_closes_on_a_slow_client(line: Line, size: int) -> None:
    """The client reads nothing until another tunnel has come and gone."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        tunnel.client.be_slow()
        answer = group.create_task(tunnel.server.send(size))
        answer.add_done_callback(lambda _: tunnel.server.close())
        await line.others_work()
        await tunnel.client.receive_end(size)


async def the_client_closes_on_a_slow_server(line: Line, size: int) -> None:
    """The server reads nothing until another tunnel has come and gone."""
    async with line.tunnel() as tunnel, asyncio.TaskGroup() as group:
        tunnel.server.be_slow()
        upload = group.create_task(tunnel.client.send(size))
        upload.add_done_callback(lambda _: tunnel.client.close())
        await line.others_work()
        await tunnel.server.receive_end(size)


async def the_client_half_closes_on_a_slow_server(line: Line, size: int) -> None:
    """The same, and the answer comes after the end, to a slow client."""
    async with line.tunnel() as tunnel:
        tunnel.server.be_slow()
        tunnel.client.be_slow()
        async with asyncio.TaskGroup() as group:
            upload = group.create_task(tunnel.client.send(size))
            upload.add_done_callback(lambda _: tunnel.client.half_close())
            await line.others_work()
            await tunnel.server.receive_end(size)
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(tunnel.server.send(size))
            answer.add_done_callback(lambda _: tunnel.server.close())
            await line.others_work()
            await tunnel.client.receive_end(size)


CASES: tuple[Case, ...] = (
    the_server_answers_and_closes,
    the_server_speaks_first_and_closes,
    the_server_half_closes,
    the_client_half_closes,
    the_client_half_closes_amid_the_answer,
    the_client_sends_and_closes,
    the_client_closes_after_the_answer,
    the_client_closes_while_the_server_sends,
    the_server_closes_while_the_client_sends,
    both_half_close_at_once,
    the_client_resets,
    the_server_resets,
    the_client_cuts_its_upload,
    the_server_cuts_its_answer,
    the_server_closes_on_a_slow_client,
    the_client_closes_on_a_slow_server,
    the_client_half_closes_on_a_slow_server,
)
