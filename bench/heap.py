# SPDX-License-Identifier: Apache-2.0
"""
The targets of the benchmark: heaps of a given size, the spinning thread, and the workloads.

    heap.py serve        obeys Python expressions on standard input, one JSON answer line each
    heap.py json|simulation|tree SCALE     a fixed amount of work
    heap.py nothing|live|garbage|freed SCALE     collections, see the functions
"""
import gc
import json
import os
import random
import sys
import threading
import time


# ---- heaps ----

class Node:
    def __init__(self, n):
        self.number = n
        self.name = None


class Pair:
    __slots__ = ("left", "right")

    def __init__(self, left, right):
        self.left, self.right = left, right


heap = None


def classes(number):
    """An instance of each of so many."""
    global heap
    heap = [type("Class%d" % i, (), {"__module__": "app.m%d" % (i % 97)})() for i in range(number)]


def build(objects, shuffled):
    """About that many objects that the collector tracks: instances, lists, dicts and tuples.

    Compact: in the order and place of their making. Shuffled: a collection after the container was shuffled
    leaves the collector's list in the container's order, which has nothing to do with the memory's.
    """
    global heap
    gc.disable()
    heap = None
    gc.collect()
    before = len(gc.get_objects())
    made = []
    for i in range(objects // 8):
        # Eight tracked objects a turn (or seven, where an instance keeps its attributes without a dictionary).
        node = Node(i)
        vars(node)
        made += [node, [i, node], [[], i], {"key": [i], "node": node}, Pair(node, i), (i, node)]
    if shuffled:
        order = list(made)
        random.Random(5).shuffle(order)
        made = None
        heap = order
        gc.collect()
    else:
        heap = made
    return len(gc.get_objects()) - before


class Late(list):
    """In a cycle, as what a trial has to look at in vain."""

    def __init__(self):
        self.append([self])


def leak(seconds):
    """A leak that no full collection meets."""
    gc.disable()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        heap.extend(Late() for _ in range(200))
        gc.collect(1)
        time.sleep(.02)


# ---- walks ----

def load_bare(path):
    import ctypes
    global bare
    bare = ctypes.PyDLL(path)
    bare.bare_walk.restype = bare.bare_count.restype = ctypes.c_uint64
    bare.bare_walk.argtypes = [ctypes.POINTER(ctypes.c_int64)]
    bare.bare_count.argtypes = [ctypes.c_void_p]


def bare_walk():
    """(objects, CPU nanoseconds) of a bare walk; checks it against the collector's own count of Node."""
    import ctypes
    ns = ctypes.c_int64()
    objects = bare.bare_walk(ctypes.byref(ns))
    if bare.bare_count(id(Node)) != len(heap) // 6:
        raise RuntimeError("the bare walk does not see the heap")
    return objects, ns.value


def typestats():
    import objgraph
    began = time.thread_time_ns()
    objgraph.typestats()
    return time.thread_time_ns() - began


# ---- gaps ----

def gaps(seconds, at_least_ns=200000):
    """The pauses that a thread notices that does nothing but look at the clock; the main thread waits."""
    found = []

    def spin():
        clock = time.perf_counter_ns
        last = clock()
        end = last + int(seconds * 1e9)
        while last < end:
            now = clock()
            if now - last > at_least_ns:
                found.append(now - last)
            last = now
    thread = threading.Thread(target=spin)
    thread.start()
    thread.join()
    return found


# ---- fork ----

def child():
    import os
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(60)
    return pid


# ---- workloads of fixed length ----

def work_json(scale):
    document = {"rows": [{"id": i, "name": "row %d" % i, "tags": ["a", "b", str(i)], "nested": {"x": i / 7}}
                         for i in range(200)]}
    total = 0
    for _ in range(scale):
        total += len(json.loads(json.dumps(document))["rows"])
    return total


class Cell:
    def __init__(self, world, x, y):
        self.world, self.x, self.y, self.energy = world, x, y, (x * 7 + y * 13) % 10

    def neighbours(self):
        return [self.world.cells.get((self.x + dx, self.y + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]

    def step(self):
        return Change(self, sum(n.energy for n in self.neighbours() if n is not None) % 10)


class Change:
    def __init__(self, cell, energy):
        self.cell, self.energy = cell, energy

    def apply(self):
        self.cell.energy = self.energy


class World:
    def __init__(self, size):
        self.cells = {(x, y): Cell(self, x, y) for x in range(size) for y in range(size)}

    def turn(self):
        for change in [cell.step() for cell in self.cells.values()]:
            change.apply()


def work_simulation(scale):
    world = World(24)
    for _ in range(scale):
        world.turn()
    return sum(c.energy for c in world.cells.values())


class Tree:
    def __init__(self, depth, parent=None):
        self.parent = parent
        self.children = [Tree(depth - 1, self) for _ in range(3)] if depth else []

    def size(self):
        return 1 + sum(c.size() for c in self.children)


def work_tree(scale):
    return sum(Tree(5).size() for _ in range(scale))


# ---- collections of fixed number ----

def work_nothing(scale):
    """Young collections that find nothing: 700 objects each, all alive."""
    gc.disable()
    for _ in range(scale):
        kept = [[] for _ in range(700)]
        gc.collect(0)
    return len(kept)


def work_live(scale):
    """Full collections that find nothing."""
    gc.disable()
    kept = [Tree(5) for _ in range(30)]
    for _ in range(scale):
        gc.collect()
    return len(kept)


def work_garbage(scale, collect=False):
    """Trees that nobody frees, a few hundred objects a piece."""
    gc.disable()
    for _ in range(scale):
        for _ in range(10):
            Tree(5)
        if collect:
            gc.collect()
    sys.stdout.flush()
    os._exit(0)  # not even at the end


def work_freed(scale):
    """The same, collected ten trees at a time."""
    work_garbage(scale, True)


def serve():
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(eval(line, globals())), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        print(globals()["work_" + sys.argv[1]](int(sys.argv[2])))
