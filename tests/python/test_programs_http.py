# SPDX-License-Identifier: MIT
"""HTTP under the patch: the standard library's servers and clients, urllib3 and requests."""
import pytest

from server_support import PEM, START, need_module
from support import check_script

# A server that takes a while for an answer, counts its connections and knows who is inside.
SERVER = START + """
    import http.client, http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keep-alive
        delay = 0.1
        connections = inside = most = 0
        def setup(self):
            super().setup()
            Handler.connections += 1
        def do_GET(self):
            Handler.inside += 1
            Handler.most = max(Handler.most, Handler.inside)
            time.sleep(self.delay)
            Handler.inside -= 1
            self.answer(self.path.encode())
        def do_POST(self):
            self.answer(self.rfile.read(int(self.headers["Content-Length"]))[::-1])
        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *args):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    port = server.server_port
    url = f"http://127.0.0.1:{port}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    def stop():
        server.shutdown()
        server.server_close()  # waits for none: its threads are daemons
        serving.join()
"""


def test_http_server_serves_200_keep_alive_clients_at_once():
    check_script(SERVER + """
    def client(n):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for i in range(3):
            connection.request("GET", f"/{n}/{i}")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, f"/{n}/{i}".encode())
        connection.request("POST", "/", body=b"abc" * n)
        assert connection.getresponse().read() == b"cba" * n
        connection.close()
    seconds = at_once(200, client)[1]
    assert Handler.connections == 200 and Handler.most >= 10, (Handler.connections, Handler.most)
    assert seconds < 20, seconds  # one after the other: 60
    stop()
    print("ok")
    """, timeout=60)


def test_wsgiref_serves_200_clients_at_once():
    """It closes each connection after its answer; the client then makes another."""
    check_script(START + """
    import http.client, socketserver
    from wsgiref import simple_server, validate
    inside = most = 0
    def app(environ, start_response):
        global inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.1)
        inside -= 1
        size = int(environ.get("CONTENT_LENGTH") or 0)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), b" ", environ["wsgi.input"].read(size)]
    class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
        request_queue_size = 256
        daemon_threads = True
    class Handler(simple_server.WSGIRequestHandler):
        def log_message(self, *args):
            pass
    server = simple_server.make_server("127.0.0.1", 0, validate.validator(app), Server, Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    def client(n):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        for i in range(2):
            connection.request("POST", f"/{n}", body=f"{i}", headers={"Connection": "keep-alive"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, f"/{n} {i}".encode())
        connection.close()
    seconds = at_once(200, client)[1]
    assert most >= 10 and seconds < 15, (most, seconds)  # one after the other: 40
    server.shutdown()
    server.server_close()
    serving.join()
    print("ok")
    """, timeout=60)


def test_urllib_fetches_at_once():
    check_script(SERVER + """
    import urllib.request, urllib.error
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    Handler.delay = 0.2
    def fetch(n):
        with opener.open(f"{url}/{n}", timeout=30) as answer:
            return answer.read()
    bodies, seconds = at_once(40, fetch)
    assert bodies == [f"/{n}".encode() for n in range(40)]
    assert Handler.most >= 5 and seconds < 5, (Handler.most, seconds)  # one after the other: 8
    stop()
    try:
        fetch(1)
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ConnectionRefusedError), error
        print("ok")
    """)


def test_requests_of_many_threads_share_a_session():
    need_module("requests", "python3-requests")
    check_script(SERVER + """
    import requests, socket
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=10, pool_block=True))
    Handler.delay = 0.2
    def fetch(n):
        first = session.get(f"{url}/{n}", timeout=30)
        second = session.post(url, data=b"ab" * n, timeout=30)
        assert first.status_code == second.status_code == 200
        return first.text, second.content
    results, seconds = at_once(40, fetch)
    assert results == [(f"/{n}", b"ba" * n) for n in range(40)]
    assert Handler.connections == Handler.most == 10, (Handler.connections, Handler.most)
    assert seconds < 6, seconds  # one after the other: 8
    stop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        try:
            session.get("http://127.0.0.1:%d" % silent.getsockname()[1], timeout=0.01)
        except requests.exceptions.ReadTimeout:
            print("ok")
    session.close()
    """)


def test_requests_sessions_of_their_own_and_streams():
    need_module("requests", "python3-requests")
    check_script(SERVER + """
    import requests
    class Slowly(Handler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(5):
                time.sleep(0.04)
                self.wfile.write(b"6\\r\\nline %d\\r\\n" % i)
            self.wfile.write(b"0\\r\\n\\r\\n")
    server.RequestHandlerClass = Slowly
    def read(n):
        with requests.Session() as session:
            session.trust_env = False
            with session.get(url, stream=True, timeout=30) as answer:
                return list(answer.iter_content(None))
    results, seconds = at_once(40, read)
    assert results == [[b"line %d" % i for i in range(5)]] * 40, results[0]
    assert seconds < 6, seconds  # one after the other: 8
    stop()
    print("ok")
    """)


def test_requests_and_urllib_over_tls():
    need_module("requests", "python3-requests")
    check_script(SERVER + """
    import requests, ssl, urllib.request
    pem = sys.argv[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    url = url.replace("http://127.0.0.1", "https://localhost")
    session = requests.Session()
    session.trust_env = False
    session.verify = pem
    session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=30))
    plain = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=pem)))
    Handler.delay = 0.4
    def fetch(n):
        if n % 2:
            with plain.open(f"{url}/{n}", timeout=30) as answer:
                return answer.read()
        posted = session.post(url, data=b"ab" * 100_000, timeout=30)
        assert posted.content == b"ba" * 100_000
        return session.get(f"{url}/{n}", timeout=30).content
    bodies, seconds = at_once(30, fetch)
    assert bodies == [f"/{n}".encode() for n in range(30)]
    assert Handler.most >= 5 and seconds < 8, (Handler.most, seconds)  # one after the other: 12
    session.verify = True
    session.close()
    server.handle_error = lambda request, address: None  # it would print that it was refused
    try:
        session.get(url, timeout=30)
    except requests.exceptions.SSLError:
        stop()
        print("ok")
    """, args=[PEM])


def test_urllib3_pool_waits_for_a_free_connection():
    need_module("urllib3", "python3-urllib3")
    check_script(SERVER + """
    import urllib3
    pool = urllib3.PoolManager(maxsize=5, block=True)
    bodies, seconds = at_once(30, lambda n: pool.request("GET", f"{url}/{n}", retries=False).data)
    assert bodies == [f"/{n}".encode() for n in range(30)]
    assert Handler.connections == Handler.most == 5 and 0.59 < seconds < 2.5, seconds  # alone: 3
    pool.clear()
    stop()
    try:
        pool.request("GET", url, retries=urllib3.Retry(2, backoff_factor=0.01))
    except urllib3.exceptions.MaxRetryError:
        print("ok")
    """)
