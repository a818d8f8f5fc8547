# SPDX-License-Identifier: Apache-2.0
"""
Guards against attack and accident: whatever stands at the socket's place, whatever a client sends, a log that
cannot be written, descriptors that have run out, names of megabytes. The target goes on, what is off
says why, nothing piles up and nobody waits.
"""
import array
import json
import os
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from conftest import DEADLINE, FIRST, Client, Gone, environment, kill, run_program, socket_path, stop, wait_until

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to another user")
NOBODY = 65534


def agents_thread(pid):
    """The id of the agent's thread."""
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/comm" % (pid, tid)) as f:
            if f.read() == "gcscope\n":
                return int(tid)
    raise AssertionError("no agent's thread in %d" % pid)


def agents_descriptors(pid):
    return os.listdir("/proc/%d/task/%d/fd" % (pid, agents_thread(pid)))


def agents_busy_s(pid):
    """How long the agent's thread was running, or would have if the processors had been free."""
    with open("/proc/%d/task/%d/schedstat" % (pid, agents_thread(pid))) as f:
        ran, waited, _ = map(int, f.read().split())
    return (ran + waited) / 1e9


def connection(path):
    """A plain connection, however long the queue is (a socket with a timeout gets EAGAIN instead)."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.settimeout(DEADLINE)
    return s


# ---- the socket's place ----

def make_place(kind, base):
    """A place that is no good; what GCSCOPE_SOCKET_DIR says."""
    path = os.path.join(base, "place")
    if kind == "link":
        os.mkdir(os.path.join(base, "real"), 0o700)
        os.symlink(os.path.join(base, "real"), path)
    elif kind == "link that leads nowhere":
        os.symlink(os.path.join(base, "real"), path)
    elif kind == "file":
        open(path, "w").close()
    elif kind == "another's":
        os.mkdir(path, 0o700)
        os.chown(path, NOBODY, NOBODY)
    elif kind == "writable by all":
        os.mkdir(path)
        os.chmod(path, 0o1777)
    elif kind == "no parent":
        path = os.path.join(base, "none", "place")
    elif kind == "too long":
        path = os.path.join(base, "x" * 90)
    elif kind == "device":
        path = "/dev/null"
    return path


def contents(base):
    return {os.path.join(where, name): os.lstat(os.path.join(where, name)).st_mode
            for where, dirs, files in os.walk(base) for name in dirs + files}


PLACES = ["link", "link that leads nowhere", "file", pytest.param("another's", marks=ROOT), "writable by all", "no parent",
          "too long", "device"]


@pytest.mark.parametrize("kind", PLACES)
def test_bad_place(one_python, run, tmp_path, kind):
    """No socket, nothing touched, the log says why, the program does not notice."""
    base, log = tempfile.mkdtemp(prefix="gcs-", dir="/tmp"), str(tmp_path / "log")
    try:
        place = make_place(kind, base)
        before = contents(base)
        done = run(one_python, """
import os, time
end = time.monotonic() + 10
while not os.path.exists(%r) and time.monotonic() < end: time.sleep(.02)
time.sleep(.1)
print('end')
""" % log, GCSCOPE_SOCKET_DIR=place, GCSCOPE_LOG=log)
        assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")
        after = contents(base)
        if kind == "too long":  # the directory is fine, the socket's name does not fit
            after.pop(place, None)
        assert after == before
        with open(log) as f:
            lines = f.readlines()
        # And what else the build disables.
        assert all(" disabled " in line for line in lines), lines
        assert sum(" disabled socket the socket cannot be made: " in line for line in lines) == 1, lines
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize("thing", ["directory", "link", "file", "socket"])
def test_something_at_the_sockets_name(one_python, agent, sockdir, tmp_path, thing):
    """What an earlier image of the process left there is replaced, never followed; a directory is left alone."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o644)
    source = """
import os, socket, sys
start = open('/proc/self/stat').read().rpartition(')')[2].split()[19]
path = '%s/%d-%s.sock' % (os.environ['GCSCOPE_SOCKET_DIR'], os.getpid(), start)
thing, victim, library = sys.argv[1:]
if thing == 'directory': os.mkdir(path)
if thing == 'link': os.symlink(victim, path)
if thing == 'file': open(path, 'w').close()
if thing == 'socket': socket.socket(socket.AF_UNIX).bind(path)
os.environ['LD_PRELOAD'] = library
os.execv(sys.executable, [sys.executable, '-c', "print('ready', flush=True); input()"])
"""
    log = str(tmp_path / "log")
    with subprocess.Popen([one_python.path, "-c", source, thing, str(victim), " ".join(FIRST + [agent])], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=environment(sockdir, GCSCOPE_LOG=log)) as p:
        try:
            assert p.stdout.readline() == b"ready\n"
            path = socket_path(sockdir, p.pid)
            if thing == "directory":
                wait_until(lambda: os.path.exists(log) and "disabled socket" in open(log).read(), what="a reason in the log")
                assert os.path.isdir(path)
                os.rmdir(path)
            else:
                with wait_until(lambda: stat.S_ISSOCK(os.lstat(path).st_mode) and try_client(path)) as c:
                    assert c.ask("info")["pid"] == p.pid
            p.communicate(b"\n", DEADLINE)
            assert p.returncode == 0
        finally:
            p.kill()
    assert victim.read_text() == "precious" and stat.S_IMODE(victim.stat().st_mode) == 0o644


def try_client(path):
    try:
        return Client(path)
    except (OSError, Gone):
        return None


@ROOT
def test_ordinary_user_without_a_place(one_python, agent, tmp_path):
    """A user who may not write to the directory: a reason in the log, and the program's own end."""
    base = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
    try:
        os.chmod(base, 0o755)
        library = shutil.copy(agent, base)
        os.chmod(library, 0o644)
        log = os.path.join(base, "log")
        open(log, "w").close()
        os.chown(log, NOBODY, NOBODY)
        done = run_program([one_python.path, "-I", "-c", "import time; time.sleep(.4); print('end')"],
                           environment(base + "/place", library, GCSCOPE_LOG=log), cwd="/", user=NOBODY, group=NOBODY,
                           extra_groups=[])
        assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")
        with open(log) as f:
            assert " disabled socket the socket cannot be made: Permission denied\n" in f.read()
    finally:
        shutil.rmtree(base)


# ---- clients ----

@pytest.mark.limit(120)
def test_ten_thousand_connections(one_python, target, sockdir):
    """Opened and dropped, most without a word: the agent's descriptors, memory and clients are as before."""
    t = target(one_python)
    path = socket_path(sockdir, t.pid)
    used, fds = t.ask("stat")["agent"]["memory_bytes"], sorted(agents_descriptors(t.pid))
    for i in range(10000):
        with connection(path) as s:
            if i % 4 == 0:
                s.send(b"subscribe topics=gc,census\ncensus\nstat")
    wait_until(lambda: t.ask("stat")["agent"]["clients"] == 1)
    wait_until(lambda: sorted(agents_descriptors(t.pid)) == fds, what="the descriptors of before")
    assert t.ask("stat")["agent"]["memory_bytes"] <= used + (256 << 10)


def test_connections_beyond_the_limit_of_descriptors(one_python, target, sockdir):
    """accept() fails with EMFILE while clients are queued: no busy loop, and the next is served as one leaves."""
    t = target(one_python)
    free = len(agents_descriptors(t.pid)) + 4
    t.exec("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))" % (free, free))
    path, crowd = socket_path(sockdir, t.pid), []
    try:
        for _ in range(20):
            crowd.append(connection(path))
        wait_until(lambda: len(agents_descriptors(t.pid)) == free, what="the agent to run out of descriptors")
        before, began = agents_busy_s(t.pid), time.monotonic()
        time.sleep(1)
        busy = (agents_busy_s(t.pid) - before) / (time.monotonic() - began)
        assert busy < .5, "a busy loop: %d%% of the time" % (100 * busy)
        assert t.ask("info")["pid"] == t.pid
        for s in crowd[:-1]:
            s.close()
        assert b"hello" in crowd[-1].recv(4096)
    finally:
        for s in crowd:
            s.close()


def test_descriptor_bomb(one_python, target, sockdir):
    """Descriptors that a client sends along are closed, not kept: neither in our table nor in flight."""
    t = target(one_python)
    before = sorted(agents_descriptors(t.pid) + os.listdir("/proc/%d/fd" % t.pid))
    read_end, write_end = os.pipe()
    with t.connect() as c:
        for i in range(200):
            c.sock.sendmsg([b"info\n" if i % 2 else b"in" b"fo\n"],
                           [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write_end] * 250))])
            c.answer()
        os.close(write_end)
        # The last copy of the pipe's end is gone once the agent has read it.
        assert os.read(read_end, 1) == b""
        os.close(read_end)
        now = sorted(agents_descriptors(t.pid) + os.listdir("/proc/%d/fd" % t.pid))
        assert len(now) == len(before) + 1
    assert t.ask("info")["pid"] == t.pid


@pytest.mark.limit(90)
def test_stopped_cli(few_pythons, target, gcscope, sockdir):
    """A CLI under SIGSTOP costs the target nothing, and goes on where it was, told what it missed."""
    t = target(few_pythons, "import gc, time\ngc.disable()\ngc.collect()\n")
    with subprocess.Popen([gcscope, "events", "--json", "--topics", "gc", str(t.pid)], stdout=subprocess.PIPE,
                          env=environment(sockdir)) as cli:
        try:
            def subscribed():
                t.exec("gc.collect(0)")
                return select.select([cli.stdout], [], [], 0)[0]
            wait_until(subscribed)
            stop(cli.pid)

            def flooded():
                t.exec("for _ in range(5000): gc.collect(0)")
                return t.ask("stat")["agent"]["dropped_events"] > 0
            wait_until(flooded, 40)
            assert t.ask("stat")["agent"]["memory_bytes"] <= 16 << 20
            os.kill(cli.pid, signal.SIGCONT)
            kinds = (json.loads(line)["event"] for line in cli.stdout)
            assert any(kind == "dropped" for kind in kinds)
        finally:
            kill(cli.pid)


def test_stopped_target_goes_on(few_pythons, target):
    """SIGSTOP and SIGCONT of a watched target, in whatever it is doing: the subscriber gets what comes after."""
    t = target(few_pythons, "import gc, threading, time\ndef work():\n  while True: [[]]\n"
               "threading.Thread(target=work, daemon=True).start()\n", GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="50")
    with t.connect() as c:
        c.ask("subscribe", topics="census,gc")
        for _ in range(20):
            stop(t.pid)
            os.kill(t.pid, signal.SIGCONT)
            c.events.clear()
            n = t.censuses()
            wait_until(lambda: t.censuses() > n)
            assert c.event("census")
    assert t.finish() == 0


# ---- the log ----

LOGGING = """
import gc, os, time
def turn():
    gc.enable() if not gc.isenabled() else gc.disable()
"""


def log_lines(t, n, lost=False):
    """Makes the agent say something until n lines more were written, or lost."""
    def count():
        t.exec("turn()")
        agent = t.ask("stat")["agent"]
        return agent["lost_log_lines"] >= n if lost else agent
    return wait_until(count, what="%d lines" % n, interval=.1)


@pytest.mark.parametrize("kind", ["full", "directory", "fifo", "missing", "unwritable", "socket"])
def test_log_that_cannot_be_written(one_python, target, tmp_path, kind):
    """Lines are lost and counted; the agent answers, the target runs, nothing waits for a reader."""
    path = str(tmp_path / "log")
    if kind == "full":
        path = "/dev/full"
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "missing":
        path = str(tmp_path / "none" / "log")
    elif kind == "unwritable":
        path = "/proc/version"
    else:
        socket.socket(socket.AF_UNIX).bind(path)
    t = target(one_python, LOGGING, GCSCOPE_LOG=path, GCSCOPE_INTERVAL="0.02")
    log_lines(t, 3, lost=True)
    assert len(agents_descriptors(t.pid)) < 11
    t.exec("pid = os.fork()\nif not pid: os._exit(3)\nassert os.waitpid(pid, 0)[1] == 3 << 8")
    assert t.finish() == 0 and t.errors() == ""


def test_file_size_limit(one_python, target, tmp_path):
    """SIGXFSZ, which kills, is not delivered for what we write; and a line that was cut ends before the next."""
    path = str(tmp_path / "log")
    t = target(one_python, LOGGING + "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n",
               GCSCOPE_LOG=path, GCSCOPE_LOG_FORMAT="json", GCSCOPE_INTERVAL="0.02")
    wait_until(lambda: log_lines(t, 0) and os.path.exists(path) and os.path.getsize(path) > 300)
    t.exec("size = os.path.getsize(%r) + 250\nresource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))" % path)
    log_lines(t, 5, lost=True)
    t.exec("resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)")
    size = os.path.getsize(path)
    wait_until(lambda: log_lines(t, 0) and os.path.getsize(path) > size + 300, what="the log goes on")
    with open(path) as f:
        lines = f.read().split("\n")[:-1]
    bad = []
    for line in lines:
        try:
            json.loads(line)
        except ValueError:
            bad.append(line)
    assert [line.count('"schema"') for line in bad] == [1], "one line was cut, the others are whole"
    assert t.finish() == 0


def test_log_moved_away(one_python, target, tmp_path):
    path = str(tmp_path / "log")
    t = target(one_python, LOGGING, GCSCOPE_LOG=path, GCSCOPE_INTERVAL="0.02")
    for i in range(5):
        wait_until(lambda: log_lines(t, 0) and os.path.exists(path))
        if i % 2:
            os.unlink(path)
        else:
            os.rename(path, path + ".old")
    assert t.ask("stat")["agent"]["lost_log_lines"] == 0
    assert len(agents_descriptors(t.pid)) < 11


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_stuck_stderr(few_pythons, agent, sockdir, tmp_path, kind):
    """GCSCOPE_LOG=stderr and nobody reads it: the program, which writes nothing there, forks and ends as ever."""
    if kind == "pipe":
        ours, theirs = os.pipe()
    elif kind == "terminal":
        ours, theirs = os.openpty()
    else:
        ours, theirs = (s.detach() for s in socket.socketpair())
    source = """
import gc, os, time
fd = os.dup(2)
flags = os.get_blocking(fd)
os.set_blocking(fd, False)
try:
    while True: os.write(fd, b'x' * 512)
except BlockingIOError: pass
os.set_blocking(fd, flags)
for i in range(60):
    gc.disable() if i % 2 else gc.enable()
    time.sleep(.02)
for i in range(5):
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
print(os.get_blocking(2))
"""
    proc = subprocess.Popen([few_pythons.path, "-c", source], stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
                            env=environment(sockdir, agent, GCSCOPE_LOG="stderr", GCSCOPE_INTERVAL="0.01"))
    os.close(theirs)
    try:
        out = proc.communicate(timeout=DEADLINE)[0]
        assert (proc.returncode, out) == (0, b"True\n")
    finally:
        proc.kill()
        proc.wait()
        os.close(ours)


# ---- descriptors run out ----

def test_no_descriptor_left_in_the_target(python, target):
    """The agent's are its own: it answers while the target has none, and a fork then takes no longer."""
    t = target(python, """
import os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
def exhaust():
    try:
        while True: held.append(os.dup(0))
    except OSError as e: return e.errno
def forks():
    began = time.monotonic()
    for _ in range(5):
        pid = os.fork()
        if not pid: os._exit(0)
        os.waitpid(pid, 0)
    return time.monotonic() - began
""")
    assert t.eval("exhaust()") == 24
    with t.connect() as c:
        assert c.ask("census")["objects"] > 1000
        assert c.ask("stat")["agent"]["disabled"] == t.ask("stat")["agent"]["disabled"]
    assert t.eval("forks()") < 2, "a fork waits for the agent"
    t._client.close()
    t._client = None
    assert t.ask("census")["objects"] > 1000, "an agent is there again"
    t.exec("for fd in held: os.close(fd)")
    with t.connect() as c:
        c.ask("subscribe", topics="gc")
        assert t.eval("forks()") < 2
        t.exec("import gc; gc.collect()")
        assert c.event("gc"), "with descriptors to be had a client is carried over a fork"


@pytest.mark.parametrize("limit", [4, 5, 6, 7, 8, 9, 10])
def test_few_descriptors_at_attach(one_python, agent, sockdir, tmp_path, limit):
    """However few there are: the program runs as without us, and where there is no socket the log says why."""
    log = str(tmp_path / "log")
    source = """
import os, time
time.sleep(.4)
pid = os.fork()
if not pid: os._exit(0)
print(os.waitpid(pid, 0)[1])
"""
    argv = [one_python.path, "-I", "-c", source]
    lower = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    plain = run_program(argv, environment(sockdir), preexec_fn=lower)
    done = run_program(argv, environment(sockdir, agent, GCSCOPE_LOG=log), preexec_fn=lower)
    assert done == plain
    assert os.listdir(sockdir) == []


# ---- hostile text ----

@pytest.mark.limit(120)
def test_names_of_megabytes(few_pythons, target):
    """Type names, keys, attributes, modules, file names of megabytes: answers stay small, valid and escaped."""
    t = target(few_pythons, r'''
import gc, types
gc.collect()
keep = []
def names(mark, n):
    evil = "\x1b]0;pwned\x07\x1b[2J\u202e\u2028\n\x00\ud800\udfff\x9b1m" + mark
    return evil + "M" * n, "M" * n + evil, "\x1b]0;pwned\x07\x9b" + "M" * n
def make(size):
    for n in names("t", size):
        try: cls = type(n.replace("\0", ""), (), {"__module__": n})
        except UnicodeEncodeError: cls = type("n", (), {"__module__": n, "__qualname__": n})
        keep.extend(cls() for _ in range(100))
        for attribute in names("a", size):
            x, y = cls(), cls()
            x.__dict__[attribute] = y
            y.d = {attribute: [x], 5: x, None: y}
        scope = {}
        exec(compile("def f():\n  x = []\n  x.append(x)\n  x.append(lambda: x)\n  import gc; gc.collect()", n.replace("\0", "").encode("utf-8", "replace").decode()[:size], "exec"), scope)
        scope["f"]()
    gc.collect()
''', GCSCOPE_CYCLES="all", GCSCOPE_INTERVAL="0.05")
    t.exec("make(3000000)", timeout=60)
    n = t.censuses()
    wait_until(lambda: t.censuses() > n + 2)
    off = {d["feature"] for d in t.ask("stat")["agent"]["disabled"]}
    assert not off & {"cycles", "garbage"} or t.python.free_threaded, off
    for verb in {"census", "cycles", "garbage", "suspects", "stat", "info"} - off:
        t.client().send(verb)
        raw = t.client().line()
        assert "error" not in raw, raw
        assert len(json.dumps(raw)) < 300000, "%s is not bounded" % verb
    for command in {"census", "cycles", "suspects", "stat", "ps"} - off:
        for flags in ([], ["--json"]):
            done = subprocess.run([t.gcscope, command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                                  env=environment(t.sockdir))
            text = done.stdout.decode("utf-8")
            assert (done.returncode, done.stderr) == (0, b""), (command, done.stderr)
            assert not [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u2028\u202e"] or flags
            if flags:
                json.loads(text)
    assert "pwned" in t.cli("census", "-n", "0").stdout.decode()
    assert "cycles" in off or len(t.ask("cycles")["cycles"]) > 0
