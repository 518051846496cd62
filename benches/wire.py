"""A PostgreSQL client that costs almost nothing: it reads answers off the socket without decoding them.

So a figure taken with it is the server's own rate, not a driver's. Authentication: trust only.
"""
import re
import socket
import struct
import time

READY = b"Z\0\0\0\5"
TAIL = 4096


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


class Wire:
    def __init__(self, port, user, database):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!ii", len(body) + 8, 196608) + body)
        self.buffer = bytearray(1 << 20)
        self._drain()

    def query(self, sql, binary=False):
        """Runs one query; answers (seconds, seconds to the first byte, rows, bytes)."""
        started = time.perf_counter()
        self._send(sql, binary)
        total, tail, first = self._drain()
        seconds = time.perf_counter() - started
        return seconds, first - started, rows_of(tail), total

    def copy_in(self, sql, path):
        """Sends a file as COPY data; answers seconds."""
        started = time.perf_counter()
        self.socket.sendall(message(b"Q", sql.encode() + b"\0"))
        kind = self._exactly(1)
        length = struct.unpack("!i", self._exactly(4))[0]
        body = self._exactly(length - 4)
        if kind != b"G":
            raise RuntimeError(f"no CopyInResponse: {kind} {body!r}")
        with open(path, "rb", buffering=0) as source:
            while piece := source.read(1 << 18):
                self.socket.sendall(b"d" + struct.pack("!i", len(piece) + 4) + piece)
        self.socket.sendall(message(b"c", b""))
        self._drain()
        return time.perf_counter() - started

    def _send(self, sql, binary):
        text = sql.encode() + b"\0"
        if not binary:
            self.socket.sendall(message(b"Q", text))
            return
        self.socket.sendall(
            message(b"P", b"\0" + text + struct.pack("!h", 0))
            + message(b"B", b"\0\0" + struct.pack("!hh", 0, 0) + struct.pack("!hh", 1, 1))
            + message(b"D", b"P\0")
            + message(b"E", b"\0" + struct.pack("!i", 0))
            + message(b"S", b"")
        )

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise RuntimeError("the server closed the connection")
            data += piece
        return data

    def _drain(self):
        view, total, tail, first = memoryview(self.buffer), 0, b"", None
        while True:
            count = self.socket.recv_into(view)
            if count == 0:
                raise RuntimeError(f"the server closed the connection after {tail[-300:]!r}")
            first = first or time.perf_counter()
            total += count
            tail = (tail + bytes(view[max(0, count - TAIL) : count]))[-TAIL:]
            if len(tail) >= 6 and tail[-6:-1] == READY and tail[-1:] in b"ITE":
                if b"SFATAL" in tail or b"SERROR" in tail:
                    raise RuntimeError(f"{tail[-400:]!r}")
                return total, tail, first


def rows_of(tail):
    found = re.search(rb"(?:SELECT|COPY) (\d+)\0?$", tail[: tail.rfind(b"\0" + READY) + 1])
    return int(found.group(1)) if found else None
