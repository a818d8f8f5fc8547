# SPDX-License-Identifier: Apache-2.0
"""
Guards against an agent that a real server notices: requests or tasks lost while workers are killed, reloaded
and forked anew, zombies, sockets that stay behind, descriptors that shift, workers without an agent.

Each server runs twice, without the agent and with it, side by side under the same load and the same misfortunes.
No server saves all that is under way when they strike, and what it never would is not asked for, so that nothing at
all may be lost. Where a worker is killed outright the load holds its breath. Where a server ends its workers
gracefully but drops connections of which it has not read the request yet, one request is in the application, no other
under way: that one must be answered.

A worker that hangs fails the test, which waits for each to end: the servers' own limits, after which they would kill
it, are longer.

GCSCOPE_REFORKS  how many misfortunes each server is to survive (default: 10; 100 takes half an hour)
"""
import collections
import contextlib
import gc
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import SELF, Gone, connect, environment, is_gone, kill, kill_group, state_of, wait_until

REFORKS = int(os.environ.get("GCSCOPE_REFORKS", "10"))
PYTHON = "/usr/bin/python3"
LIMIT = 150 + 25 * REFORKS

SERVICE = SELF + '''
import json, threading
NO_DIGITS = dict.fromkeys(map(ord, "0123456789_-"))

def report():
    """What this process sees of itself; some garbage on the way."""
    for _ in range(10):
        x = [[]]
        x.append(x)
    return {"pid": os.getpid(), "lowest": lowest_descriptor(), "fds": descriptors(), "children": children(),
            "threads": sorted({t.name.translate(NO_DIGITS) for t in threading.enumerate()}),  # pools grow
            "cwd": os.path.relpath(os.getcwd(), os.path.dirname(__file__)),
            "kernel": {k: v for k, v in kernel().items() if k not in ("SigPnd", "ShdPnd")}}

def text():
    return json.dumps(report()).encode()

SLOW = 1.2  # seconds: uWSGI, aiohttp and reloaders notice within one

def begin(name):
    """Says that something slow has come as far as the application."""
    open("begun-%s" % name, "w").close()
'''

WSGI = '''
import os, time
from service import SLOW, begin, text
KEPT = []
class Session: pass
def application(environ, start_response):
    if environ["PATH_INFO"] == "/leak":
        KEPT.append(Session())
    if environ["PATH_INFO"] == "/slow":
        begin(os.getpid())
        time.sleep(SLOW)
    body = text()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
'''

ASGI = '''
import asyncio, os
from service import SLOW, begin, text
async def application(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/slow":
        begin(os.getpid())
        await asyncio.sleep(SLOW)
    body = text()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
'''

AIOHTTP = '''
import asyncio, os
from aiohttp import web
from service import SLOW, begin, text
async def index(request):
    return web.Response(body=text())
async def slow(request):
    begin(os.getpid())
    await asyncio.sleep(SLOW)
    return await index(request)
async def application(argv=None):
    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_get("/slow", slow)
    return app
'''

DJANGO = '''
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path
from service import text
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
urlpatterns = [path("", lambda request: HttpResponse(text()))]
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
'''

CELERY = '''
import os, time
import billiard.pool
from celery import Celery
from service import begin, report
# A child that ends with its parent waits so many tenths of a second for it to read the last word: 300 are too many.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 5
app = Celery("tasks", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)
@app.task(bind=True)
def work(self, n, slow=False):
    if slow:
        begin(self.request.id)
    while slow and not os.path.exists("go-on"):
        time.sleep(.01)
    time.sleep(.02)
    return n, report()
'''

SOURCES = {"service.py": SERVICE, "wsgi.py": WSGI, "asgi.py": ASGI, "aio.py": AIOHTTP, "manage.py": DJANGO,
           "tasks.py": CELERY, "touch": ""}


def need(*modules, program=None):
    """Skips where Debian's package is not installed."""
    if program and not shutil.which(program):
        pytest.skip("no %s" % program)
    for module in modules:
        if subprocess.run([PYTHON, "-c", "import " + module], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no %s for %s" % (module, PYTHON))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                found += [int(x) for x in f.read().split()]
    return found


def command(pid):
    with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as f:
        return f.read()
    return b""


def session(sid):
    """The processes of a session: their states by PID."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                with open("/proc/%s/stat" % name) as f:
                    fields = f.read().rpartition(")")[2].split()
                if int(fields[3]) == sid:
                    found[int(name)] = fields[0]
    return found


class Load:
    """
    Clients that ask without pause, each time over a connection of its own, and keep what was not answered. Patient
    ones do not mind that nobody listens for a while.
    """

    def __init__(self, url, clients=2, patient=False):
        self.url, self.over, self.patient = url, False, patient
        self.answered, self.lost = collections.Counter(), []
        self.locks = [threading.Lock() for _ in range(clients)]
        self.threads = [threading.Thread(target=self._run, args=(lock,)) for lock in self.locks]

    def ask(self, path=""):
        """An answer; None when nobody listens and that does not matter."""
        try:
            return self._get(path)
        except urllib.error.URLError as e:
            if self.patient and isinstance(e.reason, ConnectionRefusedError):
                return None
            raise

    def _get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.loads(answer.read().decode())

    def _count(self, path=""):
        try:
            answer = self.ask(path)
            if answer:
                self.answered[answer["pid"]] += 1
        except (OSError, ValueError, http.client.HTTPException) as e:
            self.lost.append(repr(e))

    def _run(self, lock):
        while not self.over:
            with lock:
                self._count()
            time.sleep(.005)

    # What is under way when misfortune strikes; each gives the PID of a worker that should be struck, if it matters.

    @contextlib.contextmanager
    def going_on(self, _server):
        yield None

    @contextlib.contextmanager
    def held(self, _server=None):
        """No request is under way."""
        with contextlib.ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(lock)
            yield None

    @contextlib.contextmanager
    def one_inside(self, server):
        """One request is in the application, and no other under way, not even what comes after an answer."""
        with self.held():
            wait_until(server.at_rest, what="the server's threads to sleep", interval=.001)
            asking = threading.Thread(target=self._count, args=("slow",))
            asking.start()
            try:
                yield int(wait_until(server.begun, what="the request to reach the application", interval=.001)[0])
            finally:
                asking.join()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for t in self.threads:
            t.join()


class Server:
    """A server, with the agent when there is one given."""

    def __init__(self, argv, cwd, sockdir, agent, workers=2, look_at_master=True, **settings):
        self.look_at_master = look_at_master
        self.cwd, self.sockdir, self.agent, self.count = cwd, sockdir, agent, workers
        self.log = os.path.join(cwd, "out")
        self.out = open(self.log, "wb")
        env = environment(sockdir, agent, GCSCOPE_INTERVAL="0.1", GCSCOPE_CYCLES="all", **settings)
        self.proc = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                     start_new_session=True, env=env)
        self.pid = self.proc.pid

    def workers(self):
        return [c for c in children_of(self.pid) if not is_gone(c) and b"resource_tracker" not in command(c)]

    def at_rest(self):
        """No thread of a worker runs."""
        states = [state_of(int(task)) for pid in self.workers() for task in os.listdir("/proc/%d/task" % pid)]
        return "R" not in states

    def begun(self):
        """The names of what is slow and has begun, each told once."""
        found = [name for name in os.listdir(self.cwd) if name.startswith("begun-")]
        for name in found:
            os.unlink(os.path.join(self.cwd, name))
        return [name[len("begun-"):] for name in found]

    def full(self):
        now = self.workers()
        return len(now) == self.count and now

    def look(self, workers):
        """Each of them has an agent, which answers, and so has their parent."""
        for pid in (workers + [self.pid] * self.look_at_master) if self.agent else []:
            with connect(self.sockdir, pid) as c:
                assert c.ask("stat")["pid"] == pid
                assert c.ask("census")["objects"] > 1000

    def text(self):
        with open(self.log, errors="backslashreplace") as f:
            return f.read()

    def end(self, sig=signal.SIGTERM, status=(0,)):
        os.kill(self.pid, sig)
        assert self.proc.wait(30) in status, self.text()
        wait_until(lambda: not session(self.pid), what="the server's processes to end")

    def stop(self):
        kill_group(self.pid)
        for pid in session(self.pid):
            kill(pid)
        self.proc.wait(10)
        self.out.close()


@pytest.fixture
def serve(agent, tmp_path):
    """serve(argv, with_agent, sockdir, **options): see Server. Each has a directory of its own."""
    started = []

    def start(argv, with_agent, sockdir, **keys):
        home = tmp_path / ("agent" if with_agent else "plain")
        home.mkdir()
        for name, source in SOURCES.items():
            (home / name).write_text(source)
        started.append(Server(argv, str(home), sockdir, agent if with_agent else None, **keys))
        return started[-1]
    yield start
    for each in started:
        each.stop()


class Misfortune:
    """
    Something that happens to a server: a signal to one worker or to the master, or a file that is touched (again
    and again by one who insists: a reloader compares with what it saw when it first looked).
    """

    def __init__(self, sig=None, master=False, touch=None, insist=False, amid=Load.going_on):
        self.sig, self.master, self.touch, self.insist, self.amid = sig, master, touch, insist, amid

    def strike(self, server, victim):
        if self.touch:
            os.utime(os.path.join(server.cwd, self.touch))
        else:
            os.kill(server.pid if self.master else victim, self.sig)

    def __repr__(self):
        return self.touch or "%s to %s" % (self.sig.name, "the master" if self.master else "a worker")

    def wait_for_end(self, server, before, victim):
        """Until those that it was meant for have ended."""
        gone = set(before) if self.master or self.touch else {victim}

        def ended():
            over = not gone & set(children_of(server.pid))
            if self.insist and not over:
                self.strike(server, victim)
            return over
        wait_until(ended, 60, "the end of %s, %s" % (gone, self), interval=.1)


def reports_of(load, pids):
    """
    What each of these workers says of itself while no other request is under way: of five answers the one with the
    fewest descriptors, and the lowest, since the server may still be closing the connection before.
    """
    found = collections.defaultdict(list)
    with load.held():
        def all_seen():
            answer = load.ask()
            if answer:
                found[answer.pop("pid")].append(answer)
            return all(len(found[pid]) >= 5 for pid in pids)
        wait_until(all_seen, 60, "five answers from each of %s" % pids, interval=.001)
    return [min(found[pid], key=lambda answer: (len(answer["fds"]), answer["fds"])) for pid in pids]


def unnumbered(report):
    """Without what depends on how many workers there were, for a moment, when this one began."""
    return dict(report, lowest=None, fds=sorted(kind for _, kind in report["fds"]))


def uncounted(report):
    """Nor what threads of the server's own open and close, each when it gets to it."""
    return dict(report, lowest=None, fds=sorted({kind for _, kind in report["fds"]}))


def all_workers(server, load):
    """A worker that is still starting may not heed a signal yet: when each has answered."""
    pids = sorted(wait_until(server.full, 30, "all workers"))
    wait_until(lambda: all(load.answered[pid] for pid in pids), 30, "each worker to answer")
    return pids


def strike_all(misfortune, sides, i):
    """The same happens to each server at the same time; until those that are struck have ended."""
    struck = []
    with contextlib.ExitStack() as stack:
        for server, load in sides:
            before = all_workers(server, load)
            victim = stack.enter_context(misfortune.amid(load, server)) or before[i % len(before)]
            misfortune.strike(server, victim)
            struck.append((server, before, victim))
        for each in struck:
            misfortune.wait_for_end(*each)


def endure(misfortunes, exact=True):
    """
    The scenario of servers under load that are struck REFORKS times, each time back to their number of workers. Not
    exact: they have threads of their own that open and close descriptors.
    """
    def scenario(sides):
        first = [reports_of(load, all_workers(server, load)) for server, load in sides]
        for i in range(REFORKS):
            misfortune = misfortunes[i % len(misfortunes)]
            strike_all(misfortune, sides, i)
            for server, _ in sides:
                server.look(wait_until(server.full, 60, "new workers after %s" % misfortune))
        for server, _ in sides:
            wait_until(lambda pid=server.pid: "Z" not in session(pid).values(), what="no zombies")
        last = [reports_of(load, all_workers(server, load)) for server, load in sides]
        if exact:
            return [a + [unnumbered(r) for r in b] for a, b in zip(first, last)]
        return [[uncounted(r) for r in a + b] for a, b in zip(first, last)]
    return scenario


def answers(load):
    try:
        return load.ask()
    except (OSError, http.client.HTTPException):
        return None


def nothing_is_left(cli, sockdir):
    """No socket, once `ps` has tidied up after those who were killed."""
    assert cli("ps", "--json").status == 0 and os.listdir(sockdir) == []


def compare(serve, sockdir, cli, argv, scenario, patient=False, **keys):
    """
    Without and with the agent: scenario([(server, load), ...]) gives for each what its workers see of themselves.
    Nothing may be lost, nothing differ, nothing stay behind.
    """
    sides = []
    for with_agent in (False, True):
        port = free_port()
        server = serve([a.replace("PORT", str(port)) for a in argv], with_agent, sockdir, **keys)
        sides.append((server, Load("http://127.0.0.1:%d/" % port, patient=patient)))
    with contextlib.ExitStack() as stack:
        for _, load in sides:
            wait_until(lambda load=load: answers(load), 30, "the server to answer")
            stack.enter_context(load)
        plain, under = scenario(sides)
    assert [load.lost for _, load in sides] == [[], []]
    for server, _ in sides:
        server.end()
        assert "Traceback" not in server.text() and "Warning" not in server.text(), server.text()
    for a, b in zip(under, plain):
        assert {k: (a[k], b[k]) for k in a if a[k] != b[k]} == {}
    nothing_is_left(cli, sockdir)


GUNICORN = {
    "sync": ("gunicorn", "wsgi:application", []),
    "gthread": ("gunicorn", "wsgi:application", ["-k", "gthread", "--threads", "3"]),
    "gevent": ("gevent", "wsgi:application", ["-k", "gevent"]),
    "aiohttp": ("aiohttp", "aio:application", ["-k", "aiohttp.GunicornWebWorker"]),
    "uvicorn": ("uvicorn", "asgi:application", ["-k", "uvicorn.workers.UvicornWorker"]),
}


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("kind", sorted(GUNICORN))
def test_gunicorn(serve, sockdir, cli, kind):
    module, app, flags = GUNICORN[kind]
    need(module, program="gunicorn")
    argv = ["gunicorn", "-w", "2", "-b", "127.0.0.1:PORT", "--timeout", "120", "--graceful-timeout", "120"]
    # These end by closing all connections of which they have read no request, though they accepted them.
    amid = Load.one_inside if kind in ("aiohttp", "uvicorn") else Load.going_on
    compare(serve, sockdir, cli, argv + flags + [app],
            endure([Misfortune(signal.SIGTERM, amid=amid), Misfortune(signal.SIGKILL, amid=Load.held),
                    Misfortune(signal.SIGHUP, master=True, amid=amid)]))


def test_leak_in_the_workers(serve, sockdir, cli):
    """`ps` has the master and its workers; what leaks is a suspect in both of these, not in the master."""
    need("gunicorn", program="gunicorn")
    port = free_port()
    server = serve(["gunicorn", "-w", "2", "-b", "127.0.0.1:%d" % port, "wsgi:application"], True, sockdir)
    with Load("http://127.0.0.1:%d/leak" % port, patient=True):
        workers = wait_until(server.full, what="two workers")
        wait_until(lambda: all(leaks(cli, pid) for pid in workers), 60, "wsgi.Session to be a suspect in both workers")
    assert not leaks(cli, server.pid)
    agents = json.loads(cli("ps", "--json").stdout)["agents"]
    assert {(a["pid"], a["ppid"]) for a in agents} == {(server.pid, os.getpid())} | {(w, server.pid) for w in workers}
    server.end()
    assert os.listdir(sockdir) == []


def leaks(cli, pid):
    done = cli("suspects", "--json", pid)
    rows = json.loads(done.stdout)["suspects"] if done.status == 0 else []
    return any(r["type"] == "wsgi.Session" and r["confidence"] in ("likely", "confirmed") for r in rows)


UWSGI = {
    "prefork": [],
    "threads": ["--enable-threads", "--threads", "2"],
    "lazy_apps": ["--lazy-apps", "--enable-threads"],
    "lazy_apps_threads": ["--lazy-apps", "--threads", "2"],
}


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("kind", sorted(UWSGI))
def test_uwsgi(serve, sockdir, cli, kind):
    """
    Python comes as a plugin, and forks are not announced to it. Without threads uWSGI lets go of the GIL within
    requests only: its master, which runs no Python, answers nothing.
    """
    need(program="uwsgi")
    if subprocess.run(["uwsgi", "--plugin", "python3", "--version"], stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no uWSGI plugin for Python")
    argv = ["uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:PORT", "--master", "--processes", "2",
            "--need-app", "--die-on-term", "--disable-logging", "--wsgi-file", "wsgi.py", "--touch-reload", "touch",
            "--reload-mercy", "120", "--worker-reload-mercy", "120"] + UWSGI[kind]
    # A worker that the signal finds between accept() and its note of the request exits with the connection (seen without
    # the agent, when accept() itself raises the signal). With threads, the signal's handler joins the others, even where
    # it interrupted the holder of the GIL, for which they wait in the midst of a request.
    threads, amid = "--threads" in argv, Load.one_inside
    compare(serve, sockdir, cli, argv,
            endure([Misfortune(signal.SIGHUP, amid=amid), Misfortune(signal.SIGKILL, amid=Load.held),
                    Misfortune(signal.SIGHUP, master=True, amid=amid), Misfortune(touch="touch", amid=amid)],
                   exact=not threads),
            look_at_master=kind != "prefork", GCSCOPE_WAIT="1")


@pytest.mark.limit(LIMIT)
def test_uvicorn_reloads(serve, sockdir, cli):
    """The worker is spawned, not forked, and inherits the socket."""
    need("uvicorn")
    compare(serve, sockdir, cli, [PYTHON, "-m", "uvicorn", "asgi:application", "--port", "PORT", "--reload",
                                  "--log-level", "warning"],
            endure([Misfortune(touch="asgi.py", insist=True, amid=Load.one_inside)]), workers=1)


def kill_one(sides):
    """The scenario of servers that neither replace their workers nor reap them: the other one goes on."""
    return [kill_one_of(server, load) for server, load in sides]


def kill_one_of(server, load):
    workers = all_workers(server, load)
    with load.held():
        kill(workers[0])
        wait_until(lambda: is_gone(workers[0]))
    before = load.answered[workers[1]]
    wait_until(lambda: load.answered[workers[1]] > before + 100, what="the other worker to answer")
    server.look(workers[1:])
    return reports_of(load, workers[1:])


def test_uvicorn_workers(serve, sockdir, cli):
    need("uvicorn")
    compare(serve, sockdir, cli, [PYTHON, "-m", "uvicorn", "asgi:application", "--port", "PORT", "--workers", "2",
                                  "--log-level", "warning"], kill_one)


@pytest.mark.limit(LIMIT)
def test_django_autoreload(serve, sockdir, cli):
    """The child ends with status 3 when a file changes, and its parent starts it anew."""
    need("django")
    compare(serve, sockdir, cli, [PYTHON, "manage.py", "runserver", "127.0.0.1:PORT"],
            endure([Misfortune(touch="manage.py", insist=True, amid=Load.held)]), workers=1, patient=True)


@pytest.fixture
def redis(tmp_path):
    """A redis-server of our own; its address for Celery."""
    need(program="redis-server")
    path = str(tmp_path / "redis")
    proc = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no",
                             "--dir", str(tmp_path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(path), what="redis-server to listen")
    yield "redis+socket://" + path
    proc.terminate()
    proc.wait(10)


class Tasks:
    """
    Tasks for several workers of Celery at once, each with its client. Not asked for is what Celery itself does not
    always keep: the task of a child that is killed; what Redis is just sending to a worker that restarts.
    """

    def __init__(self, sides):
        self.sides, self.servers = sides, [server for _, server in sides]

    @staticmethod
    def send(client, numbers, **keys):
        return [client.send_task("tasks.work", [n], keys) for n in numbers]

    def ask(self, numbers):
        return [self.send(client, numbers) for client, _ in self.sides]

    @staticmethod
    def done(asked):
        return [[a.get(timeout=60)[0] for a in each] for each in asked]

    def kill_children(self, i):
        """One of each worker, and nothing is to be done until it was reaped. What was asked for: nothing."""
        for server in self.servers:
            victim = wait_until(server.full, 30, "all workers")[i % 2]
            kill(victim)
            wait_until(lambda: victim not in children_of(server.pid), what="the child to be reaped")
        return []

    def restart(self, _i):
        """
        While two tasks are under way, as many as it takes at once, so that it waits for none of the others: they end
        when it has heard the signal. What was asked for.
        """
        asked = []
        for client, server in self.sides:
            go_on, begun = os.path.join(server.cwd, "go-on"), set()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(go_on)
            slow = self.send(client, [4, 5], slow=True)
            asked.append(slow + self.send(client, range(6, 12)))
            wait_until(lambda: begun.update(server.begun()) or begun.issuperset(a.id for a in slow), 60,
                       "two tasks to begin")
            heard = server.text().count("Restarting")
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: server.text().count("Restarting") > heard, what="the signal to be heard")
            open(go_on, "w").close()
        return [asked]

    @staticmethod
    def has_agents(server):
        """False when a child had done its three tasks meanwhile."""
        pids = wait_until(server.full, 30, "all workers")
        try:
            server.look(pids)
        except (Gone, AssertionError):
            if not any(map(is_gone, pids)):
                raise
            return False
        return True

    def round(self, i):
        """Before, while and after each misfortune all are done, by five children or more."""
        done = [self.done(self.ask(range(4)))]
        asked = self.restart(i) if i % 2 else self.kill_children(i)
        asked.append(self.ask(range(12 if asked else 4, 16)))
        done += map(self.done, asked)
        assert [sum(each, []) for each in zip(*done)] == [list(range(16)) for _ in self.sides]
        for server in self.servers:
            wait_until(lambda: self.has_agents(server), what="an agent in each process")


@pytest.mark.limit(LIMIT)
def test_celery(serve, sockdir, cli, redis):
    """Prefork, where each child does three tasks only; and exec() from an atexit hook."""
    need("celery", "redis", program="celery")
    celery = pytest.importorskip("celery")
    sides = []
    for with_agent in (False, True):
        database = "%s?virtual_host=%d" % (redis, with_agent)
        sides.append((celery.Celery(broker=database, backend=database),
                      serve([PYTHON, shutil.which("celery"), "-A", "tasks", "worker", "-P", "prefork", "-c", "2",
                             "--max-tasks-per-child", "3", "-l", "INFO"], with_agent, sockdir, REDIS=database)))
    tasks = Tasks(sides)
    for i in range(max(2, REFORKS // 5)):  # in each, five children are forked anew
        tasks.round(i)
    for _, server in sides:
        server.end()
    nothing_is_left(cli, sockdir)
    gc.collect()  # results talk to Redis when they are deleted, and stand in cycles
    for client, _ in sides:
        client.close()
