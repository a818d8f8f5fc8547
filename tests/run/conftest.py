# SPDX-License-Identifier: Apache-2.0
"""
Fixtures for the tests that start real interpreters under the agent.

A target is a Python program with a small command loop behind it: it prints `ready`, then executes what
it is told over its standard input and answers with one JSON line each. Tests poll for what they expect
(wait_until) and nothing sleeps and hopes. Whatever a test starts is ended by its PID or process group,
and every test has a limit (`@pytest.mark.limit(seconds)`, 60 s when not given).

GCSCOPE_BUILD    build directory (default: ./build)
CC               compiles the test extension (default: cc)
GCSCOPE_PYTHONS  interpreters, separated by colons or commas (default: every CPython >= 3.8 found)
GCSCOPE_PRELOAD_FIRST  libraries to preload before the agent (tests/sanitizers/run)
GCSCOPE_SLOW     how many times longer than on an idle machine without a sanitizer everything may take (default: 1)
"""
import faulthandler
import glob
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

# Begun in the background by a shell, we have SIGINT (and under nohup SIGHUP) ignored, and so would every
# target: tests of signals, CPython's own among them, would wait for ever.
for _signal in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


BUILD = os.path.abspath(os.environ.get("GCSCOPE_BUILD", "build"))
DEADLINE = 20.0
# All waits are multiplied by this, at the place that waits.
SLOW = float(os.environ.get("GCSCOPE_SLOW", "1"))
# What must stand before the agent: the run time of the sanitizers that it was built with.
FIRST = os.environ.get("GCSCOPE_PRELOAD_FIRST", "").split()


# ---- interpreters ----

class Python:
    """One CPython: its path, version and how it is built."""

    PROBE = ("import sys, sysconfig, json; print(json.dumps([list(sys.version_info[:3]),"
             " 'libpython' in open('/proc/self/maps').read(),"
             " bool(sysconfig.get_config_var('Py_GIL_DISABLED')), hasattr(sys, 'gettotalrefcount'),"
             " [sysconfig.get_path('include'), sysconfig.get_path('platinclude')]]))")

    def __init__(self, path):
        self.path = path
        out = subprocess.run([path, "-I", "-Wignore", "-c", self.PROBE], stdout=subprocess.PIPE, check=True,
                             timeout=60)
        version, self.shared, self.free_threaded, self.debug, self.include = json.loads(out.stdout)
        self.version = tuple(version)
        self.name = "%s%s%s-%s" % (".".join(map(str, version)), "t" if self.free_threaded else "",
                                   "d" if self.debug else "", "shared" if self.shared else "static")

    def __repr__(self):
        return self.name


def find_pythons():
    listed = os.environ.get("GCSCOPE_PYTHONS")
    if listed:
        paths = [p for p in re.split("[:,]", listed) if p]
    else:
        root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        paths = ["/usr/bin/python3"] + glob.glob("/usr/bin/python3.[0-9]*")
        paths = [p for p in paths if re.search(r"/python3(\.\d+)?$", p)]
        paths += glob.glob(os.path.join(root, "versions", "3.*", "bin", "python"))
    found = {}
    for path in paths:
        if os.path.exists(path) and os.path.realpath(path) not in found:
            python = Python(path)
            if python.version >= (3, 8) or listed:
                found[os.path.realpath(path)] = python
    return sorted(found.values(), key=lambda p: (p.shared, p.version))


PYTHONS = find_pythons()
# The oldest and the newest, a static and a shared one among them: for tests too slow to run on each.
_BY_AGE = sorted(PYTHONS, key=lambda p: p.version)
FEW = list({p.path: p for p in _BY_AGE[:1] + list({q.shared: q for q in _BY_AGE}.values())}.values())
ONE = PYTHONS[:1]


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): the longest that this test may take")
    if not PYTHONS:
        raise pytest.UsageError("no CPython 3.8 or later found; name some in GCSCOPE_PYTHONS")
    if not os.path.exists(os.path.join(BUILD, "gcscope")):
        raise pytest.UsageError("no gcscope in %s: build first, or set GCSCOPE_BUILD" % BUILD)


def pytest_report_header(config):
    return "CPythons: " + ", ".join(p.name for p in PYTHONS)


def pytest_generate_tests(metafunc):
    for fixture, pythons in (("python", PYTHONS), ("few_pythons", FEW), ("one_python", ONE)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, pythons, ids=[p.name for p in pythons])


# ---- bounds ----

def wait_until(probe, timeout=DEADLINE, what=None, interval=0.02):
    """Poll until probe() is true; returns its value. Fails with `what` after timeout."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (timeout, what or getattr(probe, "__name__", probe)))
        time.sleep(interval)


@pytest.fixture(autouse=True)
def limit(request):
    mark = request.node.get_closest_marker("limit")
    seconds = (mark.args[0] if mark else 60) * SLOW

    def over(_signum, _frame):
        raise AssertionError("test exceeded its limit of %g s" % seconds)

    # A worker of xdist's may run its tests on another thread (a race in execnet), where no signal is caught.
    catches = threading.current_thread() is threading.main_thread()
    if catches:
        previous = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + 30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    if catches:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# ---- what was built ----

@pytest.fixture(scope="session")
def build():
    return BUILD


@pytest.fixture(scope="session")
def gcscope(build):
    return os.path.join(build, "gcscope")


@pytest.fixture(scope="session")
def agent(build):
    return os.path.join(build, "libgcscope.so")


@pytest.fixture(scope="session")
def testext(tmp_path_factory):
    """testext(python): a directory with tests/ext compiled for it; skips the test where that cannot be."""
    built = {}
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ext", "gcs_testext.c")

    def compiled(python):
        if not any(os.path.exists(os.path.join(d, "Python.h")) for d in python.include):
            pytest.skip("%s has no headers (Debian: python3-dev)" % python)
        if python.path not in built:
            built[python.path] = str(tmp_path_factory.mktemp("ext"))
            subprocess.run(os.environ.get("CC", "cc").split() + ["-std=gnu11", "-g", "-O1", "-shared", "-fPIC"] +
                           ["-I" + d for d in python.include] +
                           [source, "-o", os.path.join(built[python.path], "gcs_testext.so")], check=True, timeout=60)
        return built[python.path]
    return compiled


# ---- processes ----

def start_time(pid):
    """Field 22 of /proc/<pid>/stat, None when there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def state_of(pid):
    """One letter as in ps: R, S, D, T, Z; None when there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def is_gone(pid):
    return state_of(pid) in (None, "Z", "X")


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def stop(pid):
    """SIGSTOP, and until each of its threads has stopped: its main thread must run for that."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(int(task)) == "T" for task in os.listdir("/proc/%d/task" % pid)))


@pytest.fixture
def sockdir():
    """A private socket directory; its path is short, since sun_path holds 108 bytes."""
    path = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
    yield path
    for name in os.listdir(path):
        match = re.match(r"(\d+)-(\d+)\.sock$", name)
        if match and start_time(int(match[1])) == int(match[2]):
            kill(int(match[1]))
        os.unlink(os.path.join(path, name))
    os.rmdir(path)


def socket_path(sockdir, pid):
    return os.path.join(sockdir, "%d-%s.sock" % (pid, start_time(pid)))


def encode(value):
    return "".join(chr(b) if 32 < b < 127 and b != 37 else "%%%02X" % b for b in str(value).encode())


class Gone(Exception):
    """The agent closed the connection."""


class Client:
    """A connection to an agent, straight to its socket. Events that arrive meanwhile are in .events."""

    def __init__(self, path, timeout=DEADLINE, rcvbuf=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout * SLOW)
        self.sock.connect(path)
        self.data = b""
        self.events = []
        self.hello = self.line()

    def line(self, timeout=DEADLINE):
        """The next line, of whatever kind."""
        self.sock.settimeout(timeout * SLOW)
        while b"\n" not in self.data:
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Gone(self.data)
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        answer = json.loads(line.decode())
        assert isinstance(answer, dict)
        for key in ("schema", "pid", "time"):
            assert key in answer, line
        return answer

    def send(self, verb, **keys):
        self.sock.sendall(" ".join([verb] + ["%s=%s" % (k, encode(v)) for k, v in keys.items()]).encode() + b"\n")

    def answer(self, timeout=DEADLINE):
        """The next line that is no event."""
        while True:
            line = self.line(timeout)
            if "event" not in line:
                return line
            self.events.append(line)

    def ask(self, verb, **keys):
        self.send(verb, **keys)
        return self.answer()

    def event(self, kind=None, timeout=DEADLINE):
        """The next event (of that kind; others are dropped)."""
        end = time.monotonic() + timeout
        while True:
            line = self.events.pop(0) if self.events else self.line(max(0.01, end - time.monotonic()))
            if "event" in line and kind in (None, line["event"]):
                return line

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(sockdir, pid, timeout=DEADLINE, **keys):
    """A client of pid's agent, as soon as there is one."""
    def attempt():
        path = socket_path(sockdir, pid)
        if not os.path.exists(path):
            assert not is_gone(pid), "target %d ended before it had an agent" % pid
            return None
        try:
            return Client(path, **keys)
        except (ConnectionRefusedError, FileNotFoundError, Gone):
            return None
    return wait_until(attempt, timeout, "an agent in process %d" % pid)


SERVE = r'''

def _gcs_serve():
    import json, sys
    out = sys.stdout
    out.write("ready\n")
    out.flush()
    for line in iter(sys.stdin.readline, ""):
        kind, text = json.loads(line)
        try:
            if kind == "eval":
                value = eval(text, globals())
            else:
                value = exec(text, globals())
        except Exception as e:
            value = {"raised": "%s: %s" % (type(e).__name__, e)}
        out.write(json.dumps(value) + "\n")
        out.flush()

_gcs_serve()
'''


# Each CPython's own module for them. create() makes one with a GIL of its own from 3.12 on.
INTERPRETERS = '''
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
'''

# What a program can learn of its own process, for those that compare it.
SELF = r'''
import os

def descriptors():
    """Each open one with what it is; not that of the listing."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            continue
        found.append((int(fd), "file" if link[0] == "/" else link.split(":")[0]))
    return sorted(found)

def lowest_descriptor():
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    return fd

def children():
    """Whether waitpid(-1) would find any, ended or not; it takes none away."""
    try:
        return str(os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    except ChildProcessError:
        return "none"

def kernel():
    """What the kernel says of the first thread; signals 32 and 33 are libc's, for threads."""
    with open("/proc/self/status") as f:
        lines = dict(line.split(":", 1) for line in f)
    found = {k: int(lines[k], 16) & ~(3 << 31) for k in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")}
    found.update((k, lines[k].split()) for k in ("Name", "Umask", "TracerPid", "Uid", "Gid", "Groups", "CapEff",
                                                 "NoNewPrivs", "Seccomp"))
    return found
'''


def environment(sockdir, agent=None, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GCSCOPE_", "PYTHON", "LD_PRELOAD"))}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    env["GCSCOPE_SOCKET_DIR"] = sockdir
    if agent:
        env["LD_PRELOAD"] = " ".join(FIRST + [agent])
    env.update({k: str(v) for k, v in settings.items()})
    return env


class Target:
    """A Python program under the agent, if any. Settings are environment variables."""

    def __init__(self, python, agent, gcscope, sockdir, tmp_path, source="", args=(), flags=(), attach=True, serve=True,
                 script="app.py", **settings):
        self.sockdir, self.gcscope, self.python = sockdir, gcscope, python
        self.script = os.path.join(str(tmp_path), script)
        with open(self.script, "w", encoding="utf-8") as f:
            f.write(source + (SERVE if serve else ""))
        self.stderr = tempfile.TemporaryFile()
        self.env = environment(sockdir, agent, **settings)
        self.proc = subprocess.Popen(
            [python.path] + list(flags) + [self.script] + list(args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.stderr, env=self.env, start_new_session=True, cwd=str(tmp_path))
        self.pid = self.proc.pid
        self.lines = queue.Queue()
        self._client = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if serve:
            assert self.readline() == "ready"
        if attach:
            self.client()

    def _read(self):
        for line in self.proc.stdout:
            self.lines.put(line.decode("utf-8", "backslashreplace").rstrip("\n"))
        self.lines.put(None)

    def readline(self, timeout=DEADLINE):
        try:
            line = self.lines.get(timeout=timeout * SLOW)
        except queue.Empty:
            raise AssertionError("target printed nothing within %g s; stderr: %s" % (timeout, self.errors())) from None
        if line is None:
            self.lines.put(None)
            raise AssertionError("target ended, status %s; stderr: %s" % (self.wait(), self.errors()))
        return line

    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "backslashreplace")

    def tell(self, kind, text):
        self.proc.stdin.write(json.dumps([kind, text]).encode() + b"\n")
        self.proc.stdin.flush()

    def exec(self, code, timeout=DEADLINE):
        """Runs statements in the target's main thread."""
        self.tell("exec", code)
        value = json.loads(self.readline(timeout))
        assert value is None, value

    def eval(self, expression, timeout=DEADLINE):
        """The value of an expression, evaluated in the target's main thread."""
        self.tell("eval", expression)
        return json.loads(self.readline(timeout))

    def connect(self, **keys):
        return connect(self.sockdir, self.pid, **keys)

    def client(self):
        if self._client is None:
            self._client = self.connect()
        return self._client

    def ask(self, verb, **keys):
        return self.client().ask(verb, **keys)

    def needs(self, *features):
        """Skips the test, with the agent's own reason, where a feature is off: in free-threaded builds, nowhere else."""
        off = {d["feature"]: d["reason"] for d in self.ask("stat")["agent"]["disabled"]}
        for feature in features:
            if feature in off:
                assert self.python.free_threaded, off
                pytest.skip("%s is off: %s" % (feature, off[feature]))

    def census(self):
        """{type: (count, bytes)} of a census that begins now."""
        answer = self.ask("census")
        assert answer["schema"] == "gcscope.census/1", answer
        return {t["type"]: (t["count"], t["bytes"]) for t in answer["types"]}

    def censuses(self):
        return self.ask("stat")["agent"]["census"]["count"]

    def cli(self, *args, check=True, timeout=60, env=None):
        """`gcscope ARGS PID`; the JSON object if --json is among them, else the finished process."""
        done = subprocess.run([self.gcscope] + list(args) + [str(self.pid)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=timeout * SLOW,
                              env=dict(environment(self.sockdir), **(env or {})))
        if check:
            assert done.returncode == 0, (args, done.returncode, done.stderr)
            if "--json" in args:
                return json.loads(done.stdout.decode())
        return done

    def wait(self, timeout=DEADLINE):
        """The exit status, as subprocess gives it."""
        try:
            return self.proc.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("target did not end within %g s; stderr: %s" % (timeout, self.errors())) from None

    def finish(self):
        """End of input: the program ends by itself. Its exit status."""
        self.proc.stdin.close()
        return self.wait()

    def stop(self):
        if self._client:
            self._client.close()
        kill_group(self.pid)
        self.proc.wait(10)
        self.reader.join(2)
        for f in (self.proc.stdin, self.stderr):
            try:
                f.close()
            except OSError:
                pass


@pytest.fixture
def target(agent, gcscope, sockdir, tmp_path):
    """target(python, source, **options): see Target."""
    started = []

    def start(python, source="", with_agent=True, **keys):
        started.append(Target(python, agent if with_agent else None, gcscope, sockdir, tmp_path, source, **keys))
        return started[-1]

    yield start
    for each in started:
        each.stop()


class Finished:
    def __init__(self, status, stdout, stderr):
        self.status, self.stdout, self.stderr = status, stdout, stderr

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return "status %s\n-- stdout\n%s\n-- stderr\n%s" % (self.status, self.stdout.decode("utf-8", "replace"),
                                                          self.stderr.decode("utf-8", "replace"))


def kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def run_program(argv, env, cwd=None, stdin=b"", timeout=DEADLINE, **keys):
    """Runs to the end, bounded; whatever it left behind in its process group is killed."""
    proc = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True, **keys)
    try:
        out, err = proc.communicate(stdin, timeout * SLOW)
    except subprocess.TimeoutExpired:
        kill_group(proc.pid)
        out, err = proc.communicate()
        raise AssertionError("%r did not end within %g s\n%s\n%s" % (argv, timeout, out, err)) from None
    finally:
        kill_group(proc.pid)
    return Finished(proc.returncode, out, err)


@pytest.fixture
def run(agent, sockdir, tmp_path):
    """run(python, source, agent=True, **options): the program's end, with or without the agent."""
    def start(python, source, with_agent=True, flags=(), args=(), stdin=b"", timeout=DEADLINE, script="prog.py",
              **settings):
        path = os.path.join(str(tmp_path), script)
        with open(path, "w", encoding="utf-8") as f:
            f.write(source)
        env = environment(sockdir, agent if with_agent else None, **settings)
        return run_program([python.path] + list(flags) + [path] + list(args), env, str(tmp_path), stdin, timeout)
    return start


@pytest.fixture
def cli(gcscope, sockdir):
    """cli(*args): runs gcscope to its end in the private socket directory."""
    def start(*args, timeout=60, stdin=b"", **settings):
        return run_program([gcscope] + [str(a) for a in args], environment(sockdir, **settings), stdin=stdin,
                           timeout=timeout)
    return start


# ---- stand-ins for an agent ----

FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_agent.py")


@pytest.fixture
def place():
    """A socket directory with a short name: sun_path holds 108 bytes."""
    path = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def peer(place):
    started = []

    def start(mode):
        p = subprocess.Popen([sys.executable, FAKE, place, mode], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        started.append(p)
        assert p.stdout.readline() == b"ready\n"
        return p

    yield start
    for p in started:
        p.send_signal(signal.SIGCONT)
        p.kill()
        p.wait()
        p.stdout.close()
