# SPDX-License-Identifier: Apache-2.0
"""A small shop: sign in, look at a profile, put things in a basket, export the orders; all of it is audited."""
import functools
import itertools
import logging

from flask import Flask, jsonify, request

app = Flask(__name__)
log = logging.getLogger("shop.export")
log.setLevel(logging.INFO)
log.addHandler(logging.NullHandler())

# ---- the audit of each request ----

class LineFilter:
    """Cuts what it is fed into lines, and calls back with each."""

    def __init__(self, callback):
        self._callback = callback

    def feed(self, text):
        for line in text.splitlines():
            self._callback(line)


class Audit:
    """One request, line by line. It refers to its filter and that to it: it stays until the collector comes."""

    def __init__(self):
        self.buffer = bytearray(64 * 1024)
        self.fields = []
        self._filter = LineFilter(self.on_line)

    def on_line(self, line):
        self.fields.append(line.split("=", 1))

    def note(self, environ):
        self._filter.feed("\n".join("%s=%s" % field for field in environ.items()))


@app.before_request
def audit():
    Audit().note(request.environ)


# ---- sessions ----

_numbers = itertools.count(1)
_sessions = {}


class Session:
    def __init__(self, user):
        self.number = next(_numbers)
        self.user = user
        self.basket = []


@app.route("/login/<user>")
def login(user):
    session = Session(user)
    _sessions[session.number] = session
    return jsonify(session=session.number)


# ---- profiles ----

class Profile:
    def __init__(self, user):
        self.user = user
        self.preferences = {"language": "en", "newsletter": [user]}


@functools.lru_cache(maxsize=24)
def load_profile(user):
    return Profile(user)


@app.route("/profile/<user>")
def profile(user):
    return jsonify(load_profile(user).preferences)


# ---- orders, written in batches ----

class Order:
    def __init__(self, item):
        self.item = item
        self.lines = [item]


class Writer:
    BATCH = 16

    def __init__(self):
        self.waiting = []
        self.written = 0

    def add(self, order):
        self.waiting.append(order)
        if len(self.waiting) >= self.BATCH:
            self.written += len(self.waiting)
            self.waiting.clear()


writer = Writer()


@app.route("/order/<item>")
def order(item):
    writer.add(Order(item))
    return jsonify(waiting=len(writer.waiting), written=writer.written)


# ---- exports ----

class Export:
    """Writes the orders as text; names of customers must not reach the log while it does."""

    def __init__(self, customer):
        self.customer = customer
        self.buffer = bytearray(256 * 1024)

    def redact(self, record):
        record.msg = str(record.msg).replace(self.customer, "***")
        return True

    def run(self):
        log.addFilter(self.redact)
        log.info("export for %s begins", self.customer)
        text = b"item;count\n"
        self.buffer[:len(text)] = text
        return len(text)


@app.route("/export/<customer>")
def export(customer):
    return jsonify(bytes=Export(customer).run())
