# SPDX-License-Identifier: MIT
"""Database drivers under the patch, against a real MariaDB and a real PostgreSQL; sqlite3 in workers."""
import pytest

from server_support import PEM, START, mariadb_server, need_module, postgres_server
from support import check_script


@pytest.fixture(scope="module")
def mariadb():
    need_module("pymysql", "python3-pymysql")
    with mariadb_server() as at:
        yield at.port, at.path


@pytest.fixture(scope="module")
def postgres():
    need_module("psycopg2", "python3-psycopg2")
    with postgres_server() as at:
        yield at.port, at.path


# ---- pymysql ---------------------------------------------------------------------------------

MARIADB = START + """
    import pymysql
    port, path = int(sys.argv[1]), sys.argv[2]
    def connect(**options):
        options = {"host": "127.0.0.1", "ssl_disabled": True, **options}
        return pymysql.connect(port=port, user="root", **options)
    def ask(connection, *query):
        with connection.cursor() as cursor:
            cursor.execute(*query)
            return cursor.fetchall()
    watcher = connect(autocommit=True)
    def until_running(query, count):
        until(lambda: ask(watcher, "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE %s",
                          query + "%") == ((count,),))
    # What all of these wait for is taken at the beginning; each gives it up when it closes its connection.
    ALL_WAIT = "SELECT GET_LOCK('gate', 600), "
    def let_go(count):
        until_running(ALL_WAIT, count)
        assert ask(watcher, "SELECT RELEASE_LOCK('gate')") == ((1,),)
    assert ask(watcher, "SELECT GET_LOCK('gate', 600)") == ((1,),)
"""


def test_pymysql_queries_of_many_threads_run_at_once(mariadb):
    check_script(MARIADB + """
    def work(n):
        with connect() as connection:
            return ask(connection, ALL_WAIT + "%s, REPEAT('x', %s)", (n, n * 10000))
    results = at_once(20, work, lambda: let_go(20))
    assert results == [((1, n, "x" * n * 10000),) for n in range(20)]
    print("ok")
    """, args=mariadb)


def test_pymysql_speaks_tls(mariadb):
    check_script(MARIADB + """
    def work(n):
        with connect(host="localhost", ssl_disabled=False, ssl={"ca": sys.argv[3]}) as connection:
            (_, cipher), = ask(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
            return cipher != "", ask(connection, ALL_WAIT + "%s, REPEAT('x', 300000)", n)
    results = at_once(20, work, lambda: let_go(20))
    assert results == [(True, ((1, n, "x" * 300000),)) for n in range(20)]
    print("ok")
    """, args=[*mariadb, PEM])


def test_pymysql_transactions_of_threads_wait_for_each_others_locks(mariadb):
    check_script(MARIADB + """
    with connect(unix_socket=path, autocommit=True) as setup:
        for text in ("DROP DATABASE IF EXISTS bank", "CREATE DATABASE bank",
                     "CREATE TABLE bank.account (id INT PRIMARY KEY, amount INT) ENGINE=InnoDB",
                     "INSERT INTO bank.account VALUES (1, 100), (2, 100)"):
            ask(setup, text)
        def transfer(n):
            with connect(database="bank", unix_socket=path) as connection:
                ask(connection, "SELECT amount FROM account WHERE id = 1 FOR UPDATE")
                ask(connection, "UPDATE account SET amount = amount - %s WHERE id = 1", n)
                time.sleep(0.01)  # the others wait in the server
                ask(connection, "UPDATE account SET amount = amount + %s WHERE id = 2", n)
                connection.rollback() if n == 3 else connection.commit()
        at_once(10, transfer)
        assert ask(setup, "SELECT amount FROM bank.account ORDER BY id") == ((58,), (142,))
    print("ok")
    """, args=mariadb)


def test_pymysql_read_timeout_and_errors_are_its_own(mariadb):
    check_script(MARIADB + """
    import microthread
    def error_of(fn, *args, **options):
        try:
            fn(*args, **options)
        except Exception as error:
            return error
    error = error_of(lambda: ask(connect(read_timeout=0.05), "SELECT SLEEP(20)"))
    assert isinstance(error, pymysql.err.OperationalError) and "timed out" in str(error), error
    cut = connect()
    thread = microthread.spawn(ask, cut, "SELECT SLEEP(60)")
    until_running("SELECT SLEEP(60)", 1)
    thread.cancel()
    until(thread.done)
    assert thread.cancelled() and not cut.open
    assert isinstance(error_of(connect, password="wrong"), pymysql.err.OperationalError)
    assert error_of(ask, connect(), "SELECT FROM").args[0] == 1064
    print("ok")
    """, args=mariadb)


# ---- psycopg2 --------------------------------------------------------------------------------

POSTGRES = START + """
    import psycopg2, psycopg2.extensions, psycopg2.pool, microthread
    port, path = int(sys.argv[1]), sys.argv[2]
    def connect(**options):
        return psycopg2.connect(**{"host": "127.0.0.1", "port": port, "user": "postgres",
                                   "dbname": "postgres", **options})
    def ask(connection, *query):
        with connection.cursor() as cursor:
            cursor.execute(*query)
            return cursor.fetchall()
    def execute(connection, *query):
        with connection.cursor() as cursor:
            cursor.execute(*query)
    watcher = connect()
    watcher.autocommit = True
    # What all of these wait for is taken at the beginning.
    ALL_WAIT = "SELECT pg_advisory_lock_shared(1), "
    execute(watcher, "SELECT pg_advisory_lock(1)")
    def until_waiting(count):
        until(lambda: ask(watcher, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                                   "AND NOT granted") == [(count,)])
    def let_go(count):
        until_waiting(count)
        assert ask(watcher, "SELECT pg_advisory_unlock(1)") == [(True,)]
"""


def test_psycopg2_queries_of_many_threads_run_at_once(postgres):
    check_script(POSTGRES + """
    def work(n):
        connection = connect()
        try:
            return ask(connection, ALL_WAIT + "%s, repeat('x', %s)", (n, n * 10000))
        finally:
            connection.close()
    results = at_once(20, work, lambda: let_go(20))
    assert results == [[("", n, "x" * n * 10000)] for n in range(20)]
    sent = "y" * 5_000_000  # more than the socket takes at once
    assert ask(connect(host=path), "SELECT %s", (sent,)) == [(sent,)]
    print("ok")
    """, args=postgres)


def test_psycopg2_pool_server_side_cursors_and_locks(postgres):
    check_script(POSTGRES + """
    pool = psycopg2.pool.ThreadedConnectionPool(1, 10, host=path, port=port, user="postgres",
                                                dbname="postgres")
    setup = pool.getconn()
    setup.autocommit = True
    execute(setup, "DROP TABLE IF EXISTS account")
    execute(setup, "CREATE TABLE account (id int PRIMARY KEY, amount int)")
    execute(setup, "INSERT INTO account VALUES (1, 100), (2, 100)")
    def transfer(n):
        connection = pool.getconn()
        with connection:
            ask(connection, "SELECT amount FROM account WHERE id = 1 FOR UPDATE")
            execute(connection, "UPDATE account SET amount = amount - %s WHERE id = 1", (n,))
            time.sleep(0.01)  # the others wait in the server
            execute(connection, "UPDATE account SET amount = amount + %s WHERE id = 2", (n,))
        with connection, connection.cursor("named") as cursor:
            cursor.itersize = 10
            cursor.execute("SELECT generate_series(1, 55)")
            assert [row for row, in cursor] == list(range(1, 56))
        pool.putconn(connection)
    at_once(9, transfer)
    assert ask(setup, "SELECT amount FROM account ORDER BY id") == [(64,), (136,)]
    pool.closeall()
    print("ok")
    """, args=postgres)


def test_psycopg2_notifications_come_to_one_who_selects(postgres):
    check_script(POSTGRES + """
    import select
    listener, heard = connect(), []
    listener.autocommit = True
    execute(listener, "LISTEN news")
    def listen():
        while len(heard) < 10:
            assert select.select([listener], [], [], 60)[0]
            listener.poll()
            heard.extend(notice.payload for notice in listener.notifies)
            listener.notifies.clear()
    thread = threading.Thread(target=listen)
    thread.start()
    def tell(n):
        connection = connect()
        with connection:
            execute(connection, "SELECT pg_notify('news', %s)", (str(n),))
        connection.close()
    at_once(10, tell)
    thread.join()
    assert sorted(heard) == sorted(map(str, range(10))), heard
    print("ok")
    """, args=postgres)


def test_psycopg2_errors_leave_the_connection_and_cancellation_closes_it(postgres):
    check_script(POSTGRES + """
    connection = connect()
    try:
        ask(connection, "SELECT FROM nowhere")
    except psycopg2.errors.UndefinedTable:
        connection.rollback()
    assert ask(connection, "SELECT 1") == [(1,)]
    killer = threading.Thread(target=lambda: (until_waiting(1), connection.cancel()))
    killer.start()
    try:
        ask(connection, ALL_WAIT + "1")
    except psycopg2.errors.QueryCanceled:
        connection.rollback()
    else:
        raise AssertionError
    killer.join()
    assert ask(connection, "SELECT 2") == [(2,)] and not connection.closed
    try:
        with microthread.timeout(0.05):
            ask(connection, "SELECT pg_sleep(20)")
    except TimeoutError:
        assert connection.closed
    try:
        connect(port=1)
    except psycopg2.OperationalError as error:
        assert "refused" in str(error), error
        print("ok")
    """, args=postgres)


def test_psycopg2_refuses_a_second_query_at_once_copy_and_large_objects(postgres):
    """As with any wait callback: docs/patching.md says so."""
    check_script(POSTGRES + """
    connection = connect()
    first = threading.Thread(target=ask, args=(connection, ALL_WAIT + "1"))
    first.start()
    until_waiting(1)
    for call in (lambda: ask(connection, "SELECT 2"), connection.lobject,
                 lambda: connection.cursor().copy_from(sys.stdin, "account")):
        try:
            call()
        except psycopg2.ProgrammingError as error:
            assert "asynchronous" in str(error), error
        else:
            raise AssertionError(call)
        if first.is_alive():
            let_go(1)
            first.join()
    assert ask(connection, "SELECT 4") == [(4,)]
    print("ok")
    """, args=postgres)


def test_psycopg2_is_patched_when_it_is_imported_earlier_or_later_or_not_at_all(postgres):
    check_script("""
    import importlib.util, sys, threading, time
    from microthread import patch, run_blocking
    patch.psycopg2()
    assert patch.is_patched("psycopg2") and "psycopg2" not in sys.modules
    assert "psycopg2: psycopg2.extensions.set_wait_callback" in str(patch.report())
    meta_path = len(sys.meta_path)
    assert importlib.util.find_spec("psycopg2").origin.endswith("__init__.py")
    import psycopg2
    from psycopg2 import extensions
    assert type(psycopg2.__spec__.loader) is type(threading.__spec__.loader)
    assert len(sys.meta_path) == meta_path - 1
    callback = extensions.get_wait_callback()
    assert callback is not None and "psycopg2" not in "".join(patch.report().blocking)
    patch.undo()
    assert extensions.get_wait_callback() is None and not patch.is_patched("psycopg2")
    assert "unless the part psycopg2" in "".join(patch.report().blocking)

    # A connection made before, and one of an OS thread.
    def connect():
        return psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="postgres")
    def ask(connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock_shared(1), 5")
            return cursor.fetchone()[1]
    def watch(query):
        with watcher.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    earlier = [connect() for _ in range(10)]
    watcher = connect()
    watcher.autocommit = True
    watch("SELECT pg_advisory_lock(1)")
    patch.all()
    assert extensions.get_wait_callback() is callback
    answers = []
    threads = [threading.Thread(target=lambda c=c: answers.append(ask(c))) for c in earlier]
    for thread in threads:
        thread.start()
    while watch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") < 10:
        time.sleep(0.002)
    watch("SELECT pg_advisory_unlock(1)")
    for thread in threads:
        thread.join()
    assert answers == [5] * 10
    assert run_blocking(lambda: ask(connect())) == 5
    patch.undo()

    # The program's own callback stays, and so does that of one who set it since.
    def own(connection):
        callback(connection)
    extensions.set_wait_callback(own)
    patch.psycopg2()
    assert extensions.get_wait_callback() is own
    patch.undo()
    assert extensions.get_wait_callback() is own
    print("ok")
    """, args=postgres)


# ---- Without psycopg2 and servers ------------------------------------------------------------

def test_psycopg2_that_is_missing_or_breaks_is_an_import_error_as_always(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "psycopg2.py").write_text("1 / 0")
    check_script("""
    import sys
    from microthread import patch
    patch.all()
    search = sys.path
    sys.path = [path for path in search if "dist-packages" not in path and "site-packages" not in path]
    try:
        import psycopg2
    except ModuleNotFoundError as error:
        assert error.name == "psycopg2" and patch.is_patched("psycopg2")
    sys.path.insert(0, sys.argv[1])
    for _ in range(2):
        try:
            import psycopg2
        except ZeroDivisionError:
            assert "psycopg2" not in sys.modules
        else:
            raise AssertionError
    patch.undo()
    assert not [finder for finder in sys.meta_path if "microthread" in type(finder).__module__]
    print("ok")
    """, args=[tmp_path / "one"])


def test_sqlite3_in_workers_lets_others_run(tmp_path):
    check_script(START + """
    import sqlite3
    from microthread import run_blocking
    def connect():
        return sqlite3.connect(sys.argv[1], timeout=60, check_same_thread=False)
    with connect() as setup:
        setup.execute("CREATE TABLE n (n INTEGER)")
    setup.close()
    holder = connect()
    holder.execute("BEGIN EXCLUSIVE")
    def work(n):
        if n == 0:
            time.sleep(0.1)  # the others wait for the lock meanwhile
            return holder.commit()
        connection = connect()
        def insert():
            with connection:
                connection.execute("INSERT INTO n VALUES (?)", (n,))
        run_blocking(insert)
        connection.close()
    at_once(5, work)
    assert holder.execute("SELECT sum(n), count(*) FROM n").fetchone() == (10, 4)
    holder.close()
    print("ok")
    """, args=[tmp_path / "db"])
