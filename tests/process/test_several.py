"""Several tunnels in one process: a real pt-bridge, fake PTs."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import CLIENT, DEADLINE, SERVER, exchange, until
from tests.support.tunnel_rig import REPLACED_HAS_ENDED

if TYPE_CHECKING:
    from tests.support.processes import Bench, FakePt
    from tests.support.tunnel_rig import TunnelRig

LISTENING = "pt-bridge[{}]: ready: obfs4proxy, listening on port {}"
# For one PT's run: it is heard of, and waits until the gate is opened.
WAITING = ("tell waits", "await")
# A PT that offers something else.
OTHER_CLIENT = ("say VERSION 1", "say CMETHOD-ERROR obsf4 what", "say CMETHODS DONE")
OTHER_SERVER = ("say VERSION 1", "say SMETHOD-ERROR obsf4 what", "say SMETHODS DONE")


def ports(rig: TunnelRig, number: int) -> list[int]:
    return [rig.bench.free_port() for _ in range(number)]


def install_lyrebird(bench: Bench, *steps: str) -> FakePt:
    """Install a second PT, which `of_lyrebird` makes a tunnel use."""
    other = bench.install("lyrebird")
    other.play(*steps)
    bench.variables["PATH"] = f"{other.folder}:{bench.variables['PATH']}"
    return other


def of_lyrebird(table: str) -> str:
    return table.replace("exec=obfs4proxy", "exec=lyrebird")


def test_each_tunnel_has_its_port_its_pt_and_its_name(rig: TunnelRig) -> None:
    rig.pt.play(*CLIENT)
    named = dict(zip(("one", "two"), ports(rig, 2), strict=True))
    program = rig.run(*(rig.client(name, port=port) for name, port in named.items()))
    for name, port in named.items():
        program.said(LISTENING.format(name, port))
        rig.carries(port)
    rig.signal(signal.SIGUSR1, *(f"pt-bridge[{name}]: status: up " for name in named))
    rig.stop()
    assert "pt-bridge: stopped" in program.text


def test_a_client_listens_on_all_its_addresses(rig: TunnelRig) -> None:
    rig.pt.play(*CLIENT)
    both = ports(rig, 2)
    program = rig.run(
        rig.client(port=both[0]).replace(
            f'"127.0.0.1:{both[0]}"', str([f"127.0.0.1:{port}" for port in both])
        )
    )
    program.said("ready: ")
    for port in both:
        rig.carries(port)
    rig.stop()


def test_one_that_fails_starts_again_and_never_ends_the_others(rig: TunnelRig) -> None:
    """Its port is closed meanwhile, so that nobody waits in vain."""
    rig.pt.play(*CLIENT)
    bad = install_lyrebird(rig.bench, "exit 1")
    good_port, bad_port = ports(rig, 2)
    program = rig.run(
        rig.client("good", port=good_port),
        of_lyrebird(rig.client("bad", port=bad_port)),
    )
    program.said("pt-bridge[good]: ready: ")
    program.said("pt-bridge[bad]: error: ")
    rig.carries(good_port)
    rig.signal(signal.SIGUSR1, "pt-bridge[bad]: status: ")
    bad.play(*CLIENT)
    program.said("pt-bridge[bad]: ready: ")
    rig.carries(bad_port)
    rig.stop()


def test_what_a_pt_says_is_told_of_its_tunnel(rig: TunnelRig) -> None:
    """And what comes of a connection, long after the start."""
    rig.pt.play(*CLIENT, "await", "say LOG SEVERITY=warning MESSAGE=some-words")
    program = rig.run(rig.client(more="restarts = 0"))
    program.said("]: ready: ")
    rig.carries()
    rig.pt.open_gate()
    assert program.said("some-words").startswith("pt-bridge[one]: warning: ")
    rig.pt.play("exit 1")
    os.kill(rig.pt.pid, signal.SIGKILL)
    assert program.said("killed by SIGKILL").startswith("pt-bridge[one]: error: ")
    rig.stop()
    assert not [
        line for line in program.lines if not line.startswith("pt-bridge[one]")
    ][:-1]


def test_systemd_is_told_once_all_are_ready_or_have_failed(rig: TunnelRig) -> None:
    rig.pt.play("await", *CLIENT)
    systemd = rig.bench.systemd()
    one, two = ports(rig, 2)
    program = rig.run(rig.client("one", port=one), rig.client("two", port=two))
    rig.pt.event("started", count=2)
    rig.pt.open_gate()
    program.said("ready: ")
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
    systemd.settimeout(DEADLINE)
    rig.pt.open_gate()
    assert systemd.recv(100) == b"READY=1"
    rig.stop()
    assert systemd.recv(100) == b"STOPPING=1"


def failure(rig: TunnelRig, *tables: str) -> tuple[int, str]:
    """Start tunnels that cannot be had; return the exit code and the sentence."""
    return rig.bench.failure(rig.run(*tables))


def test_a_wrong_file_ends_all_before_anything_listens(rig: TunnelRig) -> None:
    wrong = rig.client("bad", port=rig.bench.free_port(), more="exec = '/nowhere/pt'")
    code, sentence = failure(rig, rig.client("good"), wrong)
    assert code == 71
    path = rig.bench.folder / "the.toml"
    assert f"{path}: [[client]] 'bad': there is no PT program /nowhere/pt" in sentence
    assert rig.is_closed(rig.port)


def test_a_port_in_use_ends_all_at_the_start(rig: TunnelRig) -> None:
    taken = rig.bench.listen().getsockname()[1]
    code, sentence = failure(rig, rig.client(port=taken))
    assert code == 74
    assert f"cannot listen on port {taken}" in sentence


def test_a_port_that_a_table_cannot_have_at_the_start_is_told_of_it(
    rig: TunnelRig,
) -> None:
    table = rig.client().replace("127.0.0.1:", "192.0.2.1:", 1)
    code, sentence = failure(rig, table)
    assert code == 74
    assert sentence.startswith("[[client]] 'one': cannot listen on port ")


# -- SIGHUP ----------------------------------------------------------------------------


def test_a_reload_changes_what_has_changed_and_nothing_else(rig: TunnelRig) -> None:
    """One is left alone, one goes with its last tunnel, one comes."""
    rig.pt.play(*CLIENT)
    stays_at, goes_at, comes_at = ports(rig, 3)
    stays = rig.client("stays", port=stays_at)
    program = rig.run(stays, rig.client("goes", port=goes_at))
    for name in ("stays", "goes"):
        program.said(f"pt-bridge[{name}]: ready: ")
    open_one = rig.open(goes_at)
    comes = rig.client("comes", port=comes_at)
    rig.reload(stays, comes, says=["pt-bridge[comes]: ready: "])
    rig.carries(comes_at)
    rig.carries(stays_at)
    assert rig.is_closed(goes_at)
    exchange(*open_one)
    for end in open_one:
        end.close()
    program.said(f"pt-bridge[goes]: {REPLACED_HAS_ENDED}")
    rig.stop()
    assert program.text.count("pt-bridge[stays]: starting ") == 1


def test_a_wrong_file_changes_nothing(rig: TunnelRig) -> None:
    rig.run_client()
    rig.reload("[[client", says=["warning: reloading: "])
    rig.carries()
    rig.stop()


def test_a_changed_tunnel_has_a_new_pt_and_keeps_what_is_open(rig: TunnelRig) -> None:
    program = rig.run_client()
    open_one = rig.open()
    rig.reload(
        rig.client(more="restarts = 1"), says=["pt-bridge[one]: replacing the PT"]
    )
    rig.is_replaced(starts=2)
    rig.carries()
    exchange(*open_one)
    for end in open_one:
        end.close()
    program.said(REPLACED_HAS_ENDED)
    rig.stop()


def test_a_new_pt_that_fails_leaves_the_old_one(rig: TunnelRig) -> None:
    rig.run_client()
    rig.pt.play("exit 1")
    rig.signal(signal.SIGUSR2, "the new PT was not taken: ")
    rig.carries()
    rig.stop()


def test_a_changed_transport_that_is_misspelt_costs_nothing(rig: TunnelRig) -> None:
    """The PT is the first to know; what is right a second time is taken."""
    rig.run_client()
    rig.pt.play(*OTHER_CLIENT)
    rig.reload(
        rig.client().replace("transport=obfs4", "transport=obsf4"),
        says=[
            f"pt-bridge[one]: warning: {text}"
            for text in (
                "pt-bridge knows no 'obsf4': did you mean 'obfs4'?",
                "the new PT was not taken: ",
            )
        ],
    )
    rig.carries()
    rig.pt.play(*CLIENT)
    rig.reload(rig.client(more="restarts = 1"))
    rig.is_replaced()
    rig.carries()
    rig.stop()


def test_a_tunnel_that_is_renamed_and_broken_goes_on(rig: TunnelRig) -> None:
    """Who listens where it did is the same one; another takes over when it is ready."""
    program = rig.run_client()
    old = [rig.open()]
    rig.pt.play(*OTHER_CLIENT)
    rig.reload(
        rig.client("two"),
        says=[
            "0 are new, 1 get another PT, 0 stay as they are; 0 end with",
            "pt-bridge[two]: warning: the new PT was not taken: ",
        ],
    )
    old.append(rig.open())
    rig.pt.play(*CLIENT)
    rig.signal(signal.SIGHUP, "pt-bridge[two]: ready: ")
    rig.carries()
    for ends in old:
        exchange(*ends)
        for end in ends:
            end.close()
    program.said(REPLACED_HAS_ENDED)
    rig.stop()


def test_one_that_listens_elsewhere_is_another_one(rig: TunnelRig) -> None:
    """And the one that is gone ends."""
    rig.run_client()
    other = rig.bench.free_port()
    rig.reload(
        rig.client("two", port=other),
        says=[
            "1 are new, 0 get another PT, 0 stay as they are; 1 end with",
            "pt-bridge[two]: ready: ",
            f"pt-bridge[one]: {REPLACED_HAS_ENDED}",
        ],
    )
    rig.carries(other)
    rig.stop()


def test_a_change_that_cannot_be_had_changes_nothing(rig: TunnelRig) -> None:
    """A port that somebody has, a file that is missing: not even what could be."""
    program = rig.run_client()
    (other,), taken = ports(rig, 1), rig.bench.listen().getsockname()[1]
    why = f"[[client]] 'one': cannot listen on port {taken}: address already"
    rig.reload(rig.client(port=taken), says=[f"reloading: {why}"])
    home = rig.server(port=other, more='deny = "/nowhere/deny"')
    rig.reload(home, rig.client("two", port=other), says=["both listen on port"])
    rig.reload(home, says=["[[server]] 'home': deny: /nowhere/deny cannot be read"])
    changed = rig.client(more="restarts = 1")
    rig.reload(changed, rig.client("two", port=taken))
    until(lambda: program.heard().count("going on as before") == 4)
    rig.carries()
    rig.stop()
    assert "replac" not in program.text


def test_a_port_that_somebody_else_holds_is_no_obstacle_once_it_is_free(
    rig: TunnelRig,
) -> None:
    """The tunnel moves there, and what is open goes on."""
    rig.run_client()
    open_one = rig.open()
    (other,) = ports(rig, 1)
    rig.reload(rig.client(port=other))
    rig.is_replaced()
    rig.carries(other)
    exchange(*open_one)
    until(lambda: rig.is_closed(rig.port))
    rig.stop()


@pytest.mark.parametrize("back", [False, True])
def test_a_tunnel_listens_on_all_addresses_instead_of_one(
    rig: TunnelRig, *, back: bool
) -> None:
    """Its own port is in its way, and is given up for that."""
    rig.pt.play(*CLIENT)
    one = rig.client()
    every = one.replace(f"127.0.0.1:{rig.port}", f"0.0.0.0:{rig.port}")
    before, after = (every, one) if back else (one, every)
    rig.run(before).said("ready: ")
    rig.carries()
    rig.reload(after)
    rig.is_replaced()
    rig.carries()
    rig.stop()


def test_a_tunnel_with_another_name_keeps_its_port(rig: TunnelRig) -> None:
    """Who comes between is carried by the old one."""
    program = rig.run_client()
    rig.pt.play(*WAITING, *CLIENT)
    rig.reload(rig.client("two"))
    rig.pt.event("waits")
    rig.carries()
    rig.pt.open_gate()
    program.said("pt-bridge[two]: ready: ")
    rig.stop()


def test_a_change_comes_before_one_that_hangs(rig: TunnelRig) -> None:
    rig.run_client()
    rig.pt.play(*WAITING)
    rig.reload(rig.client(more="restarts = 1"))
    rig.pt.event("waits")
    rig.pt.play(*CLIENT)
    rig.reload(rig.client(more="restarts = 2"))
    rig.is_replaced()
    rig.carries()
    rig.stop()


def test_a_change_comes_before_one_that_never_was_ready(rig: TunnelRig) -> None:
    rig.pt.play(*WAITING)
    rig.run(rig.client())
    rig.pt.event("waits")
    rig.pt.play(*CLIENT)
    rig.reload(rig.client(more="restarts = 1"), says=["ready: "])
    rig.carries()
    rig.stop()


def test_one_that_failed_does_not_wait_once_it_is_mended(rig: TunnelRig) -> None:
    rig.pt.play("exit 1")
    program = rig.run(rig.client())
    for seconds in (1, 2, 4):
        program.said(f"; trying again in {seconds} s")
    rig.pt.play(*CLIENT)
    rig.reload(rig.client(more="restarts = 1"), says=["ready: "])
    assert "in 8 s" not in program.text
    rig.carries()
    rig.stop()


def run_server(rig: TunnelRig, *steps: str) -> str:
    """Start a file with one server, without a front; return its table."""
    rig.pt.play(*steps)
    table = rig.server()
    rig.run(table).said("ready: ")
    return table


def test_a_server_without_a_front_goes_on_where_the_new_one_would_fail(
    rig: TunnelRig,
) -> None:
    """It has not given up its port for a transport that the PT does not offer."""
    table = run_server(rig, *SERVER)
    old = rig.open(id=b"the old.")
    rig.pt.play(*OTHER_SERVER)
    rig.reload(
        table.replace("obfs4", "obsf4", 1),
        says=["pt-bridge[home]: warning: the new PT was not taken: "],
    )
    exchange(*old)
    rig.open(id=b"the new.")
    rig.stop()


def test_a_server_without_a_front_moves_to_another_port(rig: TunnelRig) -> None:
    """The old PT gives up its own."""
    run_server(rig, "gives-up-port", *SERVER)
    old = rig.open(id=b"the old.")
    (other,) = ports(rig, 1)
    says = f"ready: obfs4proxy, serving port {other}"
    rig.reload(rig.server(port=other), says=[says])
    rig.pt.event("gave-up-port")
    assert rig.is_closed(rig.port)
    exchange(*old)
    rig.open(other, id=b"the new.")
    rig.stop()


def test_a_tunnel_takes_the_port_that_anothers_pt_gives_up(rig: TunnelRig) -> None:
    """Both change at once, and one waits for the other."""
    rig.pt.play("gives-up-port", *SERVER)
    install_lyrebird(rig.bench, *CLIENT)
    first, second = ports(rig, 2)
    away = of_lyrebird(rig.client("away", port=first))
    rig.run(rig.server(), away)
    rig.is_ready(times=2)
    open_one = rig.open(first)
    rig.reload(
        rig.server(port=second),
        away.replace(f":{first}", f":{rig.port}"),
        says=[
            f"pt-bridge[home]: ready: obfs4proxy, serving port {second}",
            f"pt-bridge[away]: ready: lyrebird, listening on port {rig.port}",
        ],
    )
    rig.carries()
    exchange(*open_one)
    assert rig.is_closed(first)
    rig.stop()
    assert "was not taken" not in rig.program.text


def test_what_needs_a_restart_is_said(rig: TunnelRig) -> None:
    rig.run_client()
    rig.reload(
        rig.client(),
        '[log]\nlevel = "debug"',
        '[metrics]\nlisten = "127.0.0.1:1"',
        says=[
            "0 are new, 0 get another PT, 1 stay as they are; 0 end with",
            "warning: [log] has changed: restart pt-bridge for that",
            "warning: [metrics] has changed: restart pt-bridge for that",
        ],
    )
    rig.stop()


def test_ctrl_c_lets_tunnels_finish(rig: TunnelRig) -> None:
    program = rig.run_client()
    open_one = rig.open()
    rig.signal(signal.SIGINT, "finishing 1 tunnel")
    exchange(*open_one)
    for end in open_one:
        end.close()
    assert rig.bench.end(program) == 0


def test_ctrl_c_twice_stops_at_once(rig: TunnelRig) -> None:
    program = rig.run_client()
    rig.open()
    rig.signal(signal.SIGINT, "finishing 1 tunnel")
    rig.signal(signal.SIGINT)
    assert rig.bench.end(program) == 0


def test_the_log_is_where_the_file_says(rig: TunnelRig) -> None:
    rig.pt.play(*CLIENT)
    log = rig.bench.folder / "the.log"
    rig.run(rig.client(), f'[log]\nlevel = "debug"\nfile = "{log}"').said("ready: ")
    os.rename(log, rig.bench.folder / "old.log")
    rig.signal(signal.SIGHUP, "pt-bridge: reloaded: ")
    rig.stop()
    assert "pt-bridge: stopped" in log.read_text()
    assert "pt-bridge[one]: ready: " in (rig.bench.folder / "old.log").read_text()


def test_a_server_and_its_client_are_carried_by_one_process(rig: TunnelRig) -> None:
    rig.pt.play(*SERVER)
    install_lyrebird(rig.bench, *CLIENT)
    (remote,) = ports(rig, 1)
    client = of_lyrebird(rig.client("away"))
    client = client.replace(f":{rig.far_port}", f":{remote}")
    program = rig.run(
        rig.server(port=remote, more="front = true"),
        client.replace("session=0", "session=1"),
    )
    program.said("pt-bridge[home]: ready: ")
    program.said("pt-bridge[away]: ready: ")
    rig.carries()
    rig.signal(signal.SIGUSR2)
    rig.is_ready(times=4)
    rig.carries()
    rig.stop()


def test_an_older_change_is_not_made_after_a_newer_one(rig: TunnelRig) -> None:
    """Where the old PT dies for good while the older one is tried out."""
    rig.pt.play(*SERVER)
    rig.run(rig.server(more="restarts = 0"))
    rig.is_ready(times=1)
    old = rig.pt.pid
    rig.pt.play("tell waits", "await", *SERVER)
    rig.reload(rig.server(more="restarts = 1"))
    rig.pt.event("waits")
    tried = rig.pt.named("started")[-1]
    rig.pt.play(*SERVER)
    newer = rig.server(more="restarts = 2")
    rig.reload(newer)
    until(lambda: rig.program.heard().count("1 get another PT") == 2)
    os.kill(old, signal.SIGKILL)
    rig.is_ready(times=2)
    rig.pt.open_gate()
    until(lambda: not os.path.exists(f"/proc/{tried}"))
    rig.reload(newer, says=["0 get another PT"])
    rig.carries(id=b"the new.")
    rig.stop()
    assert rig.program.text.count("the new one is tried out first") == 1
