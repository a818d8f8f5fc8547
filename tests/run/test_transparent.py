# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that changes the program: its output, exit status, signals, warnings, descriptors,
threads, finalizer order. Each program runs without the agent and with it, censuses every 10 ms, and must
end alike in every byte.
"""
import concurrent.futures
import re

import pytest

PROGRAMS = {
    "prints": "print('out'); import sys; print('err', file=sys.stderr)",
    "raises": "def f(): 1 / 0\nf()",
    "sys_exit_3": "import sys; sys.exit(3)",
    "sys_exit_text": "import sys; sys.exit('message')",
    "os_exit_4": "import os; print('x', flush=True); os._exit(4)",
    "sigterm": "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)",
    "sigkill": "import os, signal, time; time.sleep(.1); os.kill(os.getpid(), signal.SIGKILL); time.sleep(5)",
    "sigint": "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nfor i in range(10**7): pass",
    "sigint_in_sleep": """
import os, signal, threading, time
threading.Timer(.2, os.kill, (os.getpid(), signal.SIGINT)).start()
time.sleep(5)
""",
    "stdout_closed": "import os; print('x'); os.close(1)",
    "stdout_without_a_reader": "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w); print('x')",
    "abort": "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "segv_handled": """
import faulthandler, os, signal, sys
faulthandler.register(signal.SIGUSR1, file=sys.stdout, all_threads=False)
os.kill(os.getpid(), signal.SIGUSR1)
""",
    "threads": """
import threading, time
def work(n):
    x = [[i] for i in range(20000)]
    time.sleep(.05)
ts = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
print(threading.active_count(), [t.name for t in threading.enumerate()], threading.main_thread().name)
""",
    "daemon_thread": """
import threading, time
def spin():
    while True: [[] for _ in range(100)]
threading.Thread(target=spin, daemon=True).start()
time.sleep(.1)
print('end')
""",
    "thread_outlives_main": """
import threading, time
threading.Thread(target=lambda: (time.sleep(.2), print('thread'))).start()
print('main')
""",
    "atexit_order": """
import atexit, gc, threading
for i in range(3): atexit.register(print, 'atexit', i)
class Noisy:
    def __del__(self): print('del', self.n)
    def __init__(self, n): self.n = n
keep = Noisy('global'); cycle = Noisy('cycle'); cycle.me = cycle
threading._register_atexit(print, 'threading') if hasattr(threading, '_register_atexit') else print('threading')
""",
    "warnings": """
import warnings, os, sys
warnings.simplefilter('error')
pid = os.fork()
if pid == 0: os._exit(5)
print(os.waitpid(pid, 0)[1])
warnings.resetwarnings(); warnings.simplefilter('default')
open(os.devnull)
""",
    "finalizers": """
import gc, weakref
gc.disable()
class Node:
    def __init__(self, n): self.n, self.me = n, self
    def __del__(self): print('del', self.n)
nodes = [Node(i) for i in range(5)]
refs = [weakref.ref(n, lambda r, i=i: print('ref', i)) for i, n in enumerate(nodes)]
del nodes
print(gc.collect() > 0, [r() for r in refs], gc.garbage)
""",
    "callbacks": """
import gc
seen = []
gc.callbacks.append(lambda phase, info: seen.append((phase, info['generation'], sorted(info))))
gc.disable(); gc.collect(0); gc.collect()
print(seen, gc.get_debug(), gc.garbage, gc.isenabled(), gc.get_threshold())
""",
    "saveall": """
import gc
gc.disable(); gc.collect(); gc.set_debug(gc.DEBUG_SAVEALL)
class A: pass
for _ in range(5):
    a = A(); a.me = a
del a
gc.collect()
print(len([x for x in gc.garbage if type(x) is A]), gc.get_debug())
gc.set_debug(0); gc.garbage.clear()
""",
    "descriptors": """
import os, time
time.sleep(.2)
a = os.open(os.devnull, os.O_RDONLY); r, w = os.pipe(); d = os.dup(a)
print(a, r, w, d, sorted(map(int, os.listdir('/proc/self/fd'))))
os.closerange(3, 5000)
time.sleep(.1)
print(os.open(os.devnull, os.O_RDONLY), sorted(map(int, os.listdir('/proc/self/fd'))))
""",
    "signals": """
import os, signal, threading, time
time.sleep(.1)
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
print([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1)])
where = []
signal.signal(signal.SIGUSR1, lambda *_: where.append(threading.current_thread().name))
for _ in range(50):
    os.kill(os.getpid(), signal.SIGUSR1)
print(set(where), len(where))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
print(signal.sigwait([signal.SIGUSR2]))
signal.signal(signal.SIGALRM, lambda *_: print('alarm', threading.current_thread().name))
signal.setitimer(signal.ITIMER_REAL, .05)
time.sleep(.2)
""",
    "recursion": """
import sys
def f(n): return 0 if n == 0 else 1 + f(n - 1)
print(f(900))
try: f(10**6)
except RecursionError as e: print('RecursionError')
""",
    "allocation_churn": """
import sys
class A: pass
def churn():
    for i in range(60000):
        a = A(); a.b = {'a': a, 'l': [a, (a,)]}
churn()
print('ok')
""",
    "unraisable": """
import gc
class A:
    def __del__(self): raise ValueError('in del')
a = A(); a.me = a; del a
gc.collect()
""",
    "asyncio": """
import asyncio, warnings
async def main():
    p = await asyncio.create_subprocess_exec('/bin/echo', 'hi', stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(), p.returncode)
    await asyncio.gather(*[asyncio.sleep(.05) for _ in range(20)])
asyncio.run(main())
""",
    "recursion_limit": """
import gc, json, os, time
time.sleep(.2)
gc.set_threshold(1)

def endless(n):
    x = [n]
    return endless([x])

def forks_at(depth):
    if depth:
        return forks_at(depth - 1)
    pid = os.fork()
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def caught(f, *args):
    try:
        return f(*args)
    except RecursionError as e:
        return 'caught'

print([caught(endless, 0) for _ in range(30)], [caught(json.loads, '[' * 100000) for _ in range(100)])
print({caught(forks_at, depth) for depth in range(960, 1000)})
""",
    "closed_standard_streams": """
import os, time
for fd in (0, 1, 2): os.close(fd)
time.sleep(.1)
fds = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
time.sleep(.1)
os._exit(7 if fds == [0, 1, 2] else 8)
""",
}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_same_end(python, run, name):
    flags = ["-W", "error"] if name == "warnings" else ["-X", "dev"] if name == "unraisable" else []
    settings = {"GCSCOPE_INTERVAL": "0.01", "GCSCOPE_BUDGET": "100"}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(run, python, PROGRAMS[name], with_agent=w, flags=flags, **settings) for w in (False, True)]
    plain, under = [e.result() for e in ends]
    for each in (plain, under):
        each.stderr = re.sub(rb"0x[0-9a-f]+", b"0x", each.stderr)
        if python.free_threaded and name == "finalizers":  # in the order of addresses, which any census shifts
            each.stdout = sorted(each.stdout.split(b"\n"))
    assert under == plain


@pytest.mark.parametrize("flags", [["-I"], ["-S"], ["-E"], ["-O"], ["-X", "importtime"], ["-u"]],
                         ids=lambda f: f[-1].strip("-"))
def test_interpreter_flags(one_python, run, flags):
    plain = run(one_python, "print(1)", with_agent=False, flags=flags)
    under = run(one_python, "print(1)", flags=flags)
    if flags[-1] == "importtime":
        plain.stderr = under.stderr = b""
    assert under == plain


def test_standard_input_is_the_programs(one_python, run):
    source = "import sys, time; time.sleep(.2); print(sys.stdin.read())"
    assert run(one_python, source, stdin=b"x" * 100000).stdout == b"x" * 100000 + b"\n"


def test_introspection_while_censuses_run(python, run):
    """The application may look at all objects at any moment, a bookmark of the agent's among them."""
    source = """
import gc, sys, time
keep = [[i, {i: str(i)}] for i in range(30000)]
end = time.monotonic() + 1
while time.monotonic() < end:
    for o in gc.get_objects():
        type(o).__name__
    gc.get_referrers(keep[0])
    gc.collect()
del o
print(len(keep), all(len(k) == 2 for k in keep))
"""
    done = run(python, source, GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100", timeout=40)
    assert (done.status, done.stdout, done.stderr) == (0, b"30000 True\n", b"")
