# SPDX-License-Identifier: Apache-2.0
"""
Trash beyond all room for its analysis, deep chains (the trashcan), wide and dense graphs: the order in which all of it
is finalized, told and freed.
"""
import gc
import hashlib
import weakref

from common import begin, collect, end, leaf, say, state

order = hashlib.sha256()


class Node:
    __slots__ = ("n", "me", "more", "__weakref__")

    def __init__(self, n):
        self.n, self.me = n, self

    def __del__(self):
        order.update(b"d%d" % self.n)


def died(ref):
    order.update(b"w%d" % refs.pop(ref))


refs = {}


def refer(node):
    refs[weakref.ref(node, died)] = node.n


def told():
    say(order.hexdigest(), len(refs), state())


def many():
    for i in range(150000):
        node = Node(i)
        if i % 10 == 0:
            refer(node)
    del node
    collect()
    told()


def deep():
    """A chain of 200,000, each kind of link in it, closed to a ring."""
    first = last = [None]
    for i in range(200000):
        last.append([{"k": [None]}, ([None],), [[None]], [None]][i % 4])
        link = last[-1]
        last = link["k"] if i % 4 == 0 else link[0] if i % 4 < 3 else link
    last.append(first)
    last.append(leaf("at the end of the chain"))
    del first, last, link
    collect()
    told()


def dense():
    """Each of 400 refers to each."""
    nodes = [Node(i) for i in range(400)]
    for node in nodes:
        node.more = list(nodes)
        refer(node)
    del nodes, node
    collect()
    told()


def hanging():
    """One small cycle that holds 100,000 objects in none."""
    node = Node(0)
    node.more = [[leaf("hangs %d" % i) if i % 10000 == 0 else (i, [i])] for i in range(100000)]
    del node
    collect()
    told()


def many_types():
    """More types than are told apart."""
    for i in range(700):
        thing = type("T%d" % i, (), {"__del__": lambda self, i=i: order.update(b"t%d" % i)})()
        thing.me = thing
    del thing
    collect()
    told()


def main():
    begin()
    for part in (many, deep, dense, hanging, many_types):
        say("--", part.__name__)
        part()
    end()


main()
