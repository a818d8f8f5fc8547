# SPDX-License-Identifier: Apache-2.0
"""
Guards against the ways in which a fork goes wrong under a threaded agent: a child without an agent or with
the parent's, a watching client that is cut off, the DeprecationWarning about threads on 3.12+, a child that
hangs on a lock or GIL that the agent's thread held, and children that the program never made.
"""
import os
import shutil

import pytest

from conftest import SLOW, connect, is_gone, kill, socket_path, wait_until

FORKS = '''
import ctypes, gc, json, os, signal, subprocess, sys, threading, time, warnings

def loop_in_child(before=None):
    """The child lives on, making garbage, until it is killed."""
    try:
        if before: before()
        while True:
            x = [[] for _ in range(50)]
            x.append(x)
            time.sleep(.01)
    finally:
        os._exit(9)

def fork(before=None):
    pid = os.fork()
    if pid == 0: loop_in_child(before)
    return pid

def status(pid):
    return os.waitpid(pid, 0)[1]

def raw_fork(how):
    libc = ctypes.PyDLL(None) if how == "py" else ctypes.CDLL(None)
    pid = libc.fork()
    if pid == 0: loop_in_child()
    return pid

def fork_and_exit(n, code=0):
    """n children one after the other; their exit codes."""
    codes = []
    for _ in range(n):
        pid = os.fork()
        if pid == 0:
            [[] for _ in range(1000)]
            os._exit(code)
        codes.append(os.waitpid(pid, 0)[1] >> 8)
    return codes
'''


def alive_with_agent(sockdir, pid):
    with connect(sockdir, pid) as c:
        assert c.hello["pid"] == pid
        assert c.ask("info")["pid"] == pid
        census = c.ask("census")
        assert census["objects"] > 1000
        assert c.ask("stat")["gc"]["enabled"] is True
        return c.ask("info")


def test_child_is_an_agent_of_its_own(python, target, sockdir):
    t = target(python, FORKS + "class Mine: pass\nheap = [Mine() for _ in range(500)]\n")
    pid = t.eval("fork()")
    row = alive_with_agent(sockdir, pid)
    assert row["ppid"] == t.pid
    with connect(sockdir, pid) as c:
        assert {x["type"]: x["count"] for x in c.ask("census")["types"]}["__main__.Mine"] == 500
        c.ask("subscribe", topics="gc")
        assert c.event("gc")
    assert t.ask("info")["pid"] == t.pid
    path = socket_path(sockdir, pid)
    kill(pid, 15)
    assert t.eval("status(%d)" % pid) == 15
    assert os.path.exists(socket_path(sockdir, t.pid))
    assert os.path.dirname(path) == sockdir


def test_a_watching_client_sees_no_gap(python, target):
    """Subscribed over 20 forks: each collection of the parent arrives, in order, on the same connection."""
    t = target(python, FORKS + "gc.disable()\n")
    with t.connect() as c:
        c.ask("subscribe", topics="gc")
        t.exec("""
for i in range(20):
    gc.collect(i % 3)
    pid = os.fork()
    if pid == 0: os._exit(0)
    gc.collect((i + 1) % 3)
    os.waitpid(pid, 0)
""")
        got = [c.event("gc")["generation"] for _ in range(40)]
        assert got == [g for i in range(20) for g in (i % 3, (i + 1) % 3)]
        assert c.ask("stat")["agent"]["dropped_events"] == 0
        assert c.ask("info")["pid"] == t.pid


def test_requests_while_forking(few_pythons, target):
    """Requests under way when a fork comes are answered after it, once each."""
    t = target(few_pythons, FORKS + "heap = [[] for _ in range(100000)]\n")
    t.tell("eval", "fork_and_exit(100)")
    for i in range(60):
        verb = ("census", "stat", "info")[i % 3]
        assert t.ask(verb)["schema"] == "gcscope.%s/1" % verb
    assert t.readline() == str([0] * 100).replace("'", "")


@pytest.mark.parametrize("when", ["error", "always"])
def test_no_warning_about_threads(python, run, when):
    """CPython 3.12 looks at the number of threads before it calls the after-fork hooks, 3.13 after them. Where
    it cannot raise the warning (3.13 under -W error) it says nothing at all, so the text is looked for too."""
    source = FORKS + "time.sleep(.4)\nprint(fork_and_exit(5, 3))\npid, fd = os.forkpty()\nif not pid: os._exit(0)\n" \
                     "print(os.waitpid(pid, 0)[1])\n"
    done = run(python, source, flags=["-W", when], GCSCOPE_INTERVAL="0.02")
    assert (done.status, done.stdout, done.stderr) == (0, b"[3, 3, 3, 3, 3]\n0\n", b"")


def test_other_threads_keep_the_warning(run, python):
    """Where the program itself has threads, CPython warns as it would without the agent."""
    if python.version < (3, 12):
        pytest.skip("no such warning before 3.12")
    source = FORKS + "threading.Thread(target=time.sleep, args=(.5,)).start()\ntime.sleep(.1)\nfork_and_exit(1)\n"
    plain = run(python, source, with_agent=False)
    assert b"DeprecationWarning" in plain.stderr
    assert run(python, source, GCSCOPE_INTERVAL="0.02").stderr.count(b"DeprecationWarning") == 1


@pytest.mark.limit(120)
def test_fifty_forks(python, target, sockdir):
    t = target(python, FORKS, GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100")
    assert t.eval("fork_and_exit(50, 4)", timeout=40) == [4] * 50
    assert t.ask("info")["pid"] == t.pid
    assert t.eval("threading.active_count()") == 1
    names = os.listdir(sockdir)
    # A child that ended by _exit() may leave its socket to `ps`; it never leaves more than that one.
    assert len(names) <= 51 and os.path.basename(socket_path(sockdir, t.pid)) in names


def test_forks_are_quick(python, target):
    """Ending the agent's thread and starting it again takes a few milliseconds, a client watching or not."""
    t = target(python, FORKS + '''
def timed(n):
    began = time.monotonic()
    fork_and_exit(n)
    return (time.monotonic() - began) / n
''')
    assert min(t.eval("timed(20)") for _ in range(3)) < .03 * SLOW
    with t.connect() as c:
        c.ask("subscribe", topics="gc,census,log")
        assert min(t.eval("timed(20)") for _ in range(3)) < .03 * SLOW


def test_child_of_child_of_child(python, target, sockdir):
    t = target(python, FORKS + '''
def chain(depth):
    r, w = os.pipe()
    def next(d):
        os.write(w, b"%d " % os.getpid())
        if d:
            pid = os.fork()
            if pid == 0: next(d - 1)
        loop_in_child()
    pid = os.fork()
    if pid == 0: next(depth - 1)
    os.close(w)
    text = b""
    while len(text.split()) < depth or text[-1:] != b" ":
        text += os.read(r, 100)
    return [int(x) for x in text.split()]
''')
    pids = t.eval("chain(4)")
    try:
        for child, parent in zip(pids, [t.pid] + pids):
            assert alive_with_agent(sockdir, child)["ppid"] == parent
    finally:
        for pid in reversed(pids):
            kill(pid)


def test_fork_in_a_thread(python, target, sockdir):
    t = target(python, FORKS + '''
def in_thread():
    got = []
    thread = threading.Thread(target=lambda: got.append(fork()))
    thread.start(); thread.join()
    return got[0]
''')
    pid = t.eval("in_thread()")
    alive_with_agent(sockdir, pid)
    assert t.ask("info")["pid"] == t.pid
    kill(pid)


def test_threads_fork_at_once(python, target):
    t = target(python, FORKS + '''
def many():
    codes = []
    ts = [threading.Thread(target=lambda: codes.extend(fork_and_exit(10, 6))) for _ in range(4)]
    [x.start() for x in ts]; [x.join() for x in ts]
    return codes
''', GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100")
    assert t.eval("many()", timeout=40) == [6] * 40
    assert t.ask("info")["pid"] == t.pid


def test_forkpty(python, target, sockdir):
    t = target(python, FORKS + "import pty\ndef go():\n    pid, fd = pty.fork()\n    if pid == 0: loop_in_child()\n"
                               "    return pid\n")
    pid = t.eval("go()")
    alive_with_agent(sockdir, pid)
    kill(pid)


@pytest.mark.parametrize("how", ["py", "c"])
def test_raw_fork(python, target, sockdir, how):
    """A fork that knows nothing of Python (uWSGI): the child lives, and has an agent after a collection."""
    t = target(python, FORKS + "gc.set_threshold(20)\n", GCSCOPE_INTERVAL="0.1")
    pid = t.eval("raw_fork(%r)" % how)
    try:
        alive_with_agent(sockdir, pid)
        assert t.ask("info")["pid"] == t.pid
        assert t.ask("census")["objects"] > 1000
    finally:
        kill(pid)


@pytest.mark.parametrize("then", ["sys.exit(3)", "os._exit(fork_and_exit(1, 3)[0])",
                                  "gc.collect(); gc.collect(); print(fork_and_exit(1, 3)); sys.exit(3)"])
def test_bare_fork(python, run, then):
    """The system call, past pthread_atfork()'s handlers: the child ends, forks and collects like any other."""
    done = run(python, FORKS + """
time.sleep(.4)
pid = ctypes.PyDLL(None).syscall({"x86_64": 57}.get(os.uname().machine) or sys.exit("skip"))
if pid == 0:
    %s
end = time.monotonic() + 5
while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and time.monotonic() < end:
    time.sleep(.01)
os.kill(pid, 9)
print(status(pid) >> 8)
""" % then)
    if b"skip" in done.stderr:
        pytest.skip("this processor has no such system call")
    assert (done.status, done.stdout.splitlines()[-1], done.stderr) == (0, b"3", b"")


@pytest.mark.limit(120)
@pytest.mark.parametrize("how", ["py", "c"])
def test_raw_forks_during_censuses(python, target, how):
    """The agent may hold the GIL, or be anywhere, at the moment of the fork: no child hangs."""
    t = target(python, FORKS + '''
heap = [[] for _ in range(50000)]
def many(how, n):
    libc = ctypes.PyDLL(None) if how == "py" else ctypes.CDLL(None)
    codes = []
    for _ in range(n):
        pid = libc.fork()
        if pid == 0:
            for _ in range(3): gc.collect(1)
            os._exit(5)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            got, st = os.waitpid(pid, os.WNOHANG)
            if got: break
            time.sleep(.001)
        else:
            os.kill(pid, 9); os.waitpid(pid, 0); st = -1
        codes.append(st >> 8)
    return codes
''', GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100")
    assert t.eval("many(%r, 40)" % how, timeout=60) == [5] * 40
    assert t.ask("info")["pid"] == t.pid


MP = '''
import multiprocessing as mp, os, sys, time, gc
def work(q, hold):
    x = [[] for _ in range(2000)]
    gc.collect()
    q.put(os.getpid())
    hold.wait(20)
    q.put("done")
def square(x): return x * x
if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    q, hold = ctx.Queue(), ctx.Event()
    ps = [ctx.Process(target=work, args=(q, hold)) for _ in range(2)]
    [p.start() for p in ps]
    print(*[q.get(timeout=20) for _ in ps], flush=True)
    sys.stdin.readline()
    hold.set()
    print(*[q.get(timeout=20) for _ in ps], flush=True)
    [p.join(20) for p in ps]
    print([p.exitcode for p in ps], flush=True)
    with ctx.Pool(2) as pool:
        print(pool.map(square, range(8)), flush=True)
'''


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_multiprocessing(python, target, sockdir, how):
    t = target(python, MP, serve=False, args=[how], GCSCOPE_INTERVAL="0.1")
    pids = [int(x) for x in t.readline().split()]
    for pid in pids:
        with connect(sockdir, pid) as c:
            assert c.ask("census")["objects"] > 2000
    t.proc.stdin.write(b"\n")
    t.proc.stdin.flush()
    assert t.readline() == "done done"
    assert t.readline() == "[0, 0]"
    assert t.readline() == "[0, 1, 4, 9, 16, 25, 36, 49]"
    assert t.wait() == 0
    assert t.errors() == ""


def test_subprocesses(python, target):
    """preexec_fn, close_fds, pass_fds, posix_spawn: the descriptors and exit statuses are the program's."""
    t = target(python, FORKS + '''
def run_all():
    r, w = os.pipe()
    out = []
    p = subprocess.run(["/bin/sh", "-c", "echo $PPID; exit 3"], stdout=subprocess.PIPE, preexec_fn=lambda: [[] for _ in range(3000)])
    out.append([p.returncode, int(p.stdout) == os.getpid()])
    p = subprocess.run(["/bin/sh", "-c", "ls /proc/self/fd | wc -l"], stdout=subprocess.PIPE, pass_fds=[w])
    out.append(int(p.stdout))
    p = subprocess.run(["/bin/sh", "-c", "ls /proc/self/fd | wc -l"], stdout=subprocess.PIPE, close_fds=False)
    out.append(int(p.stdout))
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 4"], os.environ)
    out.append(os.waitpid(pid, 0)[1] >> 8)
    out.append(os.system("exit 5") >> 8)
    with os.popen("echo hi") as p: out.append(p.read())
    p = subprocess.Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
    out.append(p.communicate()[0].decode()); out.append(p.returncode)
    try: os.waitpid(-1, os.WNOHANG)
    except ChildProcessError: out.append("no children")
    return out
''', GCSCOPE_INTERVAL="0.02")
    got = t.eval("run_all()")
    assert got == [[3, True], 5, 4, 4, 5, "hi\n", "1\n", 0, "no children"]
    assert t.ask("info")["pid"] == t.pid


def test_a_process_without_python_has_no_socket(one_python, target, sockdir):
    t = target(one_python, FORKS)
    pid = t.eval("subprocess.Popen(['/bin/sleep', '20']).pid")
    wait_until(lambda: open("/proc/%d/comm" % pid).read() == "sleep\n")
    assert len(os.listdir("/proc/%d/task" % pid)) == 1
    assert "%d-" % pid not in str(os.listdir(sockdir))
    kill(pid)


def test_exec(python, target, sockdir):
    """os.execv: the same PID, a new program. The old socket is not in the way of the new one."""
    t = target(python, '''
import os, sys
if len(sys.argv) == 1:
    sys.stdout.flush()
GENERATION = len(sys.argv)
def again():
    os.execv(sys.executable, [sys.executable] + sys.argv + ["x"])
def shell():
    os.execv("/bin/sh", ["sh", "-c", "echo shell; read x; exit 7"])
''')
    for generation in (2, 3):
        t.tell("exec", "again()")
        assert t.readline() == "ready"
        t._client.close()
        t._client = None
        assert t.eval("GENERATION") == generation
        assert t.ask("census")["objects"] > 1000
    t.tell("exec", "shell()")
    assert t.readline() == "shell"
    assert len(os.listdir("/proc/%d/task" % t.pid)) == 1
    t.proc.stdin.write(b"\n")
    t.proc.stdin.flush()
    assert t.wait() == 7


def test_failed_exec(python, target):
    """execv that fails: the program goes on, and so does its agent."""
    t = target(python, "import os\n")
    t.exec("try: os.execv('/no/such/file', ['x'])\nexcept FileNotFoundError: pass")
    assert t.ask("info")["pid"] == t.pid


DAEMON = FORKS + '''
def daemonise(path):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    os.setsid()
    if os.fork(): os._exit(0)
    os.chdir("/")
    os.closerange(0, 5000)
    null = os.open(os.devnull, os.O_RDWR); os.dup2(null, 1); os.dup2(null, 2)
    with open(path + ".new", "w") as f: f.write(json.dumps([os.getpid(), sorted(map(int, os.listdir("/proc/self/fd")))]))
    os.rename(path + ".new", path)
    loop_in_child()
'''


def test_daemonise(python, target, sockdir, tmp_path):
    import json
    t = target(python, DAEMON)
    path = str(tmp_path / "pid")
    t.exec("daemonise(%r)" % path)
    pid, fds = json.loads(wait_until(lambda: os.path.exists(path) and open(path).read()))
    try:
        assert fds[:3] == [0, 1, 2] and len(fds) <= 5
        row = alive_with_agent(sockdir, pid)
        assert row["pid"] == pid
    finally:
        kill(pid)
    wait_until(lambda: is_gone(pid))


def test_agent_held_by_nobody(python, target, sockdir):
    """The child of a parent that was killed lives on with its agent."""
    t = target(python, FORKS)
    pid = t.eval("fork()")
    alive_with_agent(sockdir, pid)
    kill(t.pid)
    t.proc.wait(10)
    alive_with_agent(sockdir, pid)
    kill(pid)
    wait_until(lambda: is_gone(pid))


def test_fork_before_attach_is_over(python, run):
    """A program that forks at once, while the agent may still be attaching."""
    source = FORKS + "print(fork_and_exit(3, 2), flush=True)\n"
    for _ in range(5):
        done = run(python, source)
        assert (done.status, done.stdout, done.stderr) == (0, b"[2, 2, 2]\n", b"")


def test_fork_while_clients_crowd(one_python, target):
    """All clients are carried over a fork, not only one."""
    t = target(one_python, FORKS)
    clients = [t.connect() for _ in range(10)]
    for c in clients:
        c.ask("subscribe", topics="gc")
    assert t.eval("fork_and_exit(3)") == [0, 0, 0]
    t.exec("gc.collect()")
    for c in clients:
        assert c.event("gc")["generation"] == 2
        c.close()


def test_partial_request_over_a_fork(one_python, target):
    """Half a request line before the fork, the other half after it."""
    t = target(one_python, FORKS)
    c = t.client()
    c.sock.sendall(b"cen")
    assert t.eval("fork_and_exit(2)") == [0, 0]
    c.sock.sendall(b"sus limit=1\n")
    assert len(c.answer()["types"]) == 1


def test_runtime_without_proc_write(one_python, target, sockdir):
    """The socket directory vanishes: forks and children go on without an agent of their own."""
    t = target(one_python, FORKS)
    moved = sockdir + ".moved"
    os.rename(sockdir, moved)
    try:
        assert t.eval("fork_and_exit(3, 1)") == [1, 1, 1]
        assert t.ask("info")["pid"] == t.pid, "the open connection goes on"
    finally:
        if os.path.isdir(sockdir):
            shutil.rmtree(sockdir)
        os.rename(moved, sockdir)


def test_finalizer_that_forks(python, target):
    """
    `collect` while the main thread is blocked runs finalizers on a thread of ours. One that forks does not hang, and
    a child that has nothing else to do then ends, as that of any other thread does.
    """
    t = target(python, """
import gc, os, threading, time
gc.disable()
main, seen = threading.get_ident(), []
class Forks:
    def __del__(self):
        ours, pid = threading.get_ident() != main, os.fork()
        if pid:
            seen.append([ours, os.waitpid(pid, 0)[1]])
        elif not ours:
            os._exit(0)  # a copy of the program else
""")
    for n in range(1, 20):
        t.exec("f = Forks(); f.me = f; del f")
        t.tell("exec", "time.sleep(2)")
        done = t.cli("collect", "--json", "-t", "10", check=False)
        t.readline()
        wait_until(lambda: len(t.eval("seen")) == n, what="the child's end; %s" % done)
        seen = [tuple(x) for x in t.eval("seen")]
        if seen.count((True, 0)) == 3:  # the main thread may not have been asleep yet
            break
    assert seen.count((True, 0)) == 3 and set(seen) <= {(True, 0), (False, 0)}, seen
    assert t.ask("stat")["pid"] == t.pid


COLLECTED_BY_US = """
import gc, logging, os, queue, socket, sys, threading, time
gc.disable()
main = threading.get_ident()
class Object:
    def __init__(self):
        self.me = self

asking = None
def ask():
    import gcscope
    global asking
    if asking:
        asking.close()
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(gcscope.socket_path())
    asking.sendall(b"collect\\n")
"""


def test_fork_while_a_finalizer_waits_for_its_lock(few_pythons, run):
    """The finalizer, on a thread of ours, waits for a lock that the forking thread holds: neither waits for ever."""
    done = run(few_pythons, COLLECTED_BY_US + """
begun, asked = threading.Event(), threading.Event()
class Waits(Object):
    def __del__(self):
        begun.set()
        time.sleep(.5)
        logging.getLogger("made.in.finalizer")  # logging's lock is held over a fork
        ended.set()

def fork():
    begun.wait()
    for _ in range(3):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    forked.set()

ended, forked = threading.Event(), threading.Event()
for turn in range(2):
    for event in (begun, ended, forked):
        event.clear()
    Waits()
    threading.Thread(target=fork, daemon=True).start()
    ask()
    time.sleep(2)
    while not ended.is_set() or not forked.is_set():
        time.sleep(.01)
print("end", flush=True)
""", flags=["-W", "ignore"])
    assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")


def test_a_finalizer_leaves_no_thread_behind(python, run):
    done = run(python, COLLECTED_BY_US + """
class Looks(Object):
    def __del__(self):
        seen.append(threading.current_thread() is not threading.main_thread())

seen = []
while True not in seen:
    Looks()
    ask()
    time.sleep(1.5)
time.sleep(.1)
asking.close()
print(threading.active_count(), flush=True)
""")
    assert (done.status, done.stdout, done.stderr) == (0, b"1\n", b"")


WITHOUT = """
import ctypes, os, struct, sys
def without(**calls):
    \"\"\"This very program once more, where these system calls are not permitted.\"\"\"
    if "again" in sys.argv:
        return
    if os.uname().machine != "x86_64":
        sys.exit("skip")
    code = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for number in calls.values():
        code += [struct.pack("=HBBI", 0x15, 0, 1, number), struct.pack("=HBBI", 6, 0, 0, 0x50001)]
    code = b"".join(code + [struct.pack("=HBBI", 6, 0, 0, 0x7fff0000)])
    text = ctypes.create_string_buffer(code)
    libc = ctypes.CDLL(None)
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(text)))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, program, 0, 0):
        sys.exit("skip")
    os.execv(sys.executable, [sys.executable] + sys.argv + ["again"])
"""


def skip_or(done, out):
    if done.stderr == b"skip\n":
        pytest.skip("no filter of system calls here")
    assert (done.status, done.stdout, done.stderr) == (0, out, b"")


def test_no_table_of_its_own(python, run, tmp_path):
    """Its descriptors would be in the application's table, to be closed and used again there: no agent, and a reason."""
    log = tmp_path / "log"
    source = WITHOUT + """
without(close_range=436, unshare=272)
import gc, time
time.sleep(.4)
before = sorted(os.listdir("/proc/self/fd"))
for _ in range(3):
    pid = os.fork()
    if not pid:
        gc.collect()
        os._exit(0)
    os.waitpid(pid, 0)
print(before, len(os.listdir("/proc/self/task")), gc.callbacks, flush=True)
"""
    plain = run(python, source, with_agent=False)
    skip_or(run(python, source, GCSCOPE_LOG=log), plain.stdout)
    assert plain.stdout.endswith(b" 1 []\n")
    assert "disabled" in log.read_text() and "no descriptor table" in log.read_text()


NARROW = {
    "no socket": WITHOUT + "without(socket=41)\n",
    "no descriptor": """
import os, resource
def use_up():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
""",
}


@pytest.mark.parametrize("where", NARROW)
def test_forks_are_quick_where_nothing_can_be_connected(few_pythons, run, where):
    """The thread is woken without a descriptor of the application's."""
    done = run(few_pythons, NARROW[where] + FORKS + """
time.sleep(.4)
globals().get("use_up", int)()
took = []
for _ in range(6):
    began = time.monotonic()
    pid = os.fork()
    if not pid: os._exit(0)
    took.append(time.monotonic() - began)
    os.waitpid(pid, 0)
    time.sleep(.1)
print(sorted(took)[3] < %g, flush=True)
""" % (.05 * SLOW))
    skip_or(done, b"True\n")


def test_what_carries_is_not_taken_for_another(python, run):
    """From 3.12 on a socket of ours stays until the main thread runs; its number may be the application's by then."""
    done = run(python, """
import gc, os, socket, threading, time
gc.disable()
time.sleep(.4)
def work():
    time.sleep(.3)
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
    os.closerange(3, 250)
    pairs = [socket.socketpair() for _ in range(120)]
    for a, b in pairs: b.send(b"hello")
    go_on.set()
    time.sleep(.5)
    for a, b in pairs:
        a.settimeout(1)
        try:
            if a.recv(9) != b"hello": bad.append(a)
            b.send(b"x")
        except OSError as e:
            bad.append(e)
    done.set()
go_on, done, bad = threading.Event(), threading.Event(), []
threading.Thread(target=work).start()
go_on.wait()
for _ in range(1000): pass
done.wait()
print(bad, flush=True)
""", flags=["-W", "ignore"])
    assert (done.status, done.stdout, done.stderr) == (0, b"[]\n", b"")
