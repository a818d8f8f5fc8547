# SPDX-License-Identifier: Apache-2.0
"""C types of the standard library in cycles: asyncio, ctypes, sqlite3, XML, io, threading, decimal, pickle ..."""
import asyncio
import bz2
import concurrent.futures
import csv
import ctypes
import email.message
import functools
import hashlib
import io
import json
import logging
import lzma
import pickle
import queue
import random
import re
import selectors
import socket
import sqlite3
import ssl
import struct
import tempfile
import threading
import xml.dom.minidom
import xml.etree.ElementTree as ElementTree
import xml.parsers.expat
import zlib

from common import Leaf, collect_all_made, maker, say


@maker
def streams(x):
    class Raw(io.RawIOBase):
        def readable(self):
            return True

        def writable(self):
            return True

        def readinto(self, b):
            return 0

        def write(self, b):
            say("written", len(b))
            return len(b)

        def close(self):
            if not self.closed:
                say("close of a raw stream")
            super().close()
    made = []
    for wrap in (io.BufferedReader, io.BufferedWriter):
        raw = Raw()
        raw.x = x
        buffered = wrap(raw)
        buffered.x = x
        made.append(buffered)
        if wrap is io.BufferedWriter:
            buffered.write(b"unflushed")
    text = io.TextIOWrapper(io.BufferedWriter(Raw()))
    text.x = x
    text.write("unflushed text")
    data, string = io.BytesIO(b"x"), io.StringIO("x")
    data.x = string.x = x
    return made + [text, data, string, data.getbuffer(), io.BufferedRWPair(Raw(), Raw())]


@maker
def files(x):
    """Files and sockets that nobody closes: ResourceWarnings, by -X dev."""
    class File(io.FileIO):
        pass
    file = File("/dev/null")
    file.x = x
    opened = open("/dev/null", encoding="utf-8")
    opened.x = x
    temporary = tempfile.TemporaryFile()
    a, b = socket.socketpair()

    class Socket(socket.socket):
        pass
    c = Socket(fileno=a.detach())
    c.x = x
    selector = selectors.SelectSelector()
    selector.register(c, selectors.EVENT_READ, x)
    return [file, opened, temporary, b, c, selector, socket.socket().makefile("rb")]


def c_and_python_futures():
    python = getattr(asyncio.futures, "_PyFuture"), getattr(asyncio.tasks, "_PyTask")
    return (asyncio.Future, asyncio.Task), python


@maker
def futures(x):
    """A future that holds its own exception, a task that waits for ever: the loop's handler hears of both."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, c: say("loop handler", c["message"], repr(c.get("exception"))))
    made = []

    async def wait(future):
        try:
            await future
        finally:
            say("task ends")
    for future_type, task_type in c_and_python_futures():
        plain, pending, cancelled = (future_type(loop=loop) for _ in range(3))
        plain.add_done_callback(functools.partial(say, x))
        error = ValueError("of a future")
        error.future = plain
        plain.set_exception(error)
        cancelled.cancel()
        made += [plain, pending, cancelled, task_type(wait(pending), loop=loop)]
        loop.call_soon(loop.stop)
        loop.run_forever()
    queues = [asyncio.Queue(), asyncio.Event(), asyncio.Lock()]
    queues[0].put_nowait(x)
    loop.close()
    return made + queues + [loop]


@maker
def concurrent_futures(x):
    future = concurrent.futures.Future()
    error = ValueError()
    error.future = future
    future.set_exception(error)
    future.add_done_callback(lambda f: x)
    return [future, concurrent.futures.ThreadPoolExecutor(1)]


@maker
def c_types(x):
    class Structure(ctypes.Structure):
        pass
    Structure._fields_ = [("next", ctypes.POINTER(Structure)), ("object", ctypes.py_object), ("n", ctypes.c_int)]

    class Union(ctypes.Union):
        _fields_ = [("s", ctypes.c_char_p), ("i", ctypes.c_int)]
    one = Structure()
    one.object, one.next = x, ctypes.pointer(one)
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.py_object)(lambda o: id(x) and 0)
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int)
    array = (Structure * 3)(one)
    return [one, callback, prototype, array, Union(s=b"s"), ctypes.cast(ctypes.pointer(one), ctypes.c_void_p),
            ctypes.create_string_buffer(5), ctypes.py_object(x)]


@maker
def c_arguments(x):
    """What byref() returns hides what it holds from the collector, in most versions."""
    number = ctypes.c_int(1)
    number.x = x
    return ctypes.byref(number)


@maker
def databases(x):
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.create_function("f", 1, lambda a, x=x: a)
    connection.create_aggregate("g", 1, type("Aggregate", (), {"x": x, "step": print, "finalize": print}))
    connection.set_trace_callback(lambda statement, x=x: None)
    connection.set_authorizer(lambda *a, x=x: 0)
    connection.row_factory = lambda cursor, row, x=x: (x, row)
    connection.create_collation("c", lambda a, b, x=x: 0)
    cursor = connection.execute("select f(1), ? union select 2, 3", (4,))
    made = [connection, cursor, cursor.fetchone()]
    cursor.close()
    connection.close()
    return made


@maker
def open_databases(x):
    """SQLite holds functions until it is closed, and no collector knows."""
    connection = sqlite3.connect(":memory:")
    connection.create_function("f", 1, lambda a, x=x: a)
    return [connection, connection.execute("select f(1)")]


@maker
def trees(x):
    root = ElementTree.Element("a", {"k": "v"})
    root.append(ElementTree.Element("b"))
    root.text = [x]
    root[0].tail = [root]
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = lambda *a: x
    parser.CharacterDataHandler = lambda *a: parser
    target = ElementTree.XMLParser(target=type("T", (), {"x": x, "start": lambda *a: None, "close": print})())
    pull = ElementTree.XMLPullParser(["start", "end"])
    pull.feed("<a><b>")
    pull.x = x
    document = xml.dom.minidom.parseString("<a><b c='d'>text</b></a>")
    document.x = x
    builder = ElementTree.TreeBuilder(element_factory=lambda *a: x)
    return [root, iter(root), root.iter(), parser, target, pull, document, builder]


@maker
def pickles(x):
    class Pickler(pickle.Pickler):
        pass

    class Unpickler(pickle.Unpickler):
        pass

    class Python(pickle._Pickler):
        pass
    made = [kind(io.BytesIO()) for kind in (Pickler, Unpickler, Python)]
    for each in made:
        each.persistent_id = each.persistent_load = lambda o: x
    made[0].dispatch_table = {Leaf: lambda o: x}
    return made


@maker
def threads(x):
    local, lock, condition = threading.local(), threading.RLock(), threading.Condition()
    local.x = condition.x = x
    thread = threading.Thread(target=lambda: x, args=(x,))
    simple = queue.SimpleQueue()
    simple.put(x)
    plain = queue.Queue()
    plain.put((x, plain))
    timer = threading.Timer(1, print, (x,))
    barrier = threading.Barrier(2, action=lambda: x)
    return [local, lock, condition, thread, simple, plain, timer, threading.Semaphore(), barrier]


@maker
def thread_locals(x):
    """A dictionary of a thread that has ended, and one of a thread that goes on."""
    local = threading.local()

    def fill():
        local.x = (x, local)
    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    fill()
    return local


@maker
def tls(x):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *a: x
    return context


@maker
def tls_connections(x):
    """These hide their context from the collector in some versions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *a: x
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    connection.owner = x
    return [context, connection]


@maker
def various(x):
    class Encoder(json.JSONEncoder):
        def default(self, o):
            return x
    handler = logging.StreamHandler(io.StringIO())
    handler.x = x
    logger = logging.Logger("private")
    logger.addHandler(handler)
    logger.addFilter(lambda record: x)
    message = email.message.EmailMessage()
    message.x = x
    message.set_content("text")
    randomness = random.Random(1)
    randomness.x = x

    class Digest:
        def __init__(self):
            self.h, self.x = hashlib.sha256(), x
    scanner = re.compile("(a)(?P<n>b)").scanner("abab")
    return [Encoder(default=lambda o: x), handler, logger, message, randomness, Digest(), csv.reader([x]),
            csv.writer(io.StringIO()), csv.DictReader([x], fieldnames=[x]), struct.iter_unpack("b", b"ab"),
            zlib.compressobj(), bz2.BZ2Compressor(), lzma.LZMACompressor(), scanner, scanner.match(),
            re.finditer("a", "aa"), json.JSONDecoder(object_hook=lambda o: x).scan_once]


collect_all_made()
