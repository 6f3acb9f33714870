# SPDX-License-Identifier: MIT
"""Put examples/echo_server.py under load: [CONNECTIONS [MESSAGES]]

Starts it in a child process, opens the connections from micro-threads of this one, and has every
message of 64 bytes echoed and compared. Ends within 10 seconds, with status 0 if all were right.
"""

import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from microthread import micro_pipe, socket, spawn

SIZE = 64  # bytes of a message
SECONDS = 6  # no message is sent after that
SILENCE = 30  # seconds without an answer are an error
SPARE = 50  # descriptors for everything else


def raise_descriptor_limit(wanted):
    """Returns how many descriptors this process and its children may have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def start_server():
    """The child and its port."""
    path = Path(__file__).with_name("echo_server.py")
    server = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    words = server.stdout.readline().split()
    if not words:
        sys.exit("the server did not start")
    return server, int(words[-1])


def cpu_seconds(pid):
    """Time on a processor, of the process's only OS thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def receive_exactly(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError("the server has closed the connection")
        data += piece
    return data


class Load:
    def __init__(self, port, connections, messages):
        self.address = ("127.0.0.1", port)
        self.left = messages  # not yet begun
        self.latencies = []  # seconds, one for each right echo
        self.connected = micro_pipe()
        self.clients = [spawn(self.client, number) for number in range(connections)]

    def client(self, number):
        with socket.create_connection(self.address, timeout=SILENCE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            go = micro_pipe()
            self.connected.put(go)
            stop_at = go.take()
            while self.left > 0 and (began := perf_counter()) < stop_at:
                self.left -= 1
                message = b"%*d" % (SIZE, number << 32 | self.left)
                sock.sendall(message)
                if receive_exactly(sock, SIZE) != message:
                    raise ValueError(f"connection {number}: not what was sent came back")
                self.latencies.append(perf_counter() - began)

    def run(self):
        """Returns the seconds it took; raises what went wrong first."""
        gates = [self.connected.take(timeout=SILENCE) for _ in self.clients]
        began = perf_counter()
        for go in gates:
            go.put(began + SECONDS)
        for client in self.clients:
            client.wait()
        return perf_counter() - began


def report(load, seconds, cpu):
    count = len(load.latencies)
    load.latencies.sort()
    p50, p99 = load.latencies[count // 2], load.latencies[count * 99 // 100]
    rows = [
        ("connections", f"{len(load.clients):,}", "at the same time"),
        ("messages", f"{count:,}", f"of {SIZE} bytes; each came back as it was sent"),
        ("seconds", f"{seconds:.2f}", ""),
        ("messages/s", f"{count / seconds:,.0f}", ""),
        ("server CPU", f"{cpu / count * 1e6:.1f}", "µs a message"),
        ("latency p50", f"{p50 * 1e3:.2f}", "ms, clients and server on the same machine"),
        ("latency p99", f"{p99 * 1e3:.2f}", "ms"),
    ]
    for name, value, unit in rows:
        print(f"  {name:12} {value:>10}  {unit}".rstrip())


def main():
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    messages = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    connections = min(connections, raise_descriptor_limit(connections + SPARE) - SPARE)
    server, port = start_server()
    try:
        load = Load(port, connections, messages)
        before = cpu_seconds(server.pid)
        seconds = load.run()
        report(load, seconds, cpu_seconds(server.pid) - before)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
