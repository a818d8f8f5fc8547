# SPDX-License-Identifier: Apache-2.0
"""
Guards against type names that are stale (the type died and another took its address), wrong (nested,
renamed, moved classes), or got by running the program's own code (a metaclass's __name__ property), and
against names that break what reads them (control characters, invalid UTF-8, endless ones).
"""
import json
import re

import pytest

from conftest import wait_until


def ours(t, mark):
    """{name: count} of the census, types whose name matches mark."""
    return {name: n for name, (n, _) in t.census().items() if n and re.search(mark, name)}


def test_plain_names(python, target):
    t = target(python, '''
import collections, enum, types
class A:
    class B:
        class C: pass
    def method(self):
        class D: pass
        return D()
keep = [A(), A.B(), A.B.C(), A().method(), types.SimpleNamespace(x=[]), collections.OrderedDict(a=[]),
        collections.defaultdict(list), collections.deque([[]]), (i for i in range(3)), Exception([]), A().method]
''')
    got = t.census()
    for name in ("__main__.A.B", "__main__.A.B.C", "__main__.A.method.<locals>.D", "types.SimpleNamespace",
                 "collections.OrderedDict", "collections.defaultdict", "collections.deque", "generator", "function",
                 "type", "dict", "module", "__main__.A"):
        assert name in got, (name, sorted(got))
    assert not [n for n in got if n.startswith("builtins.")]
    assert "Exception" in got


HOSTILE = '''
ran = []
class Meta(type):
    @property
    def __name__(cls): ran.append("__name__"); return "wrong"
    @property
    def __module__(cls): ran.append("__module__"); return "wrong"
    def __getattribute__(cls, name): ran.append(name); return type.__getattribute__(cls, name)
    def __instancecheck__(cls, x): ran.append("instancecheck"); return False
    def __eq__(cls, other): ran.append("eq"); return True
    def __hash__(cls): ran.append("hash"); return 1

class Hostile(metaclass=Meta):
    def __init__(self): object.__setattr__(self, "items", [self])
    def __getattribute__(self, name): ran.append(name); raise RuntimeError
    def __sizeof__(self): ran.append("sizeof"); return 1
    def __len__(self): ran.append("len"); return -1
    def __repr__(self): ran.append("repr"); return 5
    def __eq__(self, other): ran.append("eq"); raise RuntimeError
    def __hash__(self): ran.append("hash"); raise RuntimeError

class Str(str):
    def __eq__(self, other): ran.append("str eq"); return True
    def __hash__(self): ran.append("str hash"); return 0

class Twin(str):
    """Found where a str of the same text is looked up, if __eq__ says so."""
    __hash__ = str.__hash__
    def __eq__(self, other): ran.append("twin eq"); return str.__eq__(self, other)

class Dict(dict):
    def __getitem__(self, k): ran.append("getitem"); return "wrong"
    def get(self, k, d=None): ran.append("get"); return "wrong"
    def __missing__(self, k): ran.append("missing"); return "wrong"
    def __sizeof__(self): ran.append("dict sizeof"); return 1

class ListSub(list):
    def __sizeof__(self): ran.append("list sizeof"); return 1

Odd = Meta("Odd", (), {"__module__": 5})
Odd2 = type("Odd2", (), {"__module__": Str("mod")})
Odd3 = type("Odd3", (), {"__module__": None, "__qualname__": Str("qual.Odd3")})
Odd4 = type("Odd4", (), {"__module__": property(lambda c: ran.append("property"))})
Odd5 = type("Odd5", (), Dict(__module__="m5"))
Odd6 = eval("type('Odd6', (), {})", {})
Odd7 = type("Odd7", (), {Str("__module__"): "m7"})
Odd8 = type("Odd8", (), {Twin("__module__"): "m8"})
keep = [Hostile() for _ in range(50)] + [Odd() for _ in range(3)] + [Odd2(), Odd3(), Odd4(), Odd5(), Odd6(), Odd7(), Odd8()]
keep += [Dict(a=[]), ListSub([[]])]
ran.clear()
'''


def test_no_python_code_runs(python, target):
    t = target(python, HOSTILE, GCSCOPE_INTERVAL="0.02", GCSCOPE_CYCLES="all")
    n = t.censuses()
    wait_until(lambda: t.censuses() > n + 5, what="five censuses")
    got = t.census()
    for verb in ("suspects", "stat", "info", "collect"):
        t.ask(verb)
    t.exec("import gc\nfor c in Hostile, Odd, Odd8:\n    x = c(); object.__setattr__(x, 'me', x)\ndel x; gc.collect()")
    assert t.eval("ran") == []
    assert got["__main__.Hostile"][0] == 50
    odd = {name: n for name, (n, _) in got.items() if "Odd" in name}
    assert sum(n for n in odd.values()) == 10, odd
    assert "wrong" not in str(sorted(got))
    assert any(name.endswith("Odd6") for name in odd)


STRANGE = ["evil\x1b[31m", "new\nline", "quote\"\\", "tab\tspace name", "\x9b1m", "\u202egnp.exe", "\u00e9\u4e2d\U0001f600",
           "\x7f\x01\x02", "x" * 5000, "\u0301combining", " ", "%41", "a=b c=d"]


def test_strange_names(python, target):
    """Any string can be a class's name: JSON stays JSON, text never carries a control character."""
    t = target(python, "import json\nkeep = []\n")
    t.exec("for name in json.loads(%r):\n    t = type(name, (), {'__module__': 'odd'})\n"
           "    keep.extend(t() for _ in range(200))" % json.dumps(STRANGE))
    t.exec("keep.extend(type('n', (), {'__module__': 'odd', '__qualname__': '\\ud800lone'})() for _ in range(1))\n"
           "keep.extend(type(keep[-1])() for _ in range(199))")
    t.exec("t = type('n', (), {'__module__': '\\x1b]0;title\\x07odd'})\nkeep.extend(t() for _ in range(200))")
    got = ours(t, "odd")
    for name in STRANGE:
        if len(name) < 100:
            assert "odd." + name in got, (name, sorted(got))
    assert all(len(n.encode("utf-8", "replace")) <= 203 for n in got)
    assert [n for n in got if n.startswith("odd.xxxx") and n.endswith("...")]
    assert all(n == 200 for n in got.values()), got
    text = t.cli("census", "-n", "0").stdout
    assert b"odd." in text
    assert not [c for c in text.decode("utf-8") if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e"]
    assert t.cli("census", "--json")["schema"] == "gcscope.census/1"
    answer = t.ask("history", type="odd.%41")
    assert "error" not in answer, "a type's name is decoded once"


def test_names_that_are_no_text(python, target):
    """
    A lone surrogate has no UTF-8: it is shown as Python shows it, and no exception is made, which as a collected
    object starts a collection, with the program's finalizers, on the agent's thread.
    """
    t = target(python, """
import gc, threading
main, elsewhere, keep, refused = threading.get_ident(), [], [], []
def note(phase, info):
    if threading.get_ident() != main: elsewhere.append(phase)
gc.callbacks.append(note)
def strict(error): refused.append(str(error)); raise error
import codecs
codecs.register_error("strict", strict)
def more(n):
    gc.set_threshold(1)
    for i in range(n):
        keep.append(type("C", (), {"__module__": "odd", "__qualname__": "lone\\udc80%d" % i})())
""", GCSCOPE_INTERVAL="0.02", GCSCOPE_BUDGET="100", GCSCOPE_CYCLES="all")
    for _ in range(5):
        n = t.censuses()
        t.exec("more(300)")
        wait_until(lambda: t.censuses() > n + 2, what="two censuses")
    got = t.census()
    assert got["odd.lone\\udc800"][0] == 5, sorted(got)
    assert t.eval("refused") == [] and t.eval("elsewhere") == []


def test_names_are_left_as_they_are(python, target):
    """No string of the program grows by a copy in UTF-8: its size is to be seen, and the page is the target's own."""
    t = target(python, """
import gc, sys
source = "class \u00d6:\\n  def \u00fc(self): gc.collect(0); return sys._getframe().f_code"
strings = []
def make(file, module):
    space = dict(globals(), __name__=module)
    exec(compile(source, file, "exec"), space)
    o = space["\u00d6"](); o.me = o
    strings.extend([o.\u00fc().co_filename, type(o).__qualname__, type(o).__module__, type(o).__qualname__])
    return o
sizes = lambda: [sys.getsizeof(s) for s in strings]
""", GCSCOPE_INTERVAL="0.02", GCSCOPE_CYCLES="all")
    t.exec("gc.disable()\nkeep = [make('/\u00e9/%d.py' % i, 'm\u00e9%d' % i) for i in range(20)]\nbefore = sizes()")
    n = t.censuses()
    wait_until(lambda: t.censuses() > n + 2, what="two censuses")
    t.exec("[make('/\u00e9.py', 'm\u00e9') for _ in range(20)]\ndel strings[80:]; keep[0].\u00fc(); gc.collect()")
    assert "m\u00e90.\u00d6" in t.census()
    assert t.eval("before") == t.eval("sizes()")


def test_renamed_class(python, target):
    """A name that was cached must not outlive a change of __name__, __qualname__ or __module__."""
    t = target(python, "class First: pass\nkeep = [First() for _ in range(77)]\nC = First\n")
    assert ours(t, "First") == {"__main__.First": 77}
    t.exec("C.__qualname__ = 'Second'")
    assert ours(t, "First") == {} and ours(t, "Second") == {"__main__.Second": 77}
    t.exec("C.__module__ = 'moved'")
    assert ours(t, "Second") == {"moved.Second": 77}
    t.exec("C.__module__ = 'moved.again'; C.__qualname__ = 'Third'")
    assert ours(t, "Third") == {"moved.again.Third": 77}


@pytest.mark.limit(120)
def test_address_reused(python, target):
    """Types die and others are made where they were: each census names the living, and only them."""
    t = target(python, """
import gc
gc.disable()
def make(i):
    global keep, cls
    keep = cls = None
    gc.collect()
    cls = type('Gen%dx%s' % (i, 'y' * (i % 3)), (), {'__module__': 'mod%d' % (i % 7), '__qualname__': 'Q%d.R' % i})
    keep = [cls() for _ in range(50 + i)]
    addresses.add(id(cls))
addresses = set()
""")
    for i in range(60):
        t.exec("make(%d)" % i)
        assert ours(t, r"^mod\d+\.Q") == {"mod%d.Q%d.R" % (i % 7, i): 50 + i}
    assert t.eval("len(addresses)") < 55, "this test needs addresses that are reused"


def test_address_reused_within_one_name_string(python, target):
    """As above, where the strings of the names share addresses too, and the types one shape."""
    t = target(python, """
import gc
gc.disable()
def make(i):
    global keep
    keep = None
    gc.collect()
    name = 'N%04d' % i
    keep = [type(name, (), {'__module__': 'n'})() for _ in range(20)]
""")
    for i in range(40):
        t.exec("make(%d)" % i)
        assert ours(t, r"^n\.N") == {"n.N%04d" % i: 20}


def test_types_are_not_kept_alive(python, target):
    t = target(python, """
import gc, weakref
refs = []
for i in range(50):
    c = type('Short%d' % i, (), {})
    refs.append(weakref.ref(c))
    keep = [c() for _ in range(10)]
""")
    t.census()
    t.exec("c = keep = None; gc.collect()")
    assert t.eval("sum(r() is not None for r in refs)") == 0
    t.census()


@pytest.mark.limit(120)
def test_three_thousand_types(python, target):
    t = target(python, "keep = []\n", GCSCOPE_INTERVAL="0.1")
    t.exec("for i in range(3000):\n    keep.append(type('T%d' % i, (), {'__module__': 'many'})())\n"
           "    keep.extend(type(keep[-1])() for _ in range(i % 3))", timeout=40)
    answer = t.ask("census", limit=0)
    got = {x["type"]: x["count"] for x in answer["types"]}
    for i in range(3000):
        assert got.get("many.T%d" % i) == 1 + i % 3, (i, got.get("many.T%d" % i), len(got))
    assert answer["dropped_types"] == 0
    t.exec("del keep[:]; import gc; gc.collect()")
    assert ours(t, "^many") == {}
    assert t.ask("stat")["agent"]["memory_bytes"] <= 16 << 20


@pytest.mark.limit(120)
def test_types_come_and_go_during_censuses(python, run):
    """A process that makes and drops classes all the time while censuses walk: it must simply live."""
    done = run(python, """
import gc, threading, time
end = time.monotonic() + 1.5
def make():
    i = 0
    while time.monotonic() < end:
        i += 1
        keep = [type('C%d' % i, (), {'__module__': 'm%d' % i, 'x': []})() for _ in range(50)]
        type(keep[0]).__qualname__ = 'changed%d' % i
        if i % 20 == 0: gc.collect(i % 3)
ts = [threading.Thread(target=make) for _ in range(2)]
[t.start() for t in ts]; [t.join() for t in ts]
print('end')
""", GCSCOPE_INTERVAL="0.01", GCSCOPE_BUDGET="100", timeout=40)
    assert (done.status, done.stdout, done.stderr) == (0, b"end\n", b"")
