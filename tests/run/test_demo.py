# SPDX-License-Identifier: Apache-2.0
"""
Guards against cycles that are not found, not first, or without the memory that they hold, where it counts: in a
worker of the demo's service, under the default settings. The whole demo is for people, and is not run here.
"""
import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest

from conftest import environment, kill_group, wait_until

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "demo")
CYCLE = "Audit._filter -> LineFilter._callback -> method.__self__ -> Audit"
REMEDY = "LineFilter._callback holds a bound method of Audit: keep weakref.WeakMethod(audit.on_line)"
BUFFER = 64 * 1024


@pytest.fixture
def service(agent, sockdir, tmp_path):
    """gunicorn's master, with .url."""
    if not shutil.which("gunicorn"):
        pytest.skip("no gunicorn")
    if subprocess.run(["/usr/bin/python3", "-c", "import flask, gunicorn"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no Flask or gunicorn for /usr/bin/python3")
    log = tmp_path / "log"
    with open(log, "wb") as out:
        proc = subprocess.Popen(["gunicorn", "--bind", "127.0.0.1:0", "app:app"], cwd=DEMO, stdout=out, stderr=out,
                                start_new_session=True, env=environment(sockdir, agent))
    try:
        proc.url = wait_until(lambda: re.search(r"Listening at: (http://\S+)", log.read_text()), what="the service to listen")[1]
        yield proc
    finally:
        kill_group(proc.pid)
        proc.wait()


def worker_of(cli, master):
    agents = json.loads(cli("ps", "--json").stdout)["agents"]
    return next((a["pid"] for a in agents if a["ppid"] == master), None)


def test_cycle_of_each_request(service, cli):
    worker = wait_until(lambda: worker_of(cli, service.pid), what="an agent in the worker")
    sent = 0

    def first():
        nonlocal sent
        for _ in range(50):
            with urllib.request.urlopen(service.url + "/order/pen", timeout=10) as answer:
                answer.read()
        sent += 50
        rows = json.loads(cli("cycles", "--json", worker).stdout)["cycles"]
        return rows and rows[0]["text"] == CYCLE and rows[0]["count"] >= 100 and rows[0]
    row = wait_until(first, what="the cycle in the first row")
    assert row["seen"] <= sent
    assert row["bytes"] >= row["count"] * BUFFER
    assert {"app.Audit", "app.LineFilter", "method"} <= set(row["types"])
    assert row["advice"]["kind"] == "bound_method" and row["advice"]["text"].startswith(REMEDY)

    lines = cli("cycles", worker).stdout.decode().splitlines()
    head = next(i for i, x in enumerate(lines) if x.startswith("#"))
    number, count, objects, size, unit = lines[head + 1].split()[:5]
    assert number == "1" and lines[head + 1].endswith(" " + CYCLE)
    assert int(count.lstrip("~")) >= row["count"] and int(objects.lstrip("~")) > 3 * row["count"]
    assert unit == "MiB" and (float(size.lstrip("~")) + .5) * 2 ** 20 >= row["count"] * BUFFER
    detail = lines.index("1: " + CYCLE)
    assert lines[detail + 1].startswith("   remedy: " + REMEDY)
