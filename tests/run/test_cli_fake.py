# SPDX-License-Identifier: Apache-2.0
"""
Guards against a command line that trusts its peer: one that hangs, crashes, eats memory or prints raw bytes
when the socket is not answered by a well-behaved agent, and one that removes files which it should not.
The peers are fake_agent.py's.
"""
import contextlib
import errno
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import unicodedata

import pytest

from conftest import FAKE, SLOW, stop
from fake_agent import NASTY

TIMEOUT = 20 * SLOW

BAD_ANSWERS = ["garbage", "text", "array", "noschema", "oddschema", "wrongschema", "nul", "badutf8", "deep", "bignum",
               "empty", "half", "early", "endless"]
QUIET_ANSWERS = ["silent", "drip"]
# Each of the commands that ask one agent, but watch.
COMMANDS = ["census", "collect", "cycles", "events", "garbage", "log", "stat", "suspects"]


def environment(place, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GCSCOPE_", "LD_PRELOAD", "NO_COLOR"))}
    env.update(GCSCOPE_SOCKET_DIR=place, LC_ALL="C.UTF-8", TERM="xterm")
    # What die() leaves allocated is no leak.
    env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    env.update(more)
    return env


@pytest.fixture
def run(gcscope, place):
    def run(*args, timeout=TIMEOUT, **kw):
        return subprocess.run([gcscope] + [str(a) for a in args], stdin=subprocess.DEVNULL, stdout=kw.pop("stdout", subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=timeout, env=environment(place, **kw))
    return run


@contextlib.contextmanager
def started(*args, **kw):
    """A process that is ended whatever happens in the block."""
    p = subprocess.Popen(*args, **kw)
    try:
        yield p
    finally:
        p.kill()
        p.wait()
        for pipe in (p.stdout, p.stderr):
            if pipe:
                pipe.close()


def failed_cleanly(done):
    """Exit 1, nothing on stdout, one harmless line on stderr."""
    text = done.stderr.decode("utf-8")
    assert done.returncode == 1, done
    assert not done.stdout, done
    assert text.startswith("gcscope: ") and text.count("\n") == 1 and text.endswith("\n"), text
    assert harmless(text)
    return text


def harmless(text):
    return not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028\u200b" for c in text)


# ---- peers that break the protocol ----

@pytest.mark.parametrize("mode", BAD_ANSWERS)
@pytest.mark.parametrize("when", ["hello-", ""])
def test_bad_answer(peer, run, when, mode):
    peer(when + mode)
    for command in COMMANDS:
        failed_cleanly(run(command))


@pytest.mark.parametrize("mode", QUIET_ANSWERS)
@pytest.mark.parametrize("when", ["hello-", ""])
def test_no_answer_is_bounded(peer, run, when, mode):
    peer(when + mode)
    for args in [["stat", "--json"]] + [[x] for x in COMMANDS]:
        began = time.monotonic()
        assert "in time" in failed_cleanly(run(*args, "-t", "0.3"))
        assert 0.2 < time.monotonic() - began < 5 * SLOW


def measured(gcscope, place, *args):
    """The end of a command, and the most memory that it had, in MiB."""
    with started([gcscope] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(place)) as p:
        reader = threading.Thread(target=lambda: p.stdout.read())
        reader.start()
        err = p.stderr.read()
        reader.join()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    return p.returncode, err, used.ru_maxrss >> 10


@pytest.mark.parametrize("command", COMMANDS)
def test_endless_line_is_bounded_in_memory(peer, gcscope, place, command):
    peer("endless")
    status, err, used = measured(gcscope, place, command)
    assert status == 1 and b"16 MiB" in err and err.count(b"\n") == 1
    assert used < 200


@pytest.mark.parametrize("command", ["census", "cycles", "garbage", "suspects"])
def test_rows_beyond_number_are_bounded_in_memory(peer, gcscope, place, command):
    """Three bytes each in a line of the right schema, a hundred times that in memory."""
    peer("huge")
    status, err, used = measured(gcscope, place, command)
    assert status == 1 and b"values" in err and err.count(b"\n") == 1
    assert used < 200


@pytest.mark.parametrize("mode, says", [("hello-protocol", "protocol"), ("hello-pid", "another process"),
                                        ("unavailable", "has ended")])
def test_said_plainly(peer, run, mode, says):
    peer(mode)
    assert says in failed_cleanly(run("stat"))


def test_full_queue_is_bounded(peer, run, place):
    p = peer("full")
    path = os.path.join(place, os.listdir(place)[0])
    held = []
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.setblocking(False)
            try:
                s.connect(path)
            except BlockingIOError:
                break
            held.append(s)
        assert held
        failed_cleanly(run("stat", p.pid, "-t", "0.5"))
        rows = json.loads(run("ps", "--json", "-t", "0.5").stdout)["agents"]
        assert [(r["pid"], r["state"]) for r in rows] == [(p.pid, "no answer")]


def test_odd_types_are_absent_values(peer, run):
    """The right schema and nothing else right: shown as far as it goes, no crash."""
    peer("oddtypes")
    for command in ("stat", "census", "suspects", "cycles", "garbage"):
        done = run(command)
        assert (done.returncode, done.stderr) == (0, b""), done
        assert run(command, "--json").returncode == 0


@pytest.mark.parametrize("seed", range(12))
def test_random_shapes(peer, run, gcscope, place, seed):
    """No answer makes it crash or print what came from the target as it is."""
    peer("random-%d" % seed)
    for args in (["stat"], ["census"], ["suspects"], ["cycles"], ["garbage"], ["collect"], ["ps"], ["events", "-n", "4"], ["log", "-n", "2"]):
        done = run(*args)
        assert done.returncode in (0, 1), done
        assert done.stderr.count(b"\n") == done.returncode, done
        assert harmless(done.stdout.decode("utf-8")), done
    status, _, restored = watch(gcscope, place, b"\rs\ryj?xq", b"gcscope", interval="0.01")
    assert status in (0, 1) and restored


def test_stopped_target(peer, run):
    p = peer("good")
    q = peer("good")
    stop(p.pid)
    began = time.monotonic()
    assert "stopped" in failed_cleanly(run("stat", p.pid))
    assert "stopped" in failed_cleanly(run("log", p.pid))
    rows = {r["pid"]: r for r in json.loads(run("ps", "--json").stdout)["agents"]}
    assert time.monotonic() - began < 10
    assert rows[p.pid]["state"] == "stopped" and rows[p.pid]["python"] is None and rows[p.pid]["rss_bytes"] > 0
    assert FAKE in rows[p.pid]["command"]
    assert rows[q.pid]["state"] == "running" and rows[q.pid]["objects"] == 1234567
    assert b"stopped" in run("ps").stdout


@pytest.mark.parametrize("mode", ["hello-garbage", "hello-early", "hello-pid", "hello-endless", "hello-drip", "hello-silent"])
def test_ps_lists_what_does_not_answer(peer, run, mode):
    p, q = peer(mode), peer("good")
    done = run("ps", "--json", "-t", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    rows = {r["pid"]: r["state"] for r in json.loads(done.stdout)["agents"]}
    assert rows == {p.pid: "no answer", q.pid: "running"}


# ---- hostile text ----

def test_hostile_names_are_escaped(peer, run):
    peer("nasty")
    for args in (["ps"], ["census"], ["suspects"], ["log", "-n", "2"], ["cycles"], ["garbage"], ["events", "--topics", "cycles", "-n", "2"],
                 ["ps", "--json"], ["census", "--json"], ["suspects", "--json"], ["log", "--json", "-n", "2"], ["cycles", "--json"], ["garbage", "--json"]):
        done = run(*args)
        text = done.stdout.decode("utf-8")
        assert done.returncode == 0 and "pwned" in text and harmless(text), args
    assert json.loads(run("census", "--json", "-n", "1").stdout)["types"][0]["type"] == NASTY
    line = run("log", "-n", "1").stdout.decode()
    assert line.count("\n") == 1 and line.split(" ")[2:4] == ["suspect", "confirmed"]
    assert line.split(" ")[5].startswith("count="), "a name is one word of a log line"
    line = run("events", "--topics", "cycles", "-n", "1").stdout.decode()
    assert line.count("\n") == 1 and line.split(" ")[2] == "cycle" and line.split(" ")[3].startswith("count=~")


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_columns_are_aligned_by_width(peer, run):
    peer("good")
    head, *rows = run("suspects").stdout.decode().splitlines()
    assert len(rows) == 2 and "app.漢字.Größe " in rows[1]
    for column in ("+9.8/s", "+549 B/s", "40 censuses"):
        assert len({width(r[:r.index(column)]) for r in rows}) == 1, rows
    assert width(rows[0][:rows[0].index("40 censuses")]) == head.index("EVIDENCE")


def test_suspects_say_how_much_they_saw(peer, run):
    p = peer("calm")
    assert run("suspects").stdout == b"no suspects after 40 censuses\n"
    p.kill()
    p.wait()
    peer("young")
    assert b"at least 8 censuses" in run("suspects").stdout


# ---- streams ----

@pytest.mark.parametrize("command", ["log", "events"])
def test_stream_ends(peer, run, command):
    p = peer("ends")
    done = run(command)
    assert done.returncode == 1 and done.stdout.count(b"\n") >= 1
    assert done.stderr.decode() == "gcscope: target %d ended\n" % p.pid
    p.wait()


def test_stream_bad_event_after_good_ones(peer, run):
    peer("badevent")
    done = run("log")
    assert done.returncode == 1 and done.stdout.count(b"\n") == 1 and done.stderr.count(b"\n") == 1


def test_stream_closed_by_the_agent(peer, run):
    peer("closes")
    done = run("events", timeout=30)
    assert done.returncode == 1 and done.stdout and b"closed the connection" in done.stderr


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["good", "quiet", "flood"])
def test_stream_signal(peer, gcscope, place, mode, sig):
    peer(mode)
    with started([gcscope, "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(place)) as p:
        if mode == "quiet":
            wait_in_poll(p.pid)
        else:
            p.stdout.readline()
        p.send_signal(sig)
        out, err = p.communicate(timeout=TIMEOUT)
        assert (p.returncode, err) == (0, b"")
        assert out.endswith(b"\n") or not out


def test_interrupt_of_a_background_job(peer, gcscope, place):
    """A shell starts `log &` with SIGINT ignored: kill -INT ends it all the same. Under nohup SIGHUP does not."""
    peer("good")
    ignore = lambda: [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGHUP)]
    with started([gcscope, "log"], stdout=subprocess.PIPE, env=environment(place), preexec_fn=ignore) as p:
        p.stdout.readline()
        p.send_signal(signal.SIGHUP)
        assert p.stdout.readline() and p.stdout.readline() and p.poll() is None
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=TIMEOUT)
        assert p.returncode == 0


def wait_in_poll(pid):
    """Until the process sleeps with a socket open: it has subscribed, or waits for that."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            links = [os.readlink("/proc/%d/fd/%s" % (pid, f)) for f in os.listdir("/proc/%d/fd" % pid)]
            with open("/proc/%d/stat" % pid) as f:
                if any(x.startswith("socket:") for x in links) and f.read().rpartition(")")[2].split()[0] == "S":
                    return
        time.sleep(.01)
    raise AssertionError("gcscope did not get to waiting")


def test_signal_while_nobody_reads(peer, gcscope, place):
    """A reader that has stopped reading holds up neither the signal nor the end."""
    peer("flood")
    with started([gcscope, "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(place)) as p:
        fd = p.stdout.fileno()
        size, end = -1, time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            now = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
            if now and now == size:
                break
            size = now
            time.sleep(.1)
        p.send_signal(signal.SIGTERM)
        end = time.monotonic() + TIMEOUT
        while p.poll() is None and time.monotonic() < end:
            time.sleep(.02)
        assert p.returncode == 0
        assert p.stderr.read() == b""


@pytest.mark.parametrize("mode", ["good", "quiet"])
def test_reader_goes_away(peer, gcscope, place, mode):
    """Also when nothing comes that could be written: `gcscope log | head -0` ends."""
    peer(mode)
    with started([gcscope, "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(place)) as p:
        if mode == "quiet":
            wait_in_poll(p.pid)
        p.stdout.close()
        err = p.stderr.read()
        assert p.wait(TIMEOUT) == 1 and err.count(b"\n") == 1 and b"standard output" in err


def test_limits_of_a_stream(peer, run):
    peer("good")
    assert run("log", "-n", "3").stdout.count(b"\n") == 3
    began = time.monotonic()
    done = run("events", "--json", "--topics", "gc", "-d", "0.6")
    assert done.returncode == 0 and 0.5 < time.monotonic() - began < 5
    assert {json.loads(x)["event"] for x in done.stdout.splitlines()} == {"gc"}
    thinned = run("log", "-i", "0.5", "-d", "0.9").stdout.count(b"\n")
    assert 1 <= thinned <= 2


@pytest.mark.parametrize("have, asked, status", [("confirmed", "confirmed", 3), ("likely", "confirmed", 0), ("likely", "watch", 3),
                                                 ("watch", "likely", 0), ("calm", "watch", 0)])
def test_fail_on(peer, run, have, asked, status):
    peer(have)
    assert run("suspects", "--fail-on", asked).returncode == status
    if have != "calm":
        done = run("log", "--fail-on", asked, "-n", "1")
        assert done.returncode == status and done.stdout


# ---- output ----

def test_output_that_fails(peer, run, gcscope, place):
    peer("good")
    for args in (["census", "-o", "/dev/full"], ["log", "-o", "/dev/full"], ["census", "-o", place + "/no/such"]):
        assert "cannot write" in failed_cleanly(run(*args))
    for command in ("stat", "-V", "--help", "--agent-path", "ps", "events"):
        with open("/dev/full", "w") as full:
            done = run(command, stdout=full)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done
    for command in ("stat", "-V", "ps", "events"):
        done = subprocess.run(["/bin/sh", "-c", '"$0" "$1" >&-', gcscope, command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment(place), timeout=TIMEOUT)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done


def test_failure_leaves_the_old_file(peer, run, tmp_path):
    """FILE is emptied once there is an answer to put there, not before."""
    path = tmp_path / "kept"
    path.write_text("old")
    peer("unavailable")
    failed_cleanly(run("stat", "-o", path))
    assert path.read_text() == "old"


def test_no_color_without_a_terminal(peer, run):
    peer("good")
    for command in ("ps", "stat", "census", "suspects"):
        assert b"\x1b" not in run(command).stdout


def on_terminal(argv, env, cols=80):
    """What a command writes to a terminal of that width."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, env)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cols, 0, 0))
    out, end = b"", time.monotonic() + TIMEOUT
    while time.monotonic() < end and select.select([fd], [], [], TIMEOUT)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError as e:
            assert e.errno == errno.EIO
            break
        if not data:
            break
        out += data
    os.close(fd)
    assert os.waitpid(pid, 0)[1] == 0
    return out.decode("utf-8")


def test_color_on_a_terminal(peer, gcscope, place):
    peer("nasty")
    wait_for_width = ["/bin/sh", "-c", 'until [ "$(stty size)" = "24 50" ]; do :; done; exec "$@"', "-"]
    text = on_terminal(wait_for_width + [gcscope, "ps"], environment(place), cols=50)
    assert "\x1b[1mPID" in text.replace(" ", "") or "\x1b[1m" in text
    assert "\x1b]" not in text and "\x1b[31mg" not in text and "..." in text
    plain = on_terminal([gcscope, "suspects", "--no-color"], environment(place))
    assert "\x1b" not in plain
    assert "\x1b" not in on_terminal([gcscope, "suspects"], environment(place, NO_COLOR="1"))
    assert "\x1b[31mconfirmed" in on_terminal([gcscope, "suspects"], environment(place))


# ---- what ps clears away ----

def test_ps_removes_stale_sockets_only(peer, run, place):
    alive = peer("good")
    dead = peer("good")
    dead.kill()
    dead.wait()
    for name in ("4194304-1.sock", "1-2.sock", "x.sock", "readme", "12-34.sock.bak"):
        with open(os.path.join(place, name), "w") as f:
            f.write("not a socket")
    os.symlink(os.path.join(place, "readme"), os.path.join(place, "4194303-7.sock"))
    os.mkdir(os.path.join(place, "4194302-7.sock"))
    for name in ("4194301-5.sock", "odd.sock"):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.join(place, name))
    # Somebody listens, though the process it is named after is not here: another PID namespace's.
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(os.path.join(place, "4194300-5.sock"))
        foreign.listen(4)
        before = set(os.listdir(place))
        done = run("ps", "--json", "-t", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [r["pid"] for r in json.loads(done.stdout)["agents"]] == [alive.pid]
    removed = before - set(os.listdir(place))
    assert {x.split("-")[0] for x in removed} == {str(dead.pid), "4194301"}


def test_ps_when_a_target_ends_meanwhile(peer, run, place):
    peer("hello-exit")  # not reaped: a zombie is no agent either
    assert json.loads(run("ps", "--json").stdout)["agents"] == []
    assert os.listdir(place) == []


def test_ps_removes_the_socket_of_a_program_that_execed(peer, run, place):
    p = peer("refuse")
    name = os.listdir(place)[0]
    assert json.loads(run("ps", "--json").stdout)["agents"] == []
    assert "no agent" in failed_cleanly(run("stat", p.pid)) or not os.listdir(place)
    end = time.monotonic() + 10
    # A young socket may belong to an agent between its bind() and its listen().
    while name in os.listdir(place) and time.monotonic() < end:
        time.sleep(.2)
        run("ps")
    assert os.listdir(place) == []


def test_between_bind_and_listen(peer, run):
    p = peer("late")
    done = run("stat", "--json", p.pid)
    assert done.returncode == 0 and json.loads(done.stdout)["pid"] == p.pid, done


def test_a_socket_that_nobody_listens_on_is_no_agent(peer, run):
    """Of two sockets with living processes one is left over from an exec(): there is one agent."""
    peer("refuse")
    good = peer("good")
    done = run("stat", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["pid"] == good.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
def test_ps_as_root_leaves_the_sockets_of_others(run, place):
    path = os.path.join(place, "4194301-5.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    os.chown(path, 65534, 65534)
    assert run("ps").returncode == 0
    assert os.path.exists(path)


def test_untrusted_default_directory(run, place):
    """A default directory that others can write to is passed over."""
    directory = os.path.join(place, "gcscope")
    path = os.path.join(directory, "4194301-5.sock")
    os.mkdir(directory)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    for mode, left in ((0o777, True), (0o700, False)):
        os.chmod(directory, mode)
        assert run("ps", GCSCOPE_SOCKET_DIR="", XDG_RUNTIME_DIR=place).returncode == 0
        assert os.path.exists(path) == left


# ---- watch ----

def watch(gcscope, place, keys=b"", until=b"", timeout=TIMEOUT, interval="0.2"):
    """Runs watch on a terminal, presses keys once `until` was drawn; (status, output, modes restored)."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    before = termios.tcgetattr(slave)
    p = subprocess.Popen([gcscope, "watch", "-i", interval], stdin=slave, stdout=slave, stderr=slave, env=environment(place),
                         start_new_session=True)
    out, end = b"", time.monotonic() + timeout
    try:
        while p.poll() is None and time.monotonic() < end:
            if select.select([master], [], [], .05)[0]:
                out += os.read(master, 65536)
            if keys and until in out:
                os.write(master, keys)
                keys = b""
        while select.select([master], [], [], .1)[0]:
            out += os.read(master, 65536)
        return p.poll(), out, termios.tcgetattr(slave) == before
    finally:
        p.kill()
        p.wait()
        os.close(master)
        os.close(slave)


def test_watch_shows_and_quits(peer, gcscope, place):
    peer("nasty")
    status, out, restored = watch(gcscope, place, b"sss\r\rgbc?xyjjkjyysq", b"app.Session")
    assert (status, restored) == (0, True)
    assert b"\x1b]0;" not in out and "\u202e".encode() not in out and b"pwned" in out
    assert out.rindex(b"\x1b[?1049l") > out.rindex(b"\x1b[?1049h")


@pytest.mark.parametrize("mode", BAD_ANSWERS)
def test_watch_bad_answer(peer, gcscope, place, mode):
    """The terminal is given back first, then the reason is on it."""
    peer(mode)
    status, out, restored = watch(gcscope, place)
    assert (status, restored) == (1, True)
    assert b"gcscope: " in out[out.rindex(b"\x1b[?1049l"):]


@pytest.mark.parametrize("mode", QUIET_ANSWERS)
def test_watch_quits_though_nobody_answers(peer, gcscope, place, mode):
    peer(mode)
    assert watch(gcscope, place, b"q", b"no answer")[::2] == (0, True)


def test_watch_survives_errors_and_odd_types(peer, gcscope, place):
    for mode in ("oddtypes", "unavailable"):
        p = peer(mode)
        assert watch(gcscope, place, b"\ry\rjq", b"gcscope")[::2] == (0, True)
        p.kill()
        p.wait()


def test_watch_target_ends(peer, gcscope, place):
    p = peer("good")
    killer = threading.Timer(1, p.kill)
    killer.start()
    status, out, restored = watch(gcscope, place)
    killer.join()
    assert (status, restored) == (1, True)
    assert b"target %d ended" % p.pid in out[out.rindex(b"\x1b[?1049l"):]
