# SPDX-License-Identifier: Apache-2.0
"""
Guards against a full-screen view that shows nothing, does not survive a resize, or leaves the terminal
spoilt when it ends, however it ends.
"""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from conftest import environment, kill, stop, wait_until

APP = '''
class Shown: pass
class Other: pass
heap = [Shown() for _ in range(12345)]
more = []
'''


class Screen:
    """`gcscope watch` on a terminal of its own."""

    def __init__(self, gcscope, sockdir, *args, rows=40, cols=120, term="xterm"):
        self.out = b""
        self.master, self.slave = pty.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
                for fd in (0, 1, 2):
                    os.dup2(self.slave, fd)
                env = environment(sockdir, TERM=term, LANG="C.UTF-8", LC_ALL="C.UTF-8")
                os.closerange(3, 100)
                os.execve(gcscope, [gcscope, "watch"] + [str(a) for a in args], env)
            finally:
                os._exit(99)
        self.status = None

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def read(self, timeout=.1):
        """What was drawn since."""
        new = b""
        while select.select([self.master], [], [], timeout)[0]:
            try:
                more = os.read(self.master, 1 << 16)
            except OSError:
                break
            if not more:
                break
            new += more
            timeout = .02
        self.out += new
        return new

    def until(self, pattern, timeout=15):
        """Reads until what was drawn from now on matches."""
        seen = b""

        def probe():
            nonlocal seen
            seen += self.read(.05)
            return re.search(pattern, self.plain(seen))
        try:
            wait_until(probe, timeout)
        except AssertionError:
            raise AssertionError("not drawn: %r in %r" % (pattern, self.plain(seen)[-3000:])) from None
        return self.plain(seen)

    @staticmethod
    def plain(data):
        return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\x1b[=>78M]", b" ", data)

    def keys(self, text):
        os.write(self.master, text.encode())

    def end(self, timeout=10):
        """Its exit status, once it ended by itself."""
        def ended():
            self.read(.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            return pid
        wait_until(ended, timeout, "watch to end")
        self.read(.05)
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else -os.WTERMSIG(self.status)

    def close(self):
        if self.status is None:
            kill(self.pid)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)

    def restored(self):
        """The modes are as before; the alternate screen was left and the cursor shown again."""
        assert termios.tcgetattr(self.slave) == self.before
        assert self.out.rfind(b"\x1b[?1049l") > self.out.rfind(b"\x1b[?1049h") >= 0
        hidden = self.out.rfind(b"\x1b[?25l")
        assert hidden < 0 or max(self.out.rfind(b"\x1b[?25h"), self.out.rfind(b"\x1b[?12l\x1b[?25h")) > hidden


@pytest.fixture
def screen(gcscope, sockdir):
    opened = []

    def start(*args, **keys):
        opened.append(Screen(gcscope, sockdir, *args, **keys))
        return opened[-1]
    yield start
    for s in opened:
        s.close()


def test_shows_and_quits(python, target, screen):
    t = target(python, APP, GCSCOPE_INTERVAL="0.2")
    s = screen("-i", "0.2", t.pid)
    text = s.until(rb"__main__\.Shown")
    assert str(t.pid).encode() in text and b"app.py" in text
    s.keys("q")
    assert s.end() == 0
    s.restored()
    assert t.ask("info")["pid"] == t.pid


def test_keys(one_python, target, screen):
    t = target(one_python, APP, GCSCOPE_INTERVAL="0.1")
    s = screen("-i", "0.1", t.pid)
    s.until(rb"__main__\.Shown")
    t.exec("more.extend(Other() for _ in range(20000))")
    # Only what differs is drawn, unless all of it is asked for.
    wait_until(lambda: s.keys("\x0c") or re.search(rb"__main__\.Other", s.plain(s.read(.3))), what="the new type")
    for key in ("g", "b", "c", "s", "s", "p", "p", " ", "?", "?", "j", "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~", "\r", "\r",
                "\x1b", "x", "\x00", "\xff"):
        s.keys(key)
        s.read(.05)
    s.keys("\x0c")
    s.read(.3)
    s.keys("q")
    if s.status is None and not _ended(s):
        s.keys("q")
    assert s.end() == 0
    s.restored()


def _ended(s):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        s.read(.05)
        pid, status = os.waitpid(s.pid, os.WNOHANG)
        if pid:
            s.status = status
            s.end = lambda: os.WEXITSTATUS(status)
            return True
    return False


@pytest.mark.parametrize("size", [(24, 80), (50, 200), (10, 40), (3, 10), (1, 1), (60, 30)], ids=lambda s: "%dx%d" % s)
def test_sizes(one_python, target, screen, size):
    """Any size at the start, and any change of it later."""
    t = target(one_python, APP, GCSCOPE_INTERVAL="0.1")
    s = screen("-i", "0.1", t.pid, rows=size[0], cols=size[1])
    wait_until(lambda: s.read(.05) and len(s.out) > 20, what="something drawn")
    for rows, cols in ((40, 120), (5, 20), (1, 1), (100, 300), (24, 80)):
        s.resize(rows, cols)
        os.kill(s.pid, signal.SIGWINCH)
        s.read(.1)
    s.keys("\x0c")  # draw all again: what was read above is not drawn twice
    s.until(rb"__main__\.Shown")
    s.keys("q")
    assert s.end() == 0
    s.restored()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_signals(one_python, target, screen, sig):
    t = target(one_python, APP)
    s = screen(t.pid)
    s.until(rb"Shown|app\.py")
    os.kill(s.pid, sig)
    assert s.end() == 0
    s.restored()


def test_interrupt_key(one_python, target, screen):
    t = target(one_python, APP)
    s = screen(t.pid)
    s.until(rb"Shown|app\.py")
    s.keys("\x03")
    assert s.end() == 0
    s.restored()


def test_target_dies(one_python, target, screen):
    t = target(one_python, APP, GCSCOPE_INTERVAL="0.1")
    s = screen("-i", "0.1", t.pid)
    s.until(rb"__main__\.Shown")
    kill(t.pid)
    assert s.end() == 1
    s.restored()
    assert str(t.pid).encode() in Screen.plain(s.out[s.out.rfind(b"\x1b[?1049l"):])


def test_target_stops_answering(one_python, target, screen):
    """A target under SIGSTOP: the view stays alive and can be left."""
    t = target(one_python, APP, GCSCOPE_INTERVAL="0.1")
    s = screen("-i", "0.1", t.pid)
    s.until(rb"__main__\.Shown")
    stop(t.pid)
    try:
        s.read(.5)
        s.keys("q")
        assert s.end(5) == 0
        s.restored()
    finally:
        os.kill(t.pid, signal.SIGCONT)


def test_without_a_terminal(one_python, target, cli):
    t = target(one_python, APP)
    done = cli("watch", t.pid)
    assert done.status == 1 and done.stdout == b"" and done.stderr.count(b"\n") == 1
    assert b"terminal" in done.stderr


@pytest.mark.parametrize("term", ["dumb", "vt100", "screen", "linux", "no-such-terminal"])
def test_other_terminals(one_python, target, screen, term):
    t = target(one_python, APP)
    s = screen(t.pid, term=term)
    if term == "no-such-terminal":
        assert s.end() == 1
    else:
        wait_until(lambda: s.read(.1) and b"app.py" in s.out or b"Shown" in s.out or term == "dumb")
        s.read(.3)
        s.keys("q")
        assert s.end() in (0, 1)
    assert termios.tcgetattr(s.slave) == s.before


def test_hostile_names(one_python, target, screen):
    """A type's name never steers the terminal."""
    t = target(one_python, "T = type('evil\\x1b]0;pwned\\x07\\x1b[2J\\x9b5n', (), {})\nkeep = [T() for _ in range(90000)]\n",
               GCSCOPE_INTERVAL="0.1")
    s = screen("-i", "0.1", t.pid)
    s.until(rb"evil")
    assert b"\x1b]0;" not in s.out and b"\x9b" not in s.out and b"\xc2\x9b" not in s.out and b"\x07" not in s.out
    s.keys("q")
    assert s.end() == 0


# ---- what stands on the screen ----

class Pane:
    """`gcscope watch` in a terminal that knows what stands where."""

    def __init__(self, gcscope, sockdir, *args, rows=34, cols=110):
        self.place = tempfile.mkdtemp(prefix="gcs-", dir="/tmp")
        self.command = ["tmux", "-S", os.path.join(self.place, "tmux")]
        env = environment(sockdir, LANG="C.UTF-8", LC_ALL="C.UTF-8")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(cols), "-y", str(rows), gcscope, "watch",
                  *map(str, args), env=env)

    def tmux(self, *args, check=True, env=None):
        done = subprocess.run(self.command + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=10, env=env)
        assert not check or done.returncode == 0, done
        return done.stdout.decode()

    def lines(self):
        return self.tmux("capture-pane", "-p").split("\n")

    def until(self, pattern, timeout=15):
        """The lines, once one of them matches."""
        def probe():
            nonlocal lines
            lines = self.lines()
            return any(re.search(pattern, x) for x in lines)
        lines = []
        try:
            wait_until(probe, timeout, interval=.1)
        except AssertionError:
            raise AssertionError("not shown: %r in\n%s" % (pattern, "\n".join(lines))) from None
        return lines

    def keys(self, text):
        self.tmux("send-keys", "-l", text)

    def quit(self):
        self.keys("q")
        wait_until(lambda: "watch" not in self.tmux("list-panes", "-F", "#{pane_start_command}", check=False), what="watch to end")

    def close(self):
        self.tmux("kill-server", check=False)
        shutil.rmtree(self.place)


@pytest.fixture
def pane(gcscope):
    if not shutil.which("tmux"):
        pytest.skip("no tmux")
    opened = []

    def start(sockdir, *args, **keys):
        opened.append(Pane(gcscope, sockdir, *args, **keys))
        return opened[-1]
    yield start
    for p in opened:
        p.close()


def find(lines, pattern):
    """The one line that matches: its number."""
    found = [i for i, x in enumerate(lines) if re.search(pattern, x)]
    assert len(found) == 1, "%r is in %d lines of\n%s" % (pattern, len(found), "\n".join(lines))
    return found[0]


CYCLES = """
import gc
gc.disable()
class Filter: pass
class Foo:
    def __init__(self):
        self.buffer = bytearray(64 * 1024)
        self._filter = Filter()
        self._filter.call = self.on_line
    def on_line(self): pass
class Node: pass
def make(n):
    for _ in range(n):
        Foo()
    node = Node()
    node.me, node.kept = node, [[] for _ in range(200)]
    node = None
    return gc.collect()
"""


def test_cycles(few_pythons, target, pane):
    """The rows of `gcscope cycles`, the selected one's remedy and where it was collected, how fast they come."""
    t = target(few_pythons, CYCLES, GCSCOPE_CYCLES="all", GCSCOPE_INTERVAL="0.2")
    t.needs("cycles")
    t.eval("make(300)")
    p = pane(t.sockdir, "-i", "0.2", t.pid, cols=220)  # where the longest path is one line
    p.until(r"COUNT.*TREND +TYPE")
    p.keys("y")
    lines = p.until(r"^ *300 ")
    head = find(lines, r"^ +COUNT +OBJECTS +BYTES +RATE +CYCLE$")
    fields = lines[head + 1].split()
    assert fields[:2] == ["300", str(t.ask("cycles")["cycles"][0]["objects"])] and fields[3] == "MiB" and float(fields[2]) > 18.7
    assert lines[head + 1].endswith("  Filter.call -> method.__self__ -> Foo._filter -> Filter")
    assert "~" not in lines[head + 1]
    assert "remedy: Filter.call holds a bound method of Foo: keep weakref.WeakMethod" in lines[find(lines, "remedy")]
    assert "app.py:" in lines[find(lines, "^first found by a collection that began at ")]
    find(lines, r"^(\d+) of \1 collections captured, \d+ objects of cyclic garbage in them$")
    find(lines, "^q quit .* y types ")
    began = time.monotonic()
    t.eval("make(150)")
    p.until(r"^ *450 .*\+\d[0-9.]*/s")
    assert time.monotonic() - began < 10
    p.keys("j")
    lines = p.until("^Node\\.me -> Node$")
    assert find(lines, "^ *450 ") + 1 == find(lines, r"^ *2 .*Node\.me -> Node")
    p.keys("y")
    p.until(r"COUNT.*TREND +TYPE")
    p.quit()


def test_cycles_off(one_python, target, pane):
    """Why there are none stands in their place; the rest goes on."""
    t = target(one_python, CYCLES, GCSCOPE_CYCLES="off", GCSCOPE_INTERVAL="0.2")
    p = pane(t.sockdir, "-i", "0.2", t.pid)
    p.keys("y")
    p.until("cycles is off: GCSCOPE_CYCLES=off")
    p.keys("jjky")
    p.until(r"COUNT.*TREND +TYPE")
    p.quit()


def test_no_cycles(peer, place, pane):
    peer("calm")
    p = pane(place, "-i", "0.2")
    p.keys("y")
    p.until("^no cycle had to be freed$")
    p.quit()


@pytest.mark.parametrize("rows, cols", [(34, 110), (24, 80), (12, 60), (7, 30)])
def test_hostile_cycles(peer, place, pane, rows, cols):
    """Text that steers terminals, and megabytes of it: each row is one line, the rest stays in its place."""
    peer("nasty")
    p = pane(place, "-i", "0.2", rows=rows, cols=cols)
    p.keys("y")
    lines = p.until(r"~\d+.* app\.\\x1")
    head = find(lines, r"^ +COUNT .*BYTES.* CYCLE$")
    assert find(lines, "^gcscope ") == 0 and find(lines, "^q quit ") == rows - 1
    assert [x.split()[0][0] for x in lines[head + 1:head + 4]] == ["~"] * 3
    if rows > 12:
        for row in (1, 2):
            lines = p.until("began at app.py:%d$" % (30 + row))
            assert re.search(r"^remedy: ?\n?app\.\\x1b", "\n".join(lines), re.M)
            p.keys("j")
        lines = p.until("^remedy: app.LineFilter._callback holds a bound method of app.Audit: keep")
        assert "app.\\x1b[2J" in lines[head + 2] and "LineFilter" in lines[head + 3]
        assert find(lines, "of 400 collections captured") == rows - 2
    p.quit()


def test_cycles_are_asked_for_once_an_interval(peer, place, pane):
    """Each answer costs the target a hold of the GIL: no key asks sooner, and what is not looked at is not asked for."""
    peer("good")
    p = pane(place, "-i", "0.5", cols=130)

    def asked():
        lines = p.until(r"\d+ of 400 collections captured")
        return int(re.search(r"(\d+) of 400", lines[find(lines, "of 400")])[1])

    def at_most(since):
        """How often it may have been asked for since then."""
        return (time.monotonic() - since) / .5 + 1

    began = time.monotonic()
    p.keys("y")
    for _ in range(10):
        p.keys("rjyyr y?xk")
    assert asked() <= at_most(began)
    n = asked()
    wait_until(lambda: asked() > n, 5, "new numbers")
    p.keys("p")
    p.until("paused")
    n = asked()
    time.sleep(1.5)
    assert asked() <= n + 1, "one answer may have been under way"
    p.keys("py")
    p.until(r"COUNT.*TREND +TYPE")
    time.sleep(4)
    looked = time.monotonic()
    p.keys("y")
    wait_until(lambda: asked() > n + 2, 5, "new numbers")
    assert asked() <= n + 3 + at_most(looked)
    p.quit()
