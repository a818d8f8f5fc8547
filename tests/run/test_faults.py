# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that trusts a call to succeed: each call of libc and of CPython's C API that it
makes fails in turn (faults.c), at its first, second, middle and last time, and each time. The
program under it ends as ever; and where that cost a feature, the agent or its log says which.
"""
import os
import shutil
import subprocess
import threading

import pytest

from conftest import environment, run_program

HERE = os.path.dirname(os.path.abspath(__file__))
AT_ONCE = 3

# Everything once: attach, censuses, cycles, a client with each verb, forks, the log, the end.
PROGRAM = r'''
import gc, os, socket, sys, threading, time

class Node: pass

def cycles(n):
    for _ in range(n):
        a, b = Node(), Node()
        a.b, b.a = b, [a]

def client():
    """What a client gets is not what this is about; that it is not left waiting is."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        names = [x for x in os.listdir(place) if x.startswith("%d-" % os.getpid())]
        if names:
            break
        time.sleep(.01)
    else:
        return
    try:
        sock.settimeout(3)
        sock.connect(place + "/" + names[0])
        sock.sendall(b"subscribe topics=gc,census,log\ninfo\nstat\nsuspects\ncycles\ngarbage\nhistory type=dict\n"
                     b"census cached=1\ncensus\ncollect\ninfo\nunsubscribe\n")
        data = b""
        while b'"topics":[]' not in data:
            data = sock.recv(1 << 16)
            if not data: break
    except OSError:
        pass

place = os.environ["GCSCOPE_SOCKET_DIR"]
sock = socket.socket(socket.AF_UNIX)
t = threading.Thread(target=client)
t.start()
for i in range(12):
    cycles(300)
    gc.collect(i % 3)
    gc.disable() if i % 2 else gc.enable()
    time.sleep(.01)
t.join() # not its connection: that is carried over the forks
for i in range(2):
    pid = os.fork()
    if pid == 0:
        cycles(300)
        gc.collect()
        time.sleep(.1) # its agent begins
        os._exit(4)
    assert os.waitpid(pid, 0)[1] == 4 << 8
stats = gc.get_stats()
assert all(set(s) == {"collections", "collected", "uncollectable"} for s in stats)
assert not gc.garbage and gc.get_debug() == 0, (gc.garbage, gc.get_debug())
print("end")
'''


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    path = str(tmp_path_factory.mktemp("faults") / "faults.so")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "faults.c"), "-ldl"], check=True,
                   timeout=60)
    return path


@pytest.fixture
def under(faults, agent, sockdir, tmp_path):
    """under(python, **settings): the program's end, with its log."""
    script = tmp_path / "prog.py"
    script.write_text(PROGRAM)

    def start(python, timeout=30, **settings):
        log = str(tmp_path / ("log-%d" % threading.get_ident()))
        env = environment(sockdir, GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="50", GCSCOPE_CYCLES="all", GCSCOPE_LOG=log,
                          LD_PRELOAD="%s %s" % (faults, agent), **settings)
        done = run_program([python.path, str(script)], env, str(tmp_path), timeout=timeout)
        done.log = ""
        if os.path.exists(log):
            with open(log) as f:
                done.log = f.read()
            os.unlink(log)
        return done
    return start


def points(python, under, tmp_path):
    """NAME:N of everything that is to fail."""
    tally = str(tmp_path / "tally")
    done = under(python, GCS_FAULT_TALLY=tally)
    assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b""), done
    found = []
    with open(tally) as f:
        for name, n in (line.split() for line in f):
            times = sorted({0, 1, int(n) // 2, int(n) - 1} & set(range(int(n))))
            found += ["%s:%d" % (name, i) for i in times]
            if times and name != "nanosleep":  # signals interrupt sleeps, but not each and every one
                found.append("%s:0+" % name)
    assert len(found) > 100, "the agent is not seen to call much: %s" % found
    return found


@pytest.mark.limit(400)
def test_each_call_fails(few_pythons, under, tmp_path):
    todo, bad = points(few_pythons, under, tmp_path), []

    def work():
        while todo:
            try:
                where = todo.pop()
            except IndexError:
                return
            try:
                done = under(few_pythons, GCS_FAULT=where)
            except AssertionError as e:
                bad.append((where, str(e)))
                continue
            if (done.status, done.stdout, done.stderr) != (0, b"end\n", b""):
                bad.append((where, done))
    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not bad, "\n".join("%s: %s" % x for x in sorted(bad, key=str))


# What there is nothing without: the log says that, and why.
FATAL = ["mmap:0", "madvise:0", "pthread_create:0+", "PyCFunction_NewEx:0+", "PyList_Insert:0+", "PyObject_GetAttrString:0+",
         "PyDict_New:0+"]


@pytest.mark.parametrize("where", FATAL)
def test_reason_in_the_log(one_python, under, where):
    done = under(one_python, GCS_FAULT=where)
    assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")
    assert " disabled " in done.log, done.log


@pytest.mark.parametrize("how", ["stop", "back"])
def test_clock(few_pythons, under, how):
    """A clock that stands still or goes back costs measurements, not the program."""
    done = under(few_pythons, GCS_CLOCK=how)
    assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")
