# SPDX-License-Identifier: Apache-2.0
"""
Guards against the server: a bad request, a slow reader, a crowd or another user must cost the target
nothing, must not reach other clients, and must not end the agent.
"""
import json
import os
import random
import shutil
import socket
import subprocess
import time

import pytest

from conftest import DEADLINE, Client, Gone, connect, environment, socket_path, wait_until


def code(answer):
    return answer.get("error", {}).get("code")


BAD = [b"", b" ", b"nonsense", b"STAT", b"stat x=1", b"census limit=-1", b"census limit=x", b"census limit=", b"census limit",
       b"census limit=1 limit=2", b"census sort=name", b"census cached=2", b"census limit=99999999999999999999999",
       b"collect generation=3", b"collect generation=-1", b"subscribe topics=", b"subscribe topics=nothing", b"subscribe",
       b"subscribe topics=gc,", b"history", b"history type=%00", b"history type=%", b"history type=%zz",
       b"history type=%1", b"stat\x00", b"st\x00at", b"stat \xff\xfe=1", b"=", b"=x", b"stat =", b"a" * 300, b"\x1b[31mstat",
       b"stat " + b" ".join(b"k%d=1" % i for i in range(17)), b"census\tlimit=1=2", b"{\"verb\":\"stat\"}", b"GET / HTTP/1.1"]


@pytest.mark.parametrize("line", BAD, ids=lambda b: repr(b)[2:40])
def test_bad_request(one_python, target, line):
    """An error line and nothing worse: the next request on the same connection is answered."""
    t = target(one_python)
    c = t.client()
    c.sock.sendall(line + b"\n")
    c.send("info")
    first = c.answer()
    if first["schema"] == "gcscope.info/1":
        assert line.strip() == b"", "only an empty line may go without an answer"
        return
    assert first["schema"] == "gcscope.error/1"
    assert code(first) in ("unknown_verb", "bad_request"), first
    assert first["error"]["message"]
    assert c.answer()["schema"] == "gcscope.info/1"


def test_too_long_line(one_python, target):
    t = target(one_python)
    for size in (4096, 5000, 1 << 20):
        c = t.connect()
        try:
            c.sock.sendall(b"x" * size)
            assert code(c.answer()) == "too_long"
            with pytest.raises(Gone):
                c.line()
        except BrokenPipeError:
            pass
        finally:
            c.close()
    c = t.client()
    c.sock.sendall(b"history type=" + b"x" * (4096 - 14) + b"\n")
    assert code(c.answer()) == "not_found", "4096 bytes with the newline are allowed"


def test_byte_by_byte_and_many_at_once(one_python, target):
    t = target(one_python)
    c = t.client()
    for byte in b"info\r\n":
        c.sock.sendall(bytes([byte]))
        time.sleep(.005)
    assert c.answer()["schema"] == "gcscope.info/1"
    verbs = ["info", "stat", "bogus", "suspects", "census"] * 20
    c.sock.sendall(b"".join(v.encode() + b"\n" for v in verbs))
    got = [c.answer()["schema"].split(".")[1].split("/")[0] for _ in verbs]
    assert got == [v.replace("bogus", "error") for v in verbs]


def test_half_closed(one_python, target):
    """`echo census | socat - UNIX:...`: all answers come although the client has ended its side."""
    t = target(one_python)
    c = t.connect()
    c.sock.sendall(b"census limit=5\nstat\ncollect")
    c.sock.shutdown(socket.SHUT_WR)
    assert c.answer()["schema"] == "gcscope.census/1"
    assert c.answer()["schema"] == "gcscope.stat/1"
    with pytest.raises(Gone):
        while True:
            c.line()
    c.close()
    c = t.connect()
    c.send("subscribe", topics="gc")
    c.answer()
    c.sock.shutdown(socket.SHUT_WR)
    t.exec("import gc; gc.collect()")
    assert c.event("gc")
    c.close()
    wait_until(lambda: t.ask("stat")["agent"]["clients"] == 1, what="the closed clients to be forgotten")


def test_socat(one_python, target, sockdir):
    if not shutil.which("socat"):
        pytest.skip("no socat")
    t = target(one_python)
    done = subprocess.run(["socat", "-t5", "-", "UNIX-CONNECT:" + socket_path(sockdir, t.pid)], input=b"census limit=5\n",
                          stdout=subprocess.PIPE, timeout=20)
    lines = [json.loads(x) for x in done.stdout.splitlines()]
    assert [x["schema"] for x in lines] == ["gcscope.hello/1", "gcscope.census/1"]
    assert len(lines[1]["types"]) == 5


def test_subscriptions(python, target):
    t = target(python, "import gc\ngc.disable()\n", GCSCOPE_INTERVAL="0.1")
    with t.connect() as c:
        assert c.ask("subscribe", topics="gc,census")["topics"] == ["gc", "census"]
        t.exec("gc.collect(1)")
        assert c.event("gc")["generation"] == 1
        event = c.event("census")
        assert event["schema"] == "gcscope.events/1"
        assert event["objects"] > 1000 and event["bytes"] > 10000 and len(event["types"]) <= 10
        assert event["held_ns"] > 0 and event["exact"] in (True, False)
        assert {"type", "count", "bytes", "growth_per_s"} <= set(event["types"][0])
        assert c.ask("stat")["schema"] == "gcscope.stat/1", "answers stand between events"
        left = c.ask("unsubscribe", topics="gc")["topics"]
        assert left == ["census"]
        assert c.ask("unsubscribe")["topics"] == []
        c.events.clear()
        t.exec("gc.collect(1)")
        n = t.censuses()
        wait_until(lambda: t.censuses() > n + 2)
        assert c.ask("info")["schema"] == "gcscope.info/1" and c.events == []
        assert set(c.ask("subscribe", topics="gc,census,suspects,log,cycles")["topics"]) == {
            "gc", "census", "suspects", "log", "cycles"}


def test_several_clients(few_pythons, target):
    """Eight clients ask and listen at once; each gets its own answers, in order."""
    t = target(few_pythons, "import gc\n", GCSCOPE_INTERVAL="0.1")
    clients = [t.connect() for _ in range(8)]
    for c in clients:
        c.ask("subscribe", topics="gc")
    for c in clients:
        for verb in ("info", "census", "stat", "suspects"):
            c.send(verb)
    t.exec("gc.collect()")
    for c in clients:
        assert [c.answer()["schema"] for _ in range(4)] == ["gcscope.%s/1" % v for v in ("info", "census", "stat", "suspects")]
        assert c.event("gc")
        c.close()
    wait_until(lambda: t.ask("stat")["agent"]["clients"] == 1)


def test_crowd(one_python, target, sockdir):
    """32 clients; a further one is told so and closed; room again when one leaves."""
    t = target(one_python)
    path = socket_path(sockdir, t.pid)
    clients = [t.client()] + [Client(path) for _ in range(31)]
    extra = Client(path)
    first = extra.hello if "error" in extra.hello else extra.line()
    assert code(first) == "unavailable"
    with pytest.raises(Gone):
        extra.line()
    assert all(c.ask("info")["schema"] == "gcscope.info/1" for c in clients)
    for c in clients[1:]:
        c.close()

    def again():
        with Client(path) as c:
            return "error" not in c.hello and "error" not in c.ask("info")
    wait_until(again, what="room for a client")


def test_clients_lost_at_a_fork_leave_nothing(one_python, target):
    """At the limit of descriptors nothing carries them over a fork; their memory must not go with each of them."""
    t = target(one_python, """
import os, resource
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
def fork():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
    try:
        pid = os.fork()
        if not pid: os._exit(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    return os.waitpid(pid, 0)[1]
""", attach=False)
    sizes = []
    for _ in range(20):
        with t.connect() as c:
            assert len(c.ask("census", limit=1000)["types"]) > 30
            sizes.append(c.ask("stat")["agent"]["memory_bytes"])
            assert t.eval("fork()") == 0
    assert sizes[-1] - sizes[4] < 10000, sizes


def test_idle_connections_that_vanish(one_python, target, sockdir):
    """500 connections opened and dropped at every stage."""
    t = target(one_python)
    path = socket_path(sockdir, t.pid)
    for i in range(500):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        if i % 3:
            s.sendall([b"census", b"stat\nstat\nsub", b"subscribe topics=gc\ncensus\n"][i % 3])
        s.close()
    assert t.ask("info")["schema"] == "gcscope.info/1"
    wait_until(lambda: t.ask("stat")["agent"]["clients"] == 1)


def test_random_bytes(one_python, target, sockdir):
    t = target(one_python, GCSCOPE_INTERVAL="0.05")
    path = socket_path(sockdir, t.pid)
    rng = random.Random(4)
    words = [b"stat", b"census", b" ", b"=", b"limit", b"%", b"\n", b"\r\n", b"\0", b"subscribe topics=gc\n", b"\xff", b"1", b","]
    for _ in range(150):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(path)
        try:
            s.sendall(b"".join(rng.choice(words) if rng.random() < .7 else bytes([rng.randrange(256)])
                               for _ in range(rng.randrange(1, 400))))
            s.shutdown(socket.SHUT_WR)
            if rng.random() < .3:
                s.recv(1 << 16)
        except (BrokenPipeError, ConnectionResetError):
            pass
        s.close()
    assert t.ask("info")["schema"] == "gcscope.info/1"
    assert t.eval("1 + 1") == 2


LOOP = """
import gc, time
gc.disable()
gc.collect()
gc.freeze() if hasattr(gc, 'freeze') else None
def loop(n=20000):
    began = time.perf_counter()
    for _ in range(n): gc.collect(0)
    return time.perf_counter() - began
"""


@pytest.mark.limit(120)
def test_lagging_client(few_pythons, target):
    """A client that does not read loses events, learns how many, and does not slow the target."""
    t = target(few_pythons, LOOP)
    # Without a GIL each of the collections is of all objects.
    loop = "loop(3000)" if few_pythons.free_threaded else "loop()"
    alone = min(t.eval(loop, timeout=60) for _ in range(3))
    with t.connect(rcvbuf=4096) as slow:
        slow.ask("subscribe", topics="gc")
        watched = min(t.eval(loop, timeout=60) for _ in range(3))
        assert watched < alone * 1.6 + .02, (alone, watched)
        assert t.ask("stat")["agent"]["dropped_events"] > 0
        t.exec("gc.collect(2)")
        seen, dropped, got2 = 0, 0, False
        end = time.monotonic() + DEADLINE
        while not dropped:
            event = slow.event(timeout=max(.1, end - time.monotonic()))
            if event["event"] == "dropped":
                dropped += event["count"]
            else:
                seen += 1
        assert dropped > 0 and seen < 60001
        assert t.ask("info")["schema"] == "gcscope.info/1"
        # Once it reads again it gets new events again.
        while not got2:
            t.exec("gc.collect(2)")
            event = slow.event("gc", timeout=max(.1, end - time.monotonic()))
            got2 = event["generation"] == 2


CYCLES = """
import gc
gc.disable()
class Node: pass
KINDS = [type("K%03d" % i + "x" * 180, (), {}) for i in range(150)]
def make(*kinds):
    for kind in kinds:
        o = kind()
        o.me = o
    o = None
    gc.collect()
"""


def cycle_event(c, part):
    """The next event of such a cycle; those of the interpreter's own start come too."""
    end = time.monotonic() + DEADLINE
    while True:
        event = c.event("cycle", timeout=max(.1, end - time.monotonic()))
        if part in event["text"]:
            return event


def test_cycle_events(few_pythons, target):
    """Each distinct cycle as it is found, new the first time, with the totals so far; as the answer has it."""
    t = target(few_pythons, CYCLES, GCSCOPE_CYCLES="all")
    t.needs("cycles")
    with t.connect() as c:
        assert c.ask("subscribe", topics="cycles")["topics"] == ["cycles"]
        t.exec("make(Node, Node, Node)")
        event = cycle_event(c, "Node.me")
        row = next(r for r in t.ask("cycles")["cycles"] if "Node.me" in r["text"])
        head = {"schema": "gcscope.events/1", "pid": t.pid, "event": "cycle", "estimate": False, "new": True}
        del event["time"]
        assert event == dict(row, **head) and row["count"] == 3
        t.exec("make(Node, Node)")
        event = cycle_event(c, "Node.me")
        assert (event["count"], event["new"]) == (5, False)
        # Where nothing changed nothing is told: the next event is of the next kind.
        t.exec("gc.collect()")
        t.exec("make(KINDS[7])")
        assert c.event("cycle")["text"].startswith("K007")


FORK = """
import os
def lists(n):
    for _ in range(n):
        o = []
        o.append(o)
    o = None
    gc.collect()
def child():
    pid = os.fork()
    if not pid:
        os.close(tell)
        lists(int(os.read(told, 20)))
        os.read(told, 1)
        os._exit(0)
    return pid
told, tell = os.pipe()
"""


def test_cycle_events_in_a_child(one_python, target):
    """What the parent's clients were told is nothing to the child's, though as many objects were found."""
    t = target(one_python, CYCLES + FORK, GCSCOPE_CYCLES="all")
    t.needs("cycles")
    with t.connect() as c:
        c.ask("subscribe", topics="cycles")
        t.exec("lists(100)")
        cycle_event(c, "list")
        pid = t.eval("child()")
        with connect(t.sockdir, pid) as own:
            own.ask("subscribe", topics="cycles")
            found = c.ask("cycles")["objects"]
            t.exec("os.write(tell, b'%d')" % found)
            assert cycle_event(own, "list")["count"] == found
            assert own.ask("cycles")["objects"] == found, "else this would pass anyway"
        t.exec("os.close(tell), os.waitpid(%d, 0)" % pid)


def test_cycle_events_of_the_command_line(one_python, target, gcscope):
    t = target(one_python, CYCLES, GCSCOPE_CYCLES="all")
    t.needs("cycles")
    for flags, first in ([], True), (["--json"], False):
        proc = subprocess.Popen([gcscope, "events", "--topics", "cycles", "-d", "20"] + flags + [str(t.pid)],
                                stdout=subprocess.PIPE, env=environment(t.sockdir))
        try:
            wait_until(lambda: t.ask("stat")["agent"]["clients"] == 2, what="the CLI to connect")
            t.exec("make(Node, Node)")
            line = next(x for x in proc.stdout if b"Node.me" in x).decode()
            if flags:
                event = json.loads(line)
                assert (event["event"], event["count"], event["new"]) == ("cycle", 4, first)
            else:
                words = line.rstrip("\n").split(" ", 6)
                assert words[1:4] == [str(t.pid), "cycle", "count=2"]
                assert words[4].startswith("objects=") and words[5].startswith("bytes=") and words[6] == "Node.me -> Node new"
        finally:
            proc.kill()
            proc.wait()
            proc.stdout.close()


@pytest.mark.limit(90)
def test_client_that_lags_in_cycles(one_python, target):
    """Of cycles too: what it does not read is lost to it alone, it is told how many, and gets new ones once it reads."""
    t = target(one_python, CYCLES, GCSCOPE_CYCLES="all")
    t.needs("cycles")
    with t.connect(rcvbuf=4096) as slow, t.connect() as quick:
        slow.ask("subscribe", topics="cycles")
        quick.ask("subscribe", topics="cycles")
        t.exec("make(Node)")
        assert cycle_event(slow, "Node.me")["new"] and cycle_event(quick, "Node.me")["new"]
        told = 0  # from here on the same to both

        def a_round():
            nonlocal told
            t.exec("make(*KINDS)")
            n = 0
            while n < 150:
                n += quick.event("cycle")["text"].startswith("K")
                told += 1
            return t.ask("stat")["agent"]["dropped_events"] > 0
        wait_until(a_round, 60, "events to be lost")
        assert t.ask("stat")["agent"]["memory_bytes"] <= 16 << 20
        seen = dropped = 0
        while not dropped:
            event = slow.event()
            seen += event["event"] == "cycle"
            dropped += event["count"] if event["event"] == "dropped" else 0
        quick.ask("info")
        told += len(quick.events)  # came behind the last of the round
        assert seen > 0 and seen + dropped == told
        t.exec("make(Node)")
        assert cycle_event(slow, "Node.me")["count"] == cycle_event(quick, "Node.me")["count"] == 2


def test_client_that_never_reads_answers(one_python, target, sockdir):
    """Requests without reading: bounded memory, then the connection ends; others are served."""
    t = target(one_python, "keep = [type('Quite_a_long_name_%d' % i, (), {})() for i in range(500)]\n")
    greedy = Client(socket_path(sockdir, t.pid), rcvbuf=4096)
    greedy.sock.settimeout(1)
    sent = 0
    try:
        for _ in range(3000):
            greedy.sock.sendall(b"census cached=1\n")
            sent += 1
    except (OSError, socket.timeout):
        pass
    assert t.ask("info")["schema"] == "gcscope.info/1"
    assert t.ask("stat")["agent"]["memory_bytes"] <= 16 << 20
    greedy.close()
    wait_until(lambda: t.ask("stat")["agent"]["clients"] == 1)


PEER = r"""
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(b"stat\n")
    print(repr(s.recv(4096)))
except OSError as e:
    print(type(e).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_user_is_refused(one_python, target, sockdir):
    t = target(one_python)
    path = socket_path(sockdir, t.pid)

    def attempt():
        return subprocess.run([one_python.path, "-I", "-c", PEER, path], stdout=subprocess.PIPE, timeout=20,
                              cwd="/").stdout.decode().strip()
    assert attempt() == "PermissionError", "the directory's mode keeps others out"
    try:
        os.chmod(sockdir, 0o755)
        os.chmod(path, 0o666)
        assert attempt() in ("b''", "ConnectionResetError", "BrokenPipeError"), "SO_PEERCRED keeps others out"
    finally:
        os.chmod(sockdir, 0o700)
    assert t.ask("info")["schema"] == "gcscope.info/1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_may_watch_a_users_process(one_python, agent, gcscope, tmp_path):
    """An agent of an ordinary user answers that user, and root."""
    from conftest import kill
    import tempfile
    place = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
    os.chown(place, 65534, 65534)
    reading = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
    os.chmod(reading, 0o755)
    library = os.path.join(reading, "libgcscope.so")
    shutil.copy(agent, library)
    proc = subprocess.Popen([one_python.path, "-I", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, cwd="/",
                            env=environment(place, library), user=65534, group=65534, extra_groups=[])
    try:
        with connect(place, proc.pid) as c:
            assert c.ask("info")["pid"] == proc.pid
        done = subprocess.run([gcscope, "stat", "--json", str(proc.pid)], stdout=subprocess.PIPE, timeout=20,
                              env=environment(place))
        assert done.returncode == 0 and json.loads(done.stdout.decode())["pid"] == proc.pid
    finally:
        kill(proc.pid)
        proc.wait()
        proc.stdin.close()
        shutil.rmtree(place)
        shutil.rmtree(reading)
