# SPDX-License-Identifier: Apache-2.0
"""
Guards against failing on a real preforking service: gunicorn with two workers and Flask, started by nothing
more than the preload. Master and workers each have an agent; a worker that is killed is replaced by one with
an agent; a reload and a clean stop leave nothing behind.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request

import pytest

from conftest import connect, environment, is_gone, kill, wait_until

APP = '''
from flask import Flask
app = Flask(__name__)
KEPT = []
class Session: pass

@app.route("/")
def index():
    KEPT.append(Session())
    return str(len(KEPT))
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def service(agent, sockdir, tmp_path):
    if not shutil.which("gunicorn"):
        pytest.skip("no gunicorn")
    if subprocess.run(["/usr/bin/python3", "-c", "import flask, gunicorn"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no Flask or gunicorn for /usr/bin/python3")
    (tmp_path / "web.py").write_text(APP)
    port = free_port()
    with open(tmp_path / "out", "wb") as out:
        proc = subprocess.Popen(["gunicorn", "-w", "2", "-b", "127.0.0.1:%d" % port, "web:app"], cwd=str(tmp_path), stdout=out,
                                stderr=out, start_new_session=True, env=environment(sockdir, agent, GCSCOPE_INTERVAL="0.1"))
    proc.url = "http://127.0.0.1:%d/" % port
    yield proc
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    proc.wait()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read()
    except OSError:
        return None


def agents(cli):
    done = cli("ps", "--json")
    assert done.status == 0, done
    return {a["pid"]: a for a in json.loads(done.stdout)["agents"]}


def workers(cli, master):
    return {pid for pid, a in agents(cli).items() if a["ppid"] == master}


@pytest.mark.limit(120)
def test_service(service, cli, sockdir, tmp_path):
    wait_until(lambda: get(service.url), what="the service to answer")
    first = wait_until(lambda: len(workers(cli, service.pid)) == 2 and workers(cli, service.pid), what="two workers")
    assert set(agents(cli)) == first | {service.pid}
    for pid in first:
        with connect(sockdir, pid) as c:
            assert c.ask("census")["objects"] > 10000
            assert c.ask("stat")["agent"]["callback_lost"] == 0

    # Both workers serve; the leak is seen in each.
    def leaking():
        for _ in range(20):
            get(service.url)
        found = 0
        for pid in first:
            rows = json.loads(cli("suspects", "--json", pid).stdout)["suspects"]
            found += any(r["type"] == "web.Session" and r["confidence"] in ("likely", "confirmed") for r in rows)
        return found == 2
    wait_until(leaking, timeout=60, what="web.Session to be a suspect in both workers")
    assert "web.Session" not in cli("suspects", service.pid).stdout.decode()

    victim = min(first)
    kill(victim)
    fresh = wait_until(lambda: workers(cli, service.pid) - {victim} - first or None, what="a new worker with an agent")
    assert victim not in agents(cli)
    with connect(sockdir, min(fresh)) as c:
        assert c.ask("info")["ppid"] == service.pid

    os.kill(service.pid, signal.SIGHUP)
    second = wait_until(lambda: not workers(cli, service.pid) & (first | fresh) and len(workers(cli, service.pid)) == 2
                        and workers(cli, service.pid), timeout=30, what="reloaded workers")
    wait_until(lambda: get(service.url), what="the service to answer")

    os.kill(service.pid, signal.SIGTERM)
    assert service.wait(20) == 0
    for pid in second:
        wait_until(lambda: is_gone(pid))
    assert agents(cli) == {}
    text = (tmp_path / "out").read_text()
    assert "Traceback" not in text and "Warning" not in text, text
