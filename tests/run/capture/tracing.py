# SPDX-License-Identifier: Apache-2.0
"""
What profilers, tracers, signal handlers and errors meet in a collection: events of sys.setprofile and sys.settrace,
an exception that is being handled, a signal in a finalizer, the recursion limit, running out of it.
"""
import gc
import os
import signal
import sys
import warnings

from common import begin, collect, end, leaf, say, state


class Node:
    def __init__(self, action=None):
        self.me, self.action, self.leaf = self, action, leaf("leaf")

    def __del__(self):
        if self.action:
            self.action()


def profiled():
    for install in (sys.setprofile, sys.settrace):
        events = []

        def record(frame, event, arg):
            events.append((frame.f_code.co_name, event, getattr(arg, "__name__", None), frame.f_lineno))
            return record
        Node(), Node(lambda: None)
        install(record)
        gc.collect()
        install(None)
        say(events)


def handled():
    """The collection neither sees nor loses the exceptions around it."""
    try:
        raise KeyError("outer")
    except KeyError:
        Node(lambda: say("in finalizer", sys.exc_info()[1]))
        collect()
        say(sys.exc_info()[1])
        raise


def interrupted():
    """A signal arrives in a finalizer; its handler raises."""
    signal.signal(signal.SIGUSR1, lambda *_: say("handler", sys._getframe(1).f_code.co_name, gc.get_debug()))
    Node(lambda: (os.kill(os.getpid(), signal.SIGUSR1), say("after the signal")))
    collect()
    signal.signal(signal.SIGUSR1, signal.default_int_handler)
    Node(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        collect()
    except KeyboardInterrupt:
        say("KeyboardInterrupt after the collection")
    collect()


def exhausted():
    """A finalizer at the end of the stack, and a collection there."""
    def deeper(n):
        try:
            return deeper(n + 1)
        except RecursionError:
            if n % 20 == 0:
                Node()
                gc.collect()
            return n
    deeper(0)
    collect()

    def endless():
        endless()
    Node(endless)
    collect()


def leaving():
    """SystemExit and KeyboardInterrupt in a finalizer end nothing."""
    for error in (SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit):
        def leave():
            raise error("in finalizer")
        Node(leave)
        collect()


def warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Node(lambda: warnings.warn("from a finalizer"))
        collect()


def main():
    begin()
    profiled()
    try:
        handled()
    except KeyError as error:
        say("came through", error)
    for part in (interrupted, exhausted, leaving, warned):
        say("--", part.__name__)
        part()
        say(state())
    end()
    Node(lambda: say("left to the end"))
    sys.exit(7)


main()
