# SPDX-License-Identifier: MIT
"""An object space: a store lives in an interpreter of its own, which does one thing after the other.

Customers, micro-threads of the main interpreter, send it what to do; what comes of that is brought to a
function here. No lock is needed, for nobody else touches the store's objects.
"""
from microthread import spawn, wait_all
from microthread.interpreters import Space

STOCK = {"apples": 5, "pears": 2}


# ---- in the space ----


def sell(what, count):
    import __main__

    if __main__.stock[what] < count:
        raise LookupError(f"only {__main__.stock[what]} left")
    __main__.stock[what] -= count
    return __main__.stock[what]


# ---- here ----


def customer(store, name, wishes):
    for what, count in wishes:
        def say(left):
            print(f"{name} gets {what}: {count}, and {left} left")

        try:
            store.run(say, sell, what, count).wait()
        except LookupError as error:
            print(f"{name} gets no {what}: {error.args[0]}")


with Space() as store:
    store.globals["stock"] = STOCK
    wait_all([
        spawn(customer, store, "Ann", [("apples", 3), ("pears", 1)]),
        spawn(customer, store, "Bob", [("apples", 3), ("pears", 1)]),
    ])
    print(f"left over: {store.globals['stock']}; here: {STOCK}, for the store has a copy")
