# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that trusts a call to succeed: each call of libc and of CPython's C API that it
makes fails in turn (faults.c), at its first, second, middle and last time, and each time. The
program under it ends as ever; and where that cost a feature, the agent or its log says which. Its own memory fails
in the same way, in an agent that is the built one but for that: by each way that leads to an allocation, and from
some moment on for good (GCSCOPE_MOMENTS=all: from each).
"""
import os
import re
import shutil
import subprocess
import threading

import pytest

from conftest import BUILD, FIRST, environment, run_program, wait_until

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


# The agent with faults-memory.c in it.
FORGETFUL = os.path.join(BUILD, "tests", "run", "libgcscope.so")


@pytest.fixture
def under(faults, agent, sockdir, tmp_path):
    """under(python, **settings): the program's end, with its log and, by name, what was called and failed how often."""
    def start(python, agent=agent, timeout=30, **settings):
        log, tally = (str(tmp_path / ("%s-%d" % (x, threading.get_ident()))) for x in ("log", "tally"))
        env = environment(sockdir, GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="50", GCSCOPE_CYCLES="all", GCSCOPE_LOG=log,
                          LD_PRELOAD=" ".join(FIRST + [faults, agent]), GCS_FAULT_TALLY=tally, **settings)
        done = run_program([python.path, PROGRAM], env, str(tmp_path), timeout=timeout)
        done.log, done.calls, done.failed = "", {}, {}
        if os.path.exists(log):
            with open(log) as f:
                done.log = f.read()
            os.unlink(log)
        with open(tally) as f:
            for name, calls, failed in (line.split() for line in f):
                done.calls[name], done.failed[name] = int(calls), int(failed)
        os.unlink(tally)
        return done
    return start


def as_ever(done):
    return (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")


def in_turn(orders, run):
    """run(order) for each, some at a time. What it returned; fails with what raised or did not end as ever."""
    todo, done, bad = list(orders), [], []

    def work():
        while todo:
            try:
                order = todo.pop(0)
            except IndexError:
                return
            try:
                done.append(run(order))
                if not as_ever(done[-1]):
                    bad.append((order, done[-1]))
            except AssertionError as e:
                bad.append((order, e))
    workers = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not bad, "\n".join("%s: %s" % x for x in sorted(bad, key=str))
    return done


def times(n):
    return sorted({0, 1, n // 2, n - 1} & set(range(n)))


@pytest.mark.limit(400)
def test_each_call_fails(few_pythons, under):
    done, orders = under(few_pythons), []
    assert as_ever(done), done
    for name, n in done.calls.items():
        orders += ["%s:%d" % (name, i) for i in times(n)]
        if n and name != "nanosleep":  # signals interrupt sleeps, but not each and every one
            orders.append("%s:0+" % name)
    assert len(orders) > 100, "the agent is not seen to call much: %s" % done.calls
    in_turn(orders, lambda order: under(few_pythons, GCS_FAULT=order))


def allocating():
    """Where the agent's code calls its allocator: return addresses."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", FORGETFUL], stdout=subprocess.PIPE, check=True).stdout
    lines = code.decode().splitlines()
    return {following.split(":")[0].strip() for line, following in zip(lines, lines[1:])
            if re.search(r"\s(call|bl)\s.*<__wrap_gcs_mem_", line)}


@pytest.mark.limit(400)
def test_each_allocation_fails(few_pythons, under, testext):
    # An extension would turn the GIL on again.
    path = "" if few_pythons.free_threaded else testext(few_pythons)

    def run(order=""):
        return under(few_pythons, FORGETFUL, GCS_FAULT=order, PYTHONPATH=path)

    def run_until_it_fails(order):
        """A way to an allocation may be one of several, by how the threads happen to run."""
        for _ in range(5):
            done = run(order)
            if not as_ever(done) or done.failed.get(order.split(":")[0]):
                break
        return done

    first = run()
    assert as_ever(first), first
    ways = [x for x in first.calls if x.startswith("memory/")]
    total = first.calls["memory"]
    moments = range(total) if os.environ.get("GCSCOPE_MOMENTS") == "all" else [2 ** i for i in range(total.bit_length())]
    done = in_turn(["%s:%d" % (x, n) for x in ways for n in {0, first.calls[x] - 1}] + [x + ":0+" for x in ways], run_until_it_fails)
    done += in_turn(["memory:%d+" % n for n in moments], run)
    failed = {way.split("/")[1] for d in done for way, n in d.failed.items() if n and way.startswith("memory/")}
    if not few_pythons.free_threaded:  # cycles are off there, and with them what they allocate
        assert allocating() and not allocating() - failed, "passed by no run, or never failed"


EXHAUSTED = """
import gc, os
class Node: pass
def cycles(n):
    for _ in range(n):
        a, b = Node(), Node()
        a.b, b.a = b, [a]
    a = b = None
    return gc.collect()
def child():
    pid = os.fork()
    if pid == 0:
        os._exit(cycles(10) and 4)
    return os.waitpid(pid, 0)[1]
"""


@pytest.mark.limit(120)
def test_memory_runs_out_and_comes_back(few_pythons, faults, target, tmp_path):
    """Without any the agent answers what it can and counts what it leaves out; the program goes on; later all is there again."""
    out = tmp_path / "out"
    t = target(few_pythons, EXHAUSTED, LD_PRELOAD=" ".join(FIRST + [faults, FORGETFUL]), GCS_FAULT="memory:0+",
               GCS_FAULT_WHILE=out, GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="50", GCSCOPE_CYCLES="all")
    t.exec("cycles(10)")
    assert t.ask("census", limit=10)["types"] and t.ask("stat")
    with t.connect() as subscriber:
        subscriber.ask("subscribe", topics="gc,census,cycles,log")
        out.touch()
        before = t.ask("stat")["agent"]
        t.exec("kept = [type('T%d' % i, (Node,), {})() for i in range(3000)]")
        assert t.eval("cycles(1000) > 0 and child() == 4 << 8")
        n = t.censuses()
        wait_until(lambda: t.censuses() >= n + 5, what="censuses without memory")
        for verb in ("census", "cycles", "garbage"):
            assert t.ask(verb)["error"]["code"] in ("no_memory", "unavailable"), verb
        assert t.ask("history", type="dict")["error"]["code"] == "no_memory"
        failed = t.cli("stat", check=False)
        assert failed.returncode == 1 and failed.stderr.count(b"\n") == 1 and not failed.stdout
        during = t.ask("stat")["agent"]
        assert during["history"]["dropped_types"] and during["memory_bytes"] == before["memory_bytes"], during
        out.unlink()
        wait_until(lambda: not t.ask("census")["unnamed"], what="a census of all types")
        assert len(t.ask("census")["types"]) > 3000
        assert few_pythons.free_threaded or t.ask("cycles")["cycles"]
        assert t.eval("child() == 4 << 8") and t.cli("stat").stdout
        t.exec("gc.collect()")
        assert subscriber.event("census")["types"]
    assert t.finish() == 0


# What there is nothing without: the log says that, and why.
FATAL = ["mmap:0", "madvise:0", "pthread_create:0+", "PyCFunction_NewEx:0+", "PyList_Insert:0+", "PyObject_GetAttrString:0+",
         "PyDict_New:0+", "memory:0", "memory:0+"]


@pytest.mark.parametrize("where", FATAL)
def test_reason_in_the_log(one_python, under, where):
    done = under(one_python, FORGETFUL, GCS_FAULT=where)
    assert as_ever(done), done
    assert " disabled " in done.log, done.log


@pytest.mark.parametrize("how", ["stop", "back"])
def test_clock(few_pythons, under, how):
    """A clock that stands still or goes back costs measurements, not the program."""
    done = under(few_pythons, GCS_CLOCK=how)
    assert as_ever(done), done
