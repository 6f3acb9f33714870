# SPDX-License-Identifier: MIT
"""redis-py under the patch, against a real Redis."""
import pytest

from server_support import START, need_module, redis_server
from support import check_script

CONNECT = START + """
    import redis
    port, path = int(sys.argv[1]), sys.argv[2]
    def connect(**options):
        return redis.Redis(host="127.0.0.1", port=port, **options)
    watcher = connect()
    watcher.flushall()
    def until_blocked(count):
        until(lambda: watcher.info("clients")["blocked_clients"] == count)
"""


@pytest.fixture(scope="module")
def server():
    need_module("redis", "python3-redis")
    with redis_server() as at:
        yield at.port, at.path


def test_commands_and_pipelines_of_many_threads_over_one_client(server):
    check_script(CONNECT + """
    client = connect(max_connections=100)
    def work(n):
        client.set(f"key {n}", "x" * n * 1000)
        with client.pipeline() as pipeline:
            for _ in range(20):
                pipeline.incr("all").incrby("sum", n)
            replies = pipeline.execute()
        assert replies[-2] <= 40 * 20 and len(replies) == 40
        return len(client.get(f"key {n}"))
    sizes = at_once(40, work)
    assert sizes == [n * 1000 for n in range(40)]
    assert (client.get("all"), client.get("sum")) == (b"800", str(20 * sum(range(40))).encode())
    time.sleep(0)
    print("ok")
    """, args=server)


def test_optimistic_locks_of_many_threads_lose_nothing(server):
    check_script(CONNECT + """
    client = connect(max_connections=100)
    client.set("n", 0)
    retries = 0
    all_have_read = threading.Barrier(10)
    def work(n):
        global retries
        def increase(pipeline):
            nonlocal tries
            tries += 1
            value = int(pipeline.get("n"))
            if tries == 1:
                all_have_read.wait()
            time.sleep(0.002)  # the others come between
            pipeline.multi()
            pipeline.set("n", value + 1)
        tries = 0
        for _ in range(3):
            client.transaction(increase, "n")
        retries += tries - 3
    at_once(10, work)
    assert client.get("n") == b"30" and retries >= 9, retries  # they did meet
    with client.lock("lock", timeout=600), connect() as other:
        assert not other.lock("lock", blocking_timeout=0.01).acquire()
    print("ok")
    """, args=server)


def test_blocking_pops_wait_at_once(server):
    """Each waits in the server; the values come when all do."""
    check_script(CONNECT + """
    client = connect(max_connections=100)
    def push():
        until_blocked(50)
        for n in range(50):
            client.rpush(f"list {n}", n)
    popped = at_once(50, lambda n: client.blpop(f"list {n}", timeout=60), push)
    assert popped == [(b"list %d" % n, b"%d" % n) for n in range(50)]
    assert at_once(20, lambda n: client.blpop("nothing", timeout=1)) == [None] * 20
    print("ok")
    """, args=server)


def test_subscriber_hears_while_others_publish(server):
    check_script(CONNECT + """
    client = connect(decode_responses=True)
    ready, heard = threading.Event(), []
    def listen():
        with client.pubsub() as subscription:
            subscription.subscribe("news")
            subscription.psubscribe("sport.*")
            for message in subscription.listen():
                if message["type"].endswith("subscribe"):
                    ready.set() if message["data"] == 2 else None
                elif message["data"] == "end":
                    break
                else:
                    heard.append((message["channel"], message["data"]))
    listener = threading.Thread(target=listen)
    listener.start()
    assert ready.wait(60)
    def publish(n):
        for i in range(5):
            client.set(f"{n} {i}", n)
            assert client.publish("news" if n % 2 else "sport.ski", f"{n} {i}") == 1
    at_once(20, publish)
    client.publish("news", "end")
    listener.join()
    assert sorted(heard) == sorted(("news" if n % 2 else "sport.ski", f"{n} {i}")
                                   for n in range(20) for i in range(5))
    assert all(client.get(f"{n} 4") == str(n) for n in range(20))
    with client.pubsub() as subscription:
        subscription.subscribe(quiet=lambda message: heard.append(message["data"]))
        worker = subscription.run_in_thread(sleep_time=0.01)
        until(lambda: client.pubsub_numsub("quiet") == [("quiet", 1)])
        client.publish("quiet", "there")
        while heard[-1] != "there":
            time.sleep(0.001)
        worker.stop()
        worker.join()
    print("ok")
    """, args=server)


def test_blocking_pool_over_a_unix_socket_hands_connections_round(server):
    check_script(CONNECT + """
    pool = redis.BlockingConnectionPool(max_connections=5, timeout=100, path=path,
                                        connection_class=redis.UnixDomainSocketConnection)
    client = redis.Redis(connection_pool=pool)
    def work(n):
        return client.client_id(), client.blpop("jobs", timeout=60)[1]
    def push():
        until_blocked(5)  # they wait at once, the other 20 for a connection
        watcher.rpush("jobs", *range(25))
    results = at_once(25, work, push)
    assert sorted(int(value) for _, value in results) == list(range(25))
    assert len({number for number, _ in results}) == 5 or len(pool._connections) == 5
    print("ok")
    """, args=server)


def test_timeout_cancellation_and_refused_connection(server):
    check_script(CONNECT + """
    import microthread
    client = connect(socket_timeout=0.05)
    try:
        client.blpop("nothing", timeout=20)
    except redis.exceptions.TimeoutError:
        pass
    else:
        raise AssertionError
    def ping():
        try:
            return client.ping()
        except redis.exceptions.TimeoutError:  # a busy server
            return None
    while (answer := ping()) is None:
        pass
    assert answer is True
    until_blocked(0)
    client = connect()
    asker = microthread.spawn(client.blpop, "late", timeout=60)
    until_blocked(1)
    asker.cancel()
    until(asker.done)
    assert asker.cancelled()
    watcher.rpush("late", "x")  # what it asked for is answered, to nobody
    assert client.set("a", "b") is True and client.get("a") == b"b"
    try:
        redis.Redis(host="127.0.0.1", port=1).ping()
    except redis.exceptions.ConnectionError:
        print("ok")
    """, args=server)
