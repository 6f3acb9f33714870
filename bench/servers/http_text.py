# SPDX-License-Identifier: MIT
"""What the HTTP servers have in common: from the head of a request to the response."""

BODY = bytes(ord("A") + i % 57 for i in range(64))  # what bench/load.c expects for 64 bytes
END = b"\r\n\r\n"


def answer(head):
    """The response to a request whose head, without the empty line, is given. Every field is parsed."""
    request, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = request.split(" ")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if method != "GET" or target != "/" or version != "HTTP/1.1" or "host" not in fields:
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    text = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return text.encode("latin-1") + BODY
