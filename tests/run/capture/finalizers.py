# SPDX-License-Identifier: Apache-2.0
"""
Order of __del__, generators' finally, weakref callbacks and weakref.finalize inside and outside the trash; what
each of these sees; resurrection by each; errors in each.
"""
import gc
import sys
import weakref

from common import Leaf, begin, collect, end, leaf, say, state, watch

back = []


class Node:
    def __init__(self, name, todo=None):
        self.name, self.todo, self.me = name, todo, self

    def __del__(self):
        say("del", self.name, sorted(vars(self)))
        if self.todo:
            self.todo(self)


def ring(names, **keys):
    nodes = [Node(n, **keys) for n in names]
    for a, b in zip(nodes, nodes[1:] + nodes[:1]):
        a.next = b
    return nodes


def fail(node):
    raise RuntimeError("in __del__ of " + node.name)


def look(node):
    say("sees", node.next.name, state(), node.ref() is node, node.next.ref() is node.next)


def generator(name, node):
    try:
        yield node
    finally:
        say("finally", name, state())


def suspended(name):
    holder = Leaf()
    holder.generator = generator(name, holder)
    next(holder.generator)
    watch(holder, name + "'s holder")


def references_within_the_trash():
    a, b = ring("ab")
    a.to_b = weakref.ref(b, lambda _: say("never: its reference is trash too"))
    a.proxy, b.dictionary, b.set = weakref.proxy(b), weakref.WeakKeyDictionary({a: b}), weakref.WeakSet([a, b])
    outer = weakref.WeakValueDictionary(a=a, b=b, c=leaf("value"))
    outer_keys = weakref.WeakKeyDictionary({a: 1, b: 2})
    weakref.finalize(a, say, "finalize a")
    weakref.finalize(b, say, "finalize b").atexit = False
    a.leaf = leaf("hangs on a")
    del a, b
    collect()
    say(len(outer), len(outer_keys))


def callbacks():
    """A callback of the trash sees its referent gone, and may bring back what it closes over itself."""
    a, b = ring("kl")
    held = weakref.ref(a, lambda r: say("callback", r(), len(back), state()))
    again = weakref.ref(a, lambda r: say("younger callback first"))
    strong = Leaf()
    strong.me = strong
    watch(strong, "held by a living callback only")
    other = weakref.ref(b, lambda r, s=strong: back.append(s))
    bad = weakref.ref(b, lambda r: 1 / 0)
    del a, b, strong
    collect()
    say(held(), again(), other(), bad(), len(back))


def resurrection():
    rings = [ring(["r%d" % i, "s%d" % i], todo=[back.append, None][i % 2]) for i in range(4)]
    refs = [weakref.ref(n) for r in rings for n in r]
    outer = [weakref.ref(n, lambda _, name=n.name: say("callback", name)) for r in rings for n in r]
    for r in rings:
        r[0].leaf = leaf("leaf of " + r[0].name)
    del rings, r
    collect()
    say([r() is None for r in refs], [n.name for n in back if isinstance(n, Node)], len(outer), state())
    back.clear()
    collect(0)
    collect()
    say([r() is None for r in refs], state())


def errors():
    ring("xy", todo=fail)
    collect()
    sys.unraisablehook = lambda u: say("hook", u.err_msg, type(u.exc_value), u.object.__qualname__, state())
    ring("zw", todo=fail)
    collect()
    del sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__


def sights():
    for node in ring("mn", todo=look):
        node.ref = weakref.ref(node)
    del node
    collect()


def spawning():
    """A finalizer makes new garbage, takes the ring apart, and asks for a collection."""
    def more(node):
        new = Leaf()
        new.me = new
        watch(new, "made in a finalizer")
        node.next = None
        say("within", gc.collect())
    ring("pq", todo=more)
    collect()
    collect(0)
    collect()


def main():
    begin()
    references_within_the_trash()
    callbacks()
    resurrection()
    errors()
    sights()
    for name in ("g1", "g2"):
        suspended(name)
    collect()
    spawning()
    say(state())
    end()
    ring("at the end")


main()
