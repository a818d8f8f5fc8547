# SPDX-License-Identifier: Apache-2.0
"""
Guards unshare() and setns(): into a user, mount or time namespace the kernel lets only a process of one thread, so
the agent's must not be there in that moment; and it must be afterwards, with its clients.
"""
import pytest

from conftest import INTERPRETERS, wait_until

SETTINGS = {"GCSCOPE_INTERVAL": "0.02", "GCSCOPE_BUDGET": "100", "GCSCOPE_CYCLES": "all"}

# CDLL lets go of the GIL for a call, as os.unshare() does; PyDLL does not.
CALLS = INTERPRETERS + '''
import ctypes, gc, os, threading

NEWUSER, NEWNS, NEWPID, NEWTIME, THREAD = 0x10000000, 0x20000, 0x20000000, 0x80, 0x10000

def call(library, name, *args):
    ctypes.set_errno(0)
    return getattr(library(None, use_errno=True), name)(*args), ctypes.get_errno()

def enter(library):
    results = [call(library, "unshare", flag) for flag in (NEWUSER, NEWNS, NEWTIME)]
    for name in "user", "mnt", "time_for_children":
        with open("/proc/self/ns/" + name) as f:
            results += [call(library, "setns", f.fileno(), kind) for kind in (0, NEWUSER, NEWNS, NEWTIME)]
    return results

def enter_in_threads(n=4):
    barrier, results = threading.Barrier(n), []
    def work():
        barrier.wait()
        results.append(call(ctypes.CDLL, "unshare", NEWUSER))
        barrier.wait()
    threads = [threading.Thread(target=work) for _ in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
    return results

def fork_after_the_end():
    """In a PID namespace whose first process has ended no other can be made."""
    result = call(ctypes.CDLL, "unshare", NEWUSER | NEWPID)
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        if not os.fork():
            os._exit(0)
    except OSError as e:
        return result, e.errno

def with_another_interpreter(n):
    """PyGILState_Check() says yes to everybody from then on: also to callers that have let go of the GIL."""
    interpreters.destroy(interpreters.create())
    heap = [[i] for i in range(200000)]
    results = [call(ctypes.CDLL, "unshare", THREAD) for _ in range(n)]
    for _ in range(n // 4):
        pid = call(ctypes.CDLL, "fork")[0]
        if not pid:
            os._exit(0)
        results.append(os.waitpid(pid, 0)[1])
    return results
'''


@pytest.fixture
def both(python, target):
    """both(expression): its value without the agent, the target under it, and the value there."""
    def start(expression):
        plain = target(python, CALLS, with_agent=False, attach=False).eval(expression)
        t = target(python, CALLS, **SETTINGS)
        return plain, t, t.eval(expression)
    return start


def assert_well(t):
    """The client that was there before still is, and is served."""
    count = t.censuses()
    assert t.census()
    wait_until(lambda: t.censuses() > count)
    assert t.finish() == 0
    assert t.errors() == ""


@pytest.mark.parametrize("library", ["CDLL", "PyDLL"])
def test_namespaces_can_be_entered(both, library):
    plain, t, under = both("enter(ctypes.%s)" % library)
    if plain[0] != [0, 0] or [0, 0] not in plain[3:]:
        pytest.skip("namespaces cannot be entered here: %r" % plain)
    assert under == plain
    assert_well(t)


def test_a_process_with_threads_cannot(both):
    plain, t, under = both("enter_in_threads()")
    assert under == plain
    assert all(result[0] for result in plain)
    assert_well(t)


@pytest.mark.limit(120)
def test_the_gil_is_not_let_go_of_by_who_has_not_got_it(both):
    plain, t, under = both("with_another_interpreter(200)")
    assert under == plain
    assert_well(t)


def test_a_fork_fails_with_its_own_error(both):
    plain, t, under = both("fork_after_the_end()")
    if plain is None or plain[0] != [0, 0]:
        pytest.skip("a PID namespace cannot be entered here: %r" % plain)
    assert under == plain
    assert t.finish() == 0 and t.errors() == ""
