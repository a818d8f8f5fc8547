# SPDX-License-Identifier: Apache-2.0
"""
A program for the agent to be tried on, not a test: everything once, attach, censuses of many types, cycles, what
cannot be collected (where there is tests/ext), a client with each verb, forks, the end. Prints `end`.
"""
import gc, os, socket, sys, threading, time
try:
    import gcs_testext
except ImportError:
    gcs_testext = None

class Node: pass

kept = [type("Kind%d" % i, (), {})() for i in range(1500)]

def cycles(n):
    for _ in range(n):
        a, b = Node(), Node()
        a.b, b.a = b, [a]

def uncollectable():
    thing = gcs_testext.Legacy("thing")
    thing.ref = [thing]

def client():
    """What a client gets is not what this is about; that it is not left waiting is."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        names = [x for x in os.listdir(place) if x.startswith("%d-" % os.getpid())]
        if names:
            break
        time.sleep(.01)
    else:
        return
    try:
        sock.settimeout(3)
        sock.connect(place + "/" + names[0])
        sock.sendall(b"subscribe topics=gc,census,suspects,cycles,log\ninfo\nstat\nsuspects\ncycles\ngarbage\n"
                     b"census cached=1\ncensus\nhistory type=dict\ncollect\ninfo\nunsubscribe\n")
        data = b""
        while b'"topics":[]' not in data:
            data = sock.recv(1 << 16)
            if not data: break
    except OSError:
        pass

place = os.environ["GCSCOPE_SOCKET_DIR"]
sock = socket.socket(socket.AF_UNIX)
t = threading.Thread(target=client)
t.start()
for i in range(12):
    cycles(300)
    if gcs_testext and i % 4 == 0: uncollectable()
    gc.collect(i % 3)
    kept.extend(Node() for _ in range(100))
    gc.disable() if i % 2 else gc.enable()
    time.sleep(.01)
t.join() # not its connection: that is carried over the forks
for i in range(2):
    pid = os.fork()
    if pid == 0:
        cycles(300)
        gc.collect()
        time.sleep(.1) # its agent begins
        os._exit(4)
    assert os.waitpid(pid, 0)[1] == 4 << 8
assert len(gc.garbage) == 3 * bool(gcs_testext)
gc.garbage.clear()
stats = gc.get_stats()
assert all(set(s) >= {"collections", "collected", "uncollectable"} for s in stats)  # 3.15 tells more
assert not gc.garbage and gc.get_debug() == 0, (gc.garbage, gc.get_debug())
print("end")
