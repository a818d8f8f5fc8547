# SPDX-License-Identifier: Apache-2.0
"""A stand-in for an agent, for testing the command line against peers good and bad.

    fake_agent.py DIR MODE

makes the socket of its own process in DIR, prints `ready`, and serves until it is killed. Every mode but
`good` breaks the protocol in one way, at the hello (`hello-*`) or at the first answer; `random-SEED` gives
answers of the right schema in which values are replaced by others.
"""
import json
import os
import random
import socket
import sys
import threading
import time
import urllib.parse

NASTY = "app.\x1b]0;pwned\x07\x1b[31m\u202egnp\u2066\x9b2J\nNext\u200b\u2028 x"
HUGE = "app.\x1b[2J\u6f22" * 200_000
GRADES = ("confirmed", "likely", "watch")


def start_time():
    with open("/proc/self/stat") as f:
        return int(f.read().rpartition(")")[2].split()[19])


class Model:
    """A program with a leak, a cache and noise, as functions of the time since the start."""

    def __init__(self):
        self.began = time.monotonic()
        self.cycles_asked = 0

    def up(self):
        return time.monotonic() - self.began

    def types(self, nasty=False):
        t = self.up()
        rows = [
            ("dict", 41200 + random.randrange(200), 232, 0.0),
            ("app.Session", int(900 + 9.8 * t), 56, 9.8),
            ("list", 20110, 88, None),
            ("app.Cache.Entry", 1024, 64, 0.0),
            ("app.\u6f22\u5b57.Gr\u00f6\u00dfe", 77, 1024, -1.25),
        ]
        if nasty:
            rows.append((NASTY, 999999, 64, 1.0))
        rows += [("app.models.Model%03d" % i, 300 - i, 48, None) for i in range(200)]
        return [{"type": n, "count": c, "bytes": c * b, "growth_per_s": g} for n, c, b, g in rows]

    def suspect(self, grade="confirmed", name="app.Session"):
        n = int(900 + 9.8 * self.up())
        return {
            "type": name, "count": n, "bytes": n * 56, "growth_per_s": 9.8, "bytes_per_s": 548.8,
            "confidence": grade, "first_seen": "2026-11-20T07:30:01Z", "fingerprint": "0123456789abcdef",
            "evidence": {"samples": 40, "span_s": 400.0, "min_first": 10, "min_last": 870, "rising": 8,
                         "blocks": 8, "full_collections": 2, "sampled": 0, "garbage": 0, "by": "count"},
            "path": None, "sites": None, "advice": None,
        }


    def cycle(self, number, text, remedy=None):
        n = int((900 + 9.8 * self.up()) / (number + 1))
        return {
            "fingerprint": "%016x" % number, "types": [text.split(".")[0], "method"], "text": text, "size": 3, "count": n,
            "objects": 4 * n, "bytes": 65700 * n, "seen": n, "finalizer": False, "created_at": None,
            "collected_at": "app.py:%d" % (30 + number), "advice": remedy and {"kind": "bound_method", "text": remedy},
            "first_seen": "2026-11-20T07:30:01Z", "last_seen": "2026-11-20T07:31:01Z",
        }

    def cycles(self, nasty=False):
        """Most objects first. The nasty ones: all that steers a terminal, and a text of two megabytes."""
        rows = [self.cycle(1, NASTY, NASTY), self.cycle(2, HUGE, HUGE)] if nasty else []
        rows.append(self.cycle(3, "app.Audit._filter -> app.LineFilter._callback -> method.__self__ -> app.Audit",
                               "app.LineFilter._callback holds a bound method of app.Audit: keep weakref.WeakMethod"))
        return rows + [self.cycle(4 + i, "app.models.Node%03d.parent -> app.models.Node%03d" % (i, i)) for i in range(80)]


def quantiles(scale):
    return {"sum": 900 * scale, "p50": 3 * scale, "p90": 8 * scale, "p99": 20 * scale, "max": 41 * scale}


ODD = [None, True, False, -1, 0, 1e308, -1e308, 2 ** 62, 0.5, "", "x" * 5000, NASTY, [], {}, [[]], [None, 1, "a", {}], {"a": {"b": []}}]


def scramble(value, rng):
    """The same shape, with some of it replaced, missing or repeated."""
    if rng.random() < .06:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return {k: scramble(v, rng) for k, v in value.items() if rng.random() > .03}
    if isinstance(value, list):
        return [scramble(v, rng) for v in value[:20]] * rng.choice([1, 1, 1, 0, 3])
    return value


class Peer:
    """One connection. Each answer goes through a method that a mode may replace."""

    def __init__(self, conn, model, mode):
        self.conn, self.model, self.mode = conn, model, mode
        self.buf = b""
        self.asked = None
        self.rng = random.Random(mode)

    def raw(self, data):
        self.conn.sendall(data)

    def put(self, schema, body, pid=None):
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".123Z"
        head = {"schema": schema, "pid": pid or os.getpid(), "time": now}
        if self.mode.startswith("random-") and schema != "gcscope.hello/1":
            body = {k: scramble(v, self.rng) for k, v in body.items()}
        self.raw(json.dumps({**head, **body}).encode() + b"\n")

    def request(self):
        while b"\n" not in self.buf:
            data = self.conn.recv(65536)
            if not data:
                return None
            self.buf += data
        line, _, self.buf = self.buf.partition(b"\n")
        verb, *pairs = line.decode().split(" ")
        return verb, {k: urllib.parse.unquote(v) for k, v in (p.split("=", 1) for p in pairs)}

    def hello(self):
        version = 99 if self.mode == "hello-protocol" else 1
        pid = 1 if self.mode == "hello-pid" else None
        self.put("gcscope.hello/1", {"protocol": version, "version": "0.1.0", "python": "3.11.2"}, pid)

    def serve(self):
        if self.mode.startswith("hello-") and self.misbehave(self.mode[6:]):
            return
        self.hello()
        while True:
            r = self.request()
            self.asked = r and r[0]
            if r is None or self.misbehave(self.mode):
                return
            getattr(self, "verb_" + r[0], self.unknown)(r[1])

    def misbehave(self, mode):
        """True when the mode is about what is said next, and has been acted out."""
        lines = {
            "garbage": bytes(range(256)) * 64 + b"\n",
            "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "array": b"[1,2,3]\n",
            "noschema": b'{"pid":1}\n',
            "oddschema": b'{"schema":5}\n',
            "wrongschema": b'{"schema":"gcscope.teapot/1","pid":1}\n',
            "nul": b'{"schema":"gcscope.stat/1","x":"a\\u0000b"}\n',
            "badutf8": b'{"schema":"gcscope.stat/1","x":"\xff\xfe"}\n',
            "deep": b'{"schema":"gcscope.stat/1","x":' + b"[" * 100000 + b"]" * 100000 + b"}\n",
            "bignum": b'{"schema":"gcscope.stat/1","pid":' + b"9" * 400 + b"}\n",
            "empty": b"\n\n\n",
            "half": b'{"schema":"gcscope.stat/1","pid":1,"ti',
            "early": b"",
        }
        if mode in lines:
            self.raw(lines[mode])
            return True
        if mode == "huge":
            # As long as a line may be, and nothing but rows.
            for key in ("types", "objects", "cycles", "suspects"):
                body = '{"schema":"gcscope.%s/1","pid":1,"length":9,"samples":99,"%s":[%s{}]}\n'
                if self.asked == {"types": "census", "objects": "garbage"}.get(key, key):
                    self.raw((body % (self.asked, key, "{}," * ((16 << 20) // 3 - 60))).encode())
                    return True
        if mode == "endless":
            while True:
                self.raw(b"x" * 65536)
        if mode == "exit":
            os._exit(0)
        if mode == "silent":
            time.sleep(600)
        if mode == "drip":
            while True:
                self.raw(b" ")
                time.sleep(0.05)
        return False

    def unknown(self, keys):
        self.error("unknown_verb", "no such verb")

    def error(self, code, message):
        self.put("gcscope.error/1", {"error": {"code": code, "message": message}})

    def verb_info(self, keys):
        self.put("gcscope.info/1", {
            "ppid": os.getppid(), "python": "3.11.2", "uptime_s": self.model.up(), "rss_bytes": 126_353_408,
            "objects": 1_234_567, "suspects": 2, "command": "python3 app.py --port 8000 " + (
                NASTY if self.mode == "nasty" else "")})

    def verb_stat(self, keys):
        if self.mode == "oddtypes":
            return self.put("gcscope.stat/1", {"python": 5, "gc": [], "process": None, "agent": "x"})
        if self.mode == "unavailable":
            return self.error("unavailable", "the interpreter \x1b[31mhas ended")
        t = self.model.up()
        self.put("gcscope.stat/1", {
            "python": {"version": "3.11.2", "free_threaded": False, "debug": False},
            "gc": {"enabled": True, "thresholds": [700, 10, 10], "counts": [12, 3, 0], "frozen": 0, "garbage": 0,
                   "generations": [
                       {"collections": int(100 * t), "collected": int(900 * t), "uncollectable": 0,
                        "pause_ns": quantiles(10_000)},
                       {"collections": int(10 * t), "collected": 1, "uncollectable": 0,
                        "pause_ns": quantiles(100_000)},
                       {"collections": int(t), "collected": 1, "uncollectable": 0,
                        "pause_ns": quantiles(9_000_000)}]},
            "process": {"rss_bytes": 126_353_408, "rss_anon_bytes": 100_000_000, "rss_file_bytes": 26_000_000,
                        "rss_shmem_bytes": 0, "threads": 3, "python_blocks": None},
            "agent": {"version": "0.1.0", "uptime_s": t, "cpu_ns": int(3e6 * t), "gil_held_ns": int(1e6 * t),
                      "max_gil_hold_ns": 900_000, "max_gil_hold_cpu_ns": 800_000, "gil_hold_ns": quantiles(20_000),
                      "budget_percent": 1.0, "interval_s": 0.5, "memory_bytes": 3_200_000,
                      "memory_limit_bytes": 16_777_216, "dropped_events": 0, "clients": 1,
                      "census": {"count": int(2 * t), "objects": 1_234_567, "held_ns": 40_000_000,
                                 "cpu_ns": 41_000_000, "wall_ns": 400_000_000, "slices": 60, "restarts": 0,
                                 "exact": False},
                      "callback_lost": 0, "history": {"bytes": 400_000, "types": 205, "dropped_types": 0},
                      "disabled": [{"feature": "sites", "reason": "GCSCOPE_SITES is off"}]}})

    def verb_census(self, keys):
        if self.mode == "oddtypes":
            return self.put("gcscope.census/1", {"types": {"a": 1}, "objects": "many"})
        rows = self.model.types(self.mode == "nasty")
        key = {"count": "count", "bytes": "bytes", "growth": "growth_per_s"}[keys.get("sort", "count")]
        rows.sort(key=lambda r: r[key] or 0, reverse=True)
        limit = int(keys.get("limit", 0)) or len(rows)
        self.put("gcscope.census/1", {
            "objects": sum(r["count"] for r in rows), "bytes": sum(r["bytes"] for r in rows), "types": rows[:limit],
            "taken_s_ago": 0.2, "exact": False, "frozen": 12, "dropped_types": 0, "unnamed": 0})

    def verb_suspects(self, keys):
        if self.mode == "oddtypes":
            return self.put("gcscope.suspects/1", {"samples": [], "suspects": [1, None, {"type": 5}, {}]})
        grade = self.mode if self.mode in GRADES else "confirmed"
        names = [NASTY if self.mode == "nasty" else "app.Session", "app.\u6f22\u5b57.Gr\u00f6\u00dfe"]
        rows = [] if self.mode in ("young", "calm") else [self.model.suspect(grade, n) for n in names]
        self.put("gcscope.suspects/1", {"samples": 3 if self.mode == "young" else 40, "suspects": rows})

    def verb_cycles(self, keys):
        if self.mode == "oddtypes":
            return self.put("gcscope.cycles/1", {"captured": "x", "estimate": 5, "cycles": [1, None, {"fingerprint": 7}, {}]})
        if self.mode == "unavailable":
            return self.error("unavailable", "cycles is off: GCSCOPE_CYCLES=off \x1b[31m")
        rows = [] if self.mode == "calm" else self.model.cycles(self.mode == "nasty")
        self.model.cycles_asked += 1  # shown, so that a test sees how often this is asked for
        self.put("gcscope.cycles/1", {
            "collections": 400, "captured": self.model.cycles_asked, "skipped": 4, "refused": 0, "estimate": True, "objects": 2827, "unanalysed": 0,
            "partial": 0, "acyclic": 3, "finalized": 0, "legacy": 0, "cycles": rows[:int(keys.get("limit", 0)) or len(rows)],
            "others": {"distinct": 2, "count": 3, "objects": 8, "bytes": 900}})

    def verb_garbage(self, keys):
        if self.mode == "oddtypes":
            return self.put("gcscope.garbage/1", {"length": "x", "types": [1, None, {"type": 5}], "objects": [1, None, {"address": []}]})
        if self.mode == "calm":
            return self.put("gcscope.garbage/1", {"length": 0, "looked_at": 0, "uncollectable": 0, "types": [], "objects": []})
        names = [NASTY if self.mode == "nasty" else "app.Handle", "app.Session"]
        self.put("gcscope.garbage/1", {
            "length": 2, "looked_at": 2, "uncollectable": 1, "types": [{"type": n, "count": 1} for n in names],
            "objects": [{"address": "0x7f%06x" % i, "type": n, "uncollectable": i == 0} for i, n in enumerate(names)]})

    def verb_collect(self, keys):
        self.put("gcscope.collect/1", {"generation": int(keys.get("generation", 2)), "collected": 10,
                                       "uncollectable": 0, "pause_ns": 12_345_678})

    def verb_history(self, keys):
        n = int(self.model.up() * 4) + 1
        self.put("gcscope.history/1", {"type": keys["type"], "points": [
            [60 - i * 0.25, 900 + i * 3 + (i % 7) * 5, 50400 + i * 168] for i in range(min(n + 60, 240))]})

    def verb_unsubscribe(self, keys):
        self.put("gcscope.subscribed/1", {"topics": []})

    def verb_subscribe(self, keys):
        topics = keys["topics"].split(",")
        self.put("gcscope.subscribed/1", {"topics": topics})
        if self.mode == "quiet":
            return
        if self.mode == "flood":
            while True:
                self.event(topics)
        if self.mode == "ends":
            self.event(topics)
            os._exit(0)
        if self.mode == "closes":
            self.event(topics)
            self.conn.shutdown(socket.SHUT_RDWR)
            return
        if self.mode == "badevent":
            self.event(topics)
            self.raw(b"\x00\x01\x02\n")
        while True:
            self.event(topics)
            time.sleep(0.1)

    def event(self, topics):
        if "log" in topics:
            grade = self.mode if self.mode in GRADES else "confirmed"
            row = self.model.suspect(grade, NASTY if self.mode == "nasty" else "app.Session")
            self.put("gcscope.log/1", {"event": "suspect", "new": False, **row})
        if "gc" in topics:
            self.put("gcscope.events/1", {"event": "gc", "generation": 0, "pause_ns": 123456, "collected": 5,
                                          "uncollectable": 0, "thread": 77, "at": "app.py:12"})
        if "cycles" in topics:
            row = self.model.cycle(1, NASTY if self.mode == "nasty" else "app.Node.parent -> app.Node")
            self.put("gcscope.events/1", {"event": "cycle", "estimate": True, "new": False, **row})
        if "census" in topics:
            self.put("gcscope.events/1", {"event": "census", "objects": 1000, "bytes": 2000, "held_ns": 3000,
                                          "exact": True, "types": self.model.types()[:10]})


def serve(conn, model, mode):
    try:
        Peer(conn, model, mode).serve()
    except OSError:
        pass
    finally:
        conn.close()


def main():
    directory, mode = sys.argv[1:3]
    path = "%s/%d-%d.sock" % (directory, os.getpid(), start_time())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    if mode == "refuse":
        # Bound, and nobody listens: what an agent's exec() into another program leaves behind.
        print("ready", flush=True)
        time.sleep(600)
    if mode == "late":
        print("ready", flush=True)
        time.sleep(1)
    listener.listen(0 if mode == "full" else 16)
    model = Model()
    print("ready", flush=True)
    if mode == "full":
        time.sleep(600)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn, model, mode), daemon=True).start()


if __name__ == "__main__":
    main()
