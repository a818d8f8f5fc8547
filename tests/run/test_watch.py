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
import signal
import struct
import termios
import time

import pytest

from conftest import environment, kill, wait_until

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
    os.kill(t.pid, signal.SIGSTOP)
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
