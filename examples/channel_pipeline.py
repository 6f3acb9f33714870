# SPDX-License-Identifier: MIT
"""A listener, processors and a sender, each in an interpreter of its own, joined by channels.

    channel_pipeline.py [REQUESTS [PROCESSORS]]

The listener receives datagrams, the processors take them as they can, the sender answers whoever
asked; an empty datagram ends it all, one stage after the other. The main interpreter is the client.
"""
import sys

from microthread import interpreters, socket, wait_all


def collatz(number):
    """Steps until the sequence of `number` comes to 1."""
    steps = 0
    while number > 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def listen(ready, requests):
    with requests, udp() as sock:
        sock.bind(("127.0.0.1", 0))
        ready.send(sock.getsockname())
        while True:
            data, client = sock.recvfrom(100)
            if not data:
                break
            requests.send((client, int(data)))


def process(requests, answers):
    with answers:
        for client, number in requests:
            answers.send((client, f"{number} takes {collatz(number)} steps"))


def send(answers):
    with udp() as sock:
        for client, text in answers:
            sock.sendto(text.encode(), client)


def start(processors):
    """The address to send to, and the handles of all stages."""
    ready, ready_in = interpreters.create_channel()
    requests, requests_in = interpreters.create_channel(100)  # a listener that is too fast waits
    answers, answers_in = interpreters.create_channel(100)
    stages = [interpreters.create().spawn(listen, ready_in, requests_in)]
    for _ in range(processors):
        stages.append(interpreters.create().spawn(process, requests, answers_in))
    stages.append(interpreters.create().spawn(send, answers))
    for end in (ready_in, requests, requests_in, answers, answers_in):
        end.close()  # the stages have their own
    return ready.recv(), stages


def main(count=10, processors=2):
    address, stages = start(processors)
    with udp() as sock:
        sock.settimeout(30)
        for number in range(1, count + 1):
            sock.sendto(b"%d" % number, address)
        answers = [sock.recv(100).decode() for _ in range(count)]
        sock.sendto(b"", address)
    wait_all(stages)
    for text in sorted(answers, key=lambda text: int(text.split()[0])):
        print(text)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
