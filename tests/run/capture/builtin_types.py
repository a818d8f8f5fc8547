# SPDX-License-Identifier: Apache-2.0
"""tp_clear of every built-in container, iterator and function object, in a cycle of its own with a leaf."""
import collections
import contextvars
import functools
import itertools
import operator
import re
import sys
import types
import weakref

from common import Leaf, collect_all_made, maker, say


@maker
def containers(x):
    return [x, (x,), {x}, frozenset([x]), {1: x}, {x: 1}, {1: x}.items(), {1: x}.values(), {x: 1}.keys(), [[x]],
            types.MappingProxyType({1: x}), types.SimpleNamespace(x=x), slice(x, None, x)]


@maker
def collection_types(x):
    ordered = collections.OrderedDict([(x, x)])
    chain = collections.ChainMap({1: x})
    default = collections.defaultdict(lambda: x, {1: x})
    named = collections.namedtuple("Pair", "a b")(x, x)
    return [collections.deque([x] * 200), ordered, chain, default, named, collections.Counter([x]), iter(ordered),
            iter(collections.deque([x])), collections.UserList([x]), collections.UserDict({1: x}), ordered.items()]


@maker
def iterators(x):
    made = [iter([x]), iter((x,)), iter({x}), iter({1: x}), iter({1: x}.values()), iter({1: x}.items()), reversed([x]),
            reversed((x,)), reversed({1: x}), iter(lambda: x, None), enumerate([x]), zip([x], [x]), map(str, [x]),
            filter(None, [x]), iter(memoryview(b"ab"))]
    for it in made[:3]:
        next(it)
    return made


@maker
def itertools_objects(x):
    tee = itertools.tee([x] * 100, 3)
    next(tee[1])
    groups = itertools.groupby([x, x])
    made = [itertools.accumulate([x]), itertools.chain([x]), itertools.combinations([x, x], 2),
            itertools.combinations_with_replacement([x], 2), itertools.compress([x], [x]), itertools.count(1, 2),
            itertools.cycle([x, x]), itertools.dropwhile(bool, [x]), itertools.filterfalse(None, [x]), groups,
            itertools.islice([x] * 9, 1, 5), itertools.permutations([x, x]), itertools.product([x], repeat=2),
            itertools.repeat(x), itertools.starmap(max, [(x,)]), itertools.takewhile(bool, [x]),
            itertools.zip_longest([x], fillvalue=x)]
    return made + [next(made[6]), next(groups), next(made[-1]), tee]


@maker
def functions(x):
    def closed(y=x, *, k=x) -> x:
        return x
    closed.attribute = x

    class Descriptors:
        prop = property(lambda self: x, closed, closed)
        class_method = classmethod(closed)
        static_method = staticmethod(closed)
        cached = functools.lru_cache(maxsize=3)(closed)
        unbounded = functools.lru_cache(maxsize=None)(lambda *a: x)
        single = functools.singledispatch(closed)
        partial_method = functools.partialmethod(closed, x)
        __slots__ = ("slot", "__weakref__")
    d = Descriptors()
    d.slot = x
    Descriptors.unbounded(x, 1)
    return [closed, closed.__closure__, types.MethodType(closed, x), functools.partial(closed, x, k=x), d,
            functools.cmp_to_key(closed)(x), operator.itemgetter(1, (x,)), operator.methodcaller("f", x, k=x),
            [].append, x.__init__, x.__str__, super(Leaf, x), types.CellType(x), functools.cached_property(closed),
            memoryview(bytearray(3)), re.compile("x").sub]


@maker
def own_class(x):
    meta = type("Meta", (type,), {"x": x})
    base = meta("Base", (), {"x": x, "__del__": lambda self: say("del of a class of the trash")})
    sub = meta("Sub", (base, Exception), {"__slots__": ("a",), "x": x})
    instance = sub(x)
    instance.a = x
    return [base, sub, instance, base()]


@maker
def generators(x):
    def plain():
        try:
            yield x
        finally:
            say("finally of a generator", x.__dict__.keys() >= {"leaf"})

    def delegating():
        try:
            yield from plain()
        finally:
            say("finally of a delegating generator")
    made = [plain(), delegating(), plain(), (y for y in [x]), (lambda: (yield x))()]
    for g in (made[0], made[1], made[3]):
        next(g)
    return made


class Awaitable:
    def __init__(self, x):
        self.x = x

    def __await__(self):
        yield self.x


@maker
def coroutines(x):
    async def waiting():
        try:
            await Awaitable(x)
        finally:
            say("finally of a coroutine")

    async def never_awaited():
        return x

    async def asynchronous():
        try:
            yield x
            await Awaitable(x)
        finally:
            say("finally of an asynchronous generator")

    @types.coroutine
    def old():
        yield x
    made = [waiting(), asynchronous(), asynchronous(), old(), asynchronous().asend(None), never_awaited()]
    made[0].send(None)
    first = made[1].__anext__()
    try:
        first.send(None)
    except StopIteration:
        pass
    return made + [made[2].aclose(), made[1].athrow(ValueError)]


@maker
def frames(x):
    def raising(depth):
        local = x
        if depth:
            raising(depth - 1)
        else:
            raise ValueError(local, sys._getframe())
    try:
        raising(5)
    except ValueError as error:
        chained = KeyError(x)
        chained.__cause__ = chained.__context__ = error
        return [error, chained, error.__traceback__, error.__traceback__.tb_frame, sys._getframe(), OSError(1, x, x),
                SyntaxError("m", ("f", 1, 1, x)), StopIteration(x), SystemExit(x), ImportError(x, name=x, path=x),
                UnicodeEncodeError("ascii", "\xe9", 0, 1, "r"), AttributeError(x)]


@maker
def context(x):
    variable = contextvars.ContextVar("v", default=x)
    token = variable.set(x)
    return [variable, token, contextvars.copy_context(), contextvars.copy_context().items(), token.old_value]


@maker
def modules(x):
    module = types.ModuleType("m")
    module.x = x
    exec("def f(): return x\nclass C:\n    def m(self): return f", module.__dict__)
    return [module, module.f, module.C()]


@maker
def generic(x):
    if sys.version_info < (3, 9):
        return x
    return [list[x], dict[str, x], iter(list[x]) if sys.version_info >= (3, 11) else x,
            list[int] | None if sys.version_info >= (3, 10) else x]


@maker
def weak(x):
    return [weakref.ref(x, lambda _: say("never")), weakref.proxy(x), weakref.WeakSet([x]),
            weakref.WeakValueDictionary({1: x}), weakref.WeakKeyDictionary({x: x}),
            weakref.WeakMethod(Holder(x).method), weakref.finalize(x, say, "weakref.finalize")]


class Holder:
    def __init__(self, x):
        self.x = x

    def method(self):
        pass


collect_all_made()
