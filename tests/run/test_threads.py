# SPDX-License-Identifier: Apache-2.0
"""
Guards against what only programs of many threads meet, free-threaded builds above all: a census that counts wrong or
crashes while others allocate, collect and make classes; a pause that is not told; forks from several threads at
once that start two agents or none; a collection asked for that another thread's got in the way of; a crash at the end.
"""
import shutil
import subprocess

import pytest

from conftest import FIRST, wait_until

CHURN = '''
import gc, os, sys, threading, time

class Node:
    pass

kept = [Node() for _ in range(20000)]
stop = False
rounds = []

def allocate():
    while not stop:
        for _ in range(100):
            node = Node.__new__(Other)
            node.me = [node, {"node": node}]
        rounds.append("allocate")

def classes():
    """Classes that come, get other names, and go."""
    n = 0
    while not stop:
        made = [type("Class%d" % i, (Other,), {"__module__": "here"}) for i in range(20)]
        objects = [each() for each in made for _ in range(3)]
        for each in made:
            n += 1
            each.__name__ = each.__qualname__ = "Renamed%d" % (n % 50)
            each.__module__ = "there"
        rounds.append("classes")

def collect():
    while not stop:
        gc.collect(len(rounds) % 3)
        rounds.append("collect")
        time.sleep(.002)

class Other(Node):
    pass

threads = [threading.Thread(target=f) for f in (allocate, allocate, classes, collect)]
'''


@pytest.mark.limit(120)
def test_censuses_while_threads_work(python, target):
    """What does not change meanwhile is counted exactly where the world is stopped for it."""
    t = target(python, CHURN, GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="50", GCSCOPE_CYCLES="all")
    n = t.censuses()
    t.exec("for each in threads: each.start()")
    for _ in range(10):
        count = {x["type"]: x["count"] for x in t.ask("census")["types"]}["__main__.Node"]
        assert count == 20000 or not python.free_threaded
    wait_until(lambda: t.censuses() >= n + 20, 60, "twenty censuses")
    t.exec("stop = True\nfor each in threads: each.join()", timeout=60)
    assert set(t.eval("rounds")) == {"allocate", "classes", "collect"}
    truth = t.eval("gc.get_stats()")
    got = t.ask("stat")["gc"]["generations"]
    assert [g["collections"] for g in got] == [g["collections"] for g in truth]
    assert [g["collected"] for g in got] == [g["collected"] for g in truth]
    t.exec("gc.collect()")
    assert t.census()["__main__.Node"][0] == 20000
    assert t.finish() == 0
    assert t.errors() == ""


def test_the_pause_is_told(python, target):
    """Where the world is stopped, for how long; elsewhere nothing is stopped."""
    t = target(python, CHURN, GCSCOPE_INTERVAL="3600")
    t.exec("kept += [[] for _ in range(300000)]")
    for _ in range(3):
        assert t.ask("census")["objects"] > 300000
    census = t.ask("stat")["agent"]["census"]
    if python.free_threaded:
        assert 300000 < census["pause_ns"] <= census["max_pause_ns"]
        assert census["pause_ns"] <= census["held_ns"] and census["slices"] == 1 and census["exact"]
    else:
        assert census["pause_ns"] == census["max_pause_ns"] == 0


FORKS = CHURN + '''
status = []

def fork():
    for _ in range(8):
        pid = os.fork()
        if not pid:
            gc.collect()
            os._exit(7)
        status.append(os.waitpid(pid, 0)[1])

forking = [threading.Thread(target=fork) for _ in range(4)]
'''


@pytest.mark.limit(120)
def test_forks_from_several_threads(python, target):
    """Each child ends as it should, and the parent has one agent afterwards, which its client still talks to."""
    t = target(python, FORKS, flags=("-W", "ignore::DeprecationWarning"), GCSCOPE_INTERVAL="0.02")
    t.exec("for each in forking: each.start()")

    wait_until(lambda: t.eval("not any(each.is_alive() for each in forking)", timeout=60), 90, "the forks to end")
    assert t.eval("status") == [7 << 8] * 32
    assert t.census()["__main__.Node"][0] == 20000

    def agents():
        names = [open("/proc/%d/task/%s/comm" % (t.pid, tid)).read() for tid in t.eval("os.listdir('/proc/self/task')")]
        return names.count("gcscope\n")
    wait_until(lambda: agents() == 1, what="one agent's thread")
    assert t.finish() == 0
    assert t.errors() == ""


def collections(t):
    return sum(g["collections"] for g in t.ask("stat")["gc"]["generations"])


def test_collect_while_another_thread_collects(python, target):
    """gc.collect() does nothing while another is under way: then the agent tries again, or tells of the next one."""
    t = target(python, CHURN, GCSCOPE_INTERVAL="3600")
    t.exec("""
def finalize():
    class Slow:
        def __del__(self):
            time.sleep(.02)
    while not stop:
        slow = Slow(); slow.me = slow; del slow
        gc.collect()
busy = threading.Thread(target=finalize)
busy.start()
""")
    for _ in range(10):
        before = collections(t)
        got = t.ask("collect", generation=1)
        assert got["schema"] == "gcscope.collect/1" and got["generation"] == 1, got
        assert got["pause_ns"] > 0
        assert collections(t) > before
    t.exec("stop = True; busy.join()")


@pytest.mark.limit(120)
def test_the_end_among_threads(python, run):
    """
    Threads allocate, collect and make classes to the last moment; the end is as without the agent. Before 3.13,
    CPython itself crashes now and then at the end of a program whose daemon threads run: there it is the main
    thread that works until the interpreter goes.
    """
    source = CHURN.replace("threading.Thread(target=f)", "threading.Thread(target=f, daemon=True)") + """
def work():
    end = time.monotonic() + .05
    while time.monotonic() < end:
        nodes = [type("Class", (Other,), {})() for _ in range(50)]
        nodes[0].nodes = nodes
        gc.collect(1)

for each in threads: each.start()
time.sleep(float(sys.argv[1]))
if sys.version_info < (3, 13):
    import atexit
    stop = True
    for each in threads: each.join()
    atexit.register(work)
print("end")
"""
    for i in range(6):
        done = run(python, source, args=(str(.05 * i),), GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100")
        assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")


def test_much_static_thread_local_storage(few_pythons, run, agent, tmp_path):
    """glibc takes that of all libraries out of a thread's stack."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    library = str(tmp_path / "storage.so")
    (tmp_path / "storage.c").write_text("__thread char big[500 * 1024] __attribute__((tls_model(\"initial-exec\")));\n"
                                        "char *touch(void) { return big; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(tmp_path / "storage.c")], check=True, timeout=60)
    done = run(few_pythons, """
import gc, time
end = time.monotonic() + 1.5
while time.monotonic() < end:
    x = []
    x.append(x)
import gcscope
print(bool(gcscope.socket_path()))
""", LD_PRELOAD=" ".join(FIRST + [library, agent]), GCSCOPE_INTERVAL="0.02", GCSCOPE_CYCLES="all")
    assert (done.status, done.stdout, done.stderr) == (0, b"True\n", b"")
