# SPDX-License-Identifier: MIT
"""HTTP under the patch: the standard library's servers and clients, urllib3 and requests."""
import pytest

from server_support import PEM, START, need_module
from support import check_script

# A server that answers nobody before so many ask at once, and counts its connections.
SERVER = START + """
    import http.client, http.server, socket

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keep-alive
        meeting = Meeting(10)
        connections = 0
        def setup(self):
            super().setup()
            Handler.connections += 1
        def do_GET(self):
            with self.meeting:
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
    refusing = socket.socket()
    refusing.bind(("127.0.0.1", 0))  # and does not listen
    refused_url = "http://127.0.0.1:%d" % refusing.getsockname()[1]
    def stop():
        server.shutdown()
        server.server_close()  # waits for none: its threads are daemons
        serving.join()
"""


def test_http_server_serves_200_keep_alive_clients_at_once():
    check_script(SERVER + """
    def client(n):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
        for i in range(3):
            connection.request("GET", f"/{n}/{i}")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, f"/{n}/{i}".encode())
        connection.request("POST", "/", body=b"abc" * n)
        assert connection.getresponse().read() == b"cba" * n
        connection.close()
    Handler.meeting = Meeting(200)
    at_once(200, client)
    assert Handler.connections == 200
    stop()
    print("ok")
    """, timeout=120)


def test_wsgiref_serves_200_clients_at_once():
    """It closes each connection after its answer; the client then makes another."""
    check_script(START + """
    import http.client, socketserver
    from wsgiref import simple_server, validate
    meeting = Meeting(200)
    def app(environ, start_response):
        with meeting:
            pass
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
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=100)
        for i in range(2):
            connection.request("POST", f"/{n}", body=f"{i}", headers={"Connection": "keep-alive"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, f"/{n} {i}".encode())
        connection.close()
    at_once(200, client)
    server.shutdown()
    server.server_close()
    serving.join()
    print("ok")
    """, timeout=120)


def test_urllib_fetches_at_once():
    check_script(SERVER + """
    import urllib.request, urllib.error
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    Handler.meeting = Meeting(40)
    def fetch(n):
        with opener.open(f"{url}/{n}", timeout=60) as answer:
            return answer.read()
    assert at_once(40, fetch) == [f"/{n}".encode() for n in range(40)]
    stop()
    try:
        opener.open(refused_url, timeout=60)
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ConnectionRefusedError), error
        print("ok")
    """)


def test_requests_of_many_threads_share_a_session():
    need_module("requests", "python3-requests")
    check_script(SERVER + """
    import requests
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=10, pool_block=True))
    def fetch(n):
        first = session.get(f"{url}/{n}", timeout=60)
        second = session.post(url, data=b"ab" * n, timeout=60)
        assert first.status_code == second.status_code == 200
        return first.text, second.content
    assert at_once(40, fetch) == [(f"/{n}", b"ba" * n) for n in range(40)]
    most = Handler.meeting.most
    assert Handler.connections == most == 10, (Handler.connections, most)
    stop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        try:
            session.get("http://127.0.0.1:%d" % silent.getsockname()[1], timeout=(60, 0.01))
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
                with meetings[i]:
                    pass
                self.wfile.write(b"6\\r\\nline %d\\r\\n" % i)
            self.wfile.write(b"0\\r\\n\\r\\n")
    meetings = [Meeting(40) for _ in range(5)]
    server.RequestHandlerClass = Slowly
    def read(n):
        with requests.Session() as session:
            session.trust_env = False
            with session.get(url, stream=True, timeout=60) as answer:
                return list(answer.iter_content(None))
    results = at_once(40, read)
    assert results == [[b"line %d" % i for i in range(5)]] * 40, results[0]
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
    Handler.meeting = Meeting(30)
    def fetch(n):
        if n % 2:
            with plain.open(f"{url}/{n}", timeout=60) as answer:
                return answer.read()
        posted = session.post(url, data=b"ab" * 100_000, timeout=60)
        assert posted.content == b"ba" * 100_000
        return session.get(f"{url}/{n}", timeout=60).content
    assert at_once(30, fetch) == [f"/{n}".encode() for n in range(30)]
    session.verify = True
    session.close()
    server.handle_error = lambda request, address: None  # it would print that it was refused
    try:
        session.get(url, timeout=60)
    except requests.exceptions.SSLError:
        stop()
        print("ok")
    """, args=[PEM])


def test_urllib3_pool_waits_for_a_free_connection():
    need_module("urllib3", "python3-urllib3")
    check_script(SERVER + """
    import urllib3
    pool = urllib3.PoolManager(maxsize=5, block=True)
    Handler.meeting = Meeting(5)
    bodies = at_once(30, lambda n: pool.request("GET", f"{url}/{n}", retries=False).data)
    assert bodies == [f"/{n}".encode() for n in range(30)]
    assert Handler.connections == Handler.meeting.most == 5
    pool.clear()
    stop()
    try:
        pool.request("GET", refused_url, retries=urllib3.Retry(2, backoff_factor=0.01))
    except urllib3.exceptions.MaxRetryError:
        print("ok")
    """)
