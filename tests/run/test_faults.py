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
PROGRAM = os.path.join(HERE, "everything.py")
AT_ONCE = 3

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
    def start(python, timeout=30, **settings):
        log = str(tmp_path / ("log-%d" % threading.get_ident()))
        env = environment(sockdir, GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="50", GCSCOPE_CYCLES="all", GCSCOPE_LOG=log,
                          LD_PRELOAD="%s %s" % (faults, agent), **settings)
        done = run_program([python.path, PROGRAM], env, str(tmp_path), timeout=timeout)
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
