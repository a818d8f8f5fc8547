# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that disturbs other interpreters of its process (its callback met with their objects, its
lists walked into theirs, their end with its hooks), counts what is not the main one's, or follows
CPython's list of them while one ends.
"""
import time

import pytest

from conftest import INTERPRETERS, wait_until

PROGRAM = INTERPRETERS + '''
import gc, sys, threading
try:
    from _testcapi import run_in_subinterp
except ImportError:
    def run_in_subinterp(code):
        run_once(code)
        return 0

def run(which, code):
    failed = interpreters.run_string(which, code)
    assert failed is None, failed

def run_once(code):
    which = interpreters.create()
    try:
        run(which, code)
    finally:
        interpreters.destroy(which)

def others():
    return [i for i in interpreters.list_all() if not is_main(i)]

def is_main(i):
    return (i[0] if isinstance(i, tuple) else int(i)) == 0

class Node:
    pass

def garbage(n):
    for _ in range(n):
        node = Node()
        node.me = [node]

INSIDE = """
import gc, sys, weakref
phases, told = [], []
def note(phase, info):
    phases.append(phase)
class Node:
    def __del__(self):
        told.append(1)
gc.disable()
gc.collect()
gc.callbacks.append(note)
before = gc.get_stats()[2]["collections"]
for _ in range(100):
    node = Node()
    node.me = {"me": [node]}
del node
found = gc.collect()
gc.callbacks.remove(note)
assert phases == ["start", "stop"] or sys.version_info[:2] == (3, 9), phases  # there it is the main one's list
assert len(told) == 100 and found >= 200, (len(told), found)
assert gc.get_stats()[2]["collections"] == before + 1
assert not gc.garbage and not gc.get_debug()
assert sys.version_info < (3, 10) or not gc.callbacks, gc.callbacks
import gcscope
assert gcscope.socket_path().startswith("/")
gc.enable()
kept = [[i, {i: i}] for i in range(3000)]
loop = []
loop.append(loop)
"""

# For several at once: up to 3.8 they share one collector, and each meets the others' collections.
AT_ONCE = """
import gc, gcscope
class Node: pass
for _ in range(300):
    node = Node()
    node.me = {"me": [node]}
gc.collect()
kept = [[i, {i: i}] for i in range(3000)]
assert gcscope.socket_path().startswith("/")
"""

def come_and_go(n, how, code=INSIDE):
    for _ in range(n):
        garbage(20)
        how(code)

def check(code):
    assert run_in_subinterp(code) == 0
'''

BUSY = {"GCSCOPE_INTERVAL": "0.05", "GCSCOPE_CYCLES": "all", "GCSCOPE_BUDGET": "50"}


def counters_agree(t):
    """Up to 3.8 the one collector also runs when an interpreter ends, and calls nobody then."""
    if t.python.version < (3, 9):
        return True
    truth = t.eval("gc.get_stats()")
    got = t.ask("stat")["gc"]["generations"]
    keys = ("collections", "collected", "uncollectable")
    return [[g[k] for k in keys] for g in got] == [[g[k] for k in keys] for g in truth]


@pytest.mark.limit(150)
@pytest.mark.parametrize("how", ["check", "run_once"])
def test_come_and_go(python, target, how):
    """Fifty of them, with garbage and collections inside, during censuses and captures."""
    t = target(python, PROGRAM, **BUSY)
    n = t.censuses()
    t.exec("come_and_go(50, %s)" % how, timeout=120)
    t.exec("gc.collect()")
    assert counters_agree(t)
    assert t.ask("stat")["python"]["interpreters"] == 1
    assert t.censuses() > n
    assert t.eval("len(gc.garbage)") == 0 and t.eval("gc.get_debug()") == 0
    assert t.finish() == 0
    assert t.errors() == ""


@pytest.mark.limit(150)
def test_at_once_on_threads(python, target):
    """Three threads make and end them, the main thread collects, a client asks: the count is never made up."""
    t = target(python, PROGRAM, **BUSY)
    t.exec("""
ended = []
def work():
    come_and_go(15, run_once, AT_ONCE)
    ended.append(1)
threads = [threading.Thread(target=work) for _ in range(3)]
for each in threads: each.start()
""")
    seen = set()

    def over():
        seen.add(t.ask("stat")["python"]["interpreters"])
        t.exec("garbage(50); gc.collect(0)", timeout=60)
        return t.eval("not any(x.is_alive() for x in threads)")
    wait_until(over, timeout=120, what="the threads to end")
    assert t.eval("len(ended)") == 3, t.errors()
    assert seen <= {None, 1, 2, 3, 4}, seen
    assert t.ask("stat")["python"]["interpreters"] == 1
    assert counters_agree(t)
    assert t.finish() == 0


def test_others_are_counted_not_measured(python, target):
    """3.8 has one collector for all of them; from 3.9 on each has its own, and the census is of the main one's."""
    t = target(python, PROGRAM, GCSCOPE_INTERVAL="3600")
    assert t.ask("stat")["python"]["interpreters"] == 1
    t.exec("made = [interpreters.create() for _ in range(3)]")
    assert t.ask("stat")["python"]["interpreters"] == 4
    t.exec("run(made[1], 'class Elsewhere: pass\\nkept = [Elsewhere() for _ in range(1000)]')")
    t.exec("class Here: pass\nhere = [Here() for _ in range(1000)]")
    census = t.census()
    assert census["__main__.Here"][0] == 1000
    assert census.get("__main__.Elsewhere", (0, 0))[0] == (1000 if python.version < (3, 9) else 0)
    t.exec("run(made[1], 'import gc; gc.collect()')")
    assert counters_agree(t)
    t.exec("[interpreters.destroy(i) for i in made]")
    assert t.ask("stat")["python"]["interpreters"] == 1


def test_the_end_while_there_are_others(python, run):
    """The process ends with interpreters alive, as it does without the agent."""
    source = PROGRAM.replace("import gcscope\nassert gcscope.socket_path().startswith(\"/\")\n", "") + """
made = [interpreters.create() for _ in range(3)]
for each in made:
    run(each, INSIDE)
print(len(others()))
"""
    without = run(python, source, with_agent=False)
    assert without.stdout == b"3\n"
    for _ in range(3):
        assert run(python, source, **BUSY) == without


def test_a_collection_is_asked_of_the_main_one(python, target):
    """3.9 to 3.11 put a pending call into the queue of whichever interpreter runs, which may never come to it."""
    t = target(python, PROGRAM + """
BUSY = "import time\\nend = time.monotonic() + 3\\nwhile time.monotonic() < end:\\n for _ in range(30000): pass\\n"
def busy():
    run_once(BUSY)
thread = threading.Thread(target=busy)
""")
    t.exec("thread.start()")
    time.sleep(.5)
    for _ in range(2):
        assert t.ask("collect")["schema"] == "gcscope.collect/1"
    t.exec("thread.join()")
    t.tell("exec", "import time\nfor _ in range(4000): time.sleep(.001)")
    began = time.monotonic()
    for _ in range(5):
        assert t.ask("collect")["schema"] == "gcscope.collect/1"
    assert time.monotonic() - began < 1
