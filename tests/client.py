"""Drives the example server from Python's standard library, in the ways that Python programs do.

    client.py ECHO-PORT LINE-PORT UDP-PORT ECHO-PATH DATAGRAM-PATH

Prints a line for each check, and exits with 1 if one of them failed. Nothing here sleeps: whoever
waits does so for the server, for at most PATIENCE seconds.
"""

import asyncio
import os
import selectors
import socket
import struct
import sys
import tempfile
import threading
import traceback

PATIENCE = 60
HOST = "127.0.0.1"

checks = []


def check(function):
    checks.append(function)
    return function


def connect(port):
    return socket.create_connection((HOST, port), timeout=PATIENCE)


def receive(sock, count):
    """Exactly so many bytes."""
    pieces = []
    while count > 0:
        piece = sock.recv(count)
        assert piece, "the server ended"
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


@check
def blocking_socket_sends_and_receives(to):
    with connect(to.echo) as sock:
        sock.sendall(b"hello")
        assert receive(sock, 5) == b"hello"


@check
def half_close_is_answered_to_the_end(to):
    data = os.urandom(300_000)
    with connect(to.echo) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert receive(sock, len(data)) == data
        assert sock.recv(1) == b""
        sender.join()


@check
def file_object_reads_lines(to):
    with connect(to.line) as sock, sock.makefile("rwb") as file:
        for line in [b"one\n", b"two\r\n", b"\n", "drei Stück\n".encode()]:
            file.write(line)
            file.flush()
            assert file.readline() == line


@check
def text_file_iterates_over_lines(to):
    with connect(to.line) as sock, sock.makefile("rw", encoding="utf-8", newline="\n") as file:
        file.write("".join(f"line {number}\n" for number in range(100)))
        file.flush()
        sock.shutdown(socket.SHUT_WR)
        assert list(file) == [f"line {number}\n" for number in range(100)]


@check
def last_line_without_an_end_is_answered(to):
    with connect(to.line) as sock:
        sock.sendall(b"whole\nhalf")
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 10) == b"whole\nhalf"
        assert sock.recv(1) == b""


@check
def non_blocking_sockets_in_a_selector(to):
    count, size = 50, 100_000
    with selectors.DefaultSelector() as selector:
        for number in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((HOST, to.echo))
            data = bytes([number]) * size
            state = {"left": memoryview(data), "got": bytearray(), "data": data}
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, state)
        done = 0
        while done < count:
            events = selector.select(PATIENCE)
            assert events, "nothing happens"
            for key, mask in events:
                sock, state = key.fileobj, key.data
                if mask & selectors.EVENT_WRITE:
                    sent = sock.send(state["left"][:7000])
                    state["left"] = state["left"][sent:]
                    if not state["left"]:
                        sock.shutdown(socket.SHUT_WR)
                        selector.modify(sock, selectors.EVENT_READ, state)
                if mask & selectors.EVENT_READ:
                    piece = sock.recv(4096)
                    state["got"] += piece
                    if not piece:
                        assert state["got"] == state["data"]
                        selector.unregister(sock)
                        sock.close()
                        done += 1


@check
def asyncio_streams(to):
    async def one(number):
        reader, writer = await asyncio.open_connection(HOST, to.line)
        for turn in range(20):
            line = f"client {number}, turn {turn}\n".encode()
            writer.write(line)
            await writer.drain()
            assert await reader.readline() == line
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def everyone():
        await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(50))), PATIENCE)

    asyncio.run(everyone())


@check
def asyncio_datagrams(to):
    class Protocol(asyncio.DatagramProtocol):
        def __init__(self):
            self.answers = asyncio.Queue()

        def datagram_received(self, data, _):
            self.answers.put_nowait(data)

    async def exchange():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            Protocol, remote_addr=(HOST, to.udp)
        )
        for number in range(20):
            transport.sendto(str(number).encode())
            answer = await asyncio.wait_for(protocol.answers.get(), PATIENCE)
            assert answer == str(number).encode()
        transport.close()

    asyncio.run(exchange())


@check
def timeout_while_nothing_was_asked(to):
    with connect(to.echo) as sock:
        sock.settimeout(0.05)
        try:
            sock.recv(1)
            raise AssertionError("an echo spoke first")
        except socket.timeout:
            pass
        sock.settimeout(PATIENCE)
        sock.sendall(b"after it")
        assert receive(sock, 8) == b"after it"


@check
def receiving_into_a_buffer_and_peeking(to):
    with connect(to.echo) as sock:
        sock.sendall(b"abcdef")
        buffer = bytearray(6)
        assert sock.recv_into(buffer, 6, socket.MSG_WAITALL) == 6
        assert buffer == b"abcdef"
        sock.sendall(b"gh")
        assert sock.recv(2, socket.MSG_PEEK)[:1] == b"g"
        assert receive(sock, 2) == b"gh"


@check
def sending_a_file(to):
    data = os.urandom(1_000_000)
    with tempfile.TemporaryFile() as file, connect(to.echo) as sock:
        file.write(data)
        file.seek(0)
        sender = threading.Thread(target=lambda: sock.sendfile(file))
        sender.start()
        assert receive(sock, len(data)) == data
        sender.join()


@check
def reset_by_a_client_harms_no_other(to):
    with connect(to.echo) as other:
        for _ in range(20):
            with connect(to.echo) as sock:
                sock.sendall(b"x" * 10_000)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.sendall(b"unharmed")
            assert receive(other, 8) == b"unharmed"


@check
def threads_each_with_a_connection(to):
    failed = []

    def one(number):
        try:
            with connect(to.echo) as sock:
                for turn in range(20):
                    data = f"{number}:{turn};".encode() * 50
                    sock.sendall(data)
                    assert receive(sock, len(data)) == data
        except BaseException as error:  # to be told in the main thread
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


@check
def datagrams_of_every_size(to):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        for size in [0, 1, 512, 1472, 9000, 65_507]:
            data = os.urandom(size)
            sock.sendto(data, (HOST, to.udp))
            answer, sender = sock.recvfrom(70_000)
            assert answer == data
            assert sender == (HOST, to.udp)


@check
def unix_stream(to):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(to.path)
        sock.sendall(b"hello" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 5000) == b"hello" * 1000
        assert sock.recv(1) == b""


@check
def unix_stream_with_a_passed_descriptor(to):
    # It is not wanted, and must not keep the bytes around it from being read.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(to.path)
        sock.sendall(b"before ")
        rights = struct.pack("i", sys.stdout.fileno())
        sock.sendmsg([b"with "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        sock.sendall(b"behind")
        assert receive(sock, 18) == b"before with behind"


@check
def unix_datagram(to):
    with tempfile.TemporaryDirectory() as directory:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.bind(os.path.join(directory, "client"))
            for data in [b"hello", b"", b"x" * 10_000]:
                sock.sendto(data, to.datagram_path)
                answer, sender = sock.recvfrom(70_000)
                assert answer == data
                assert sender == to.datagram_path


class Addresses:
    def __init__(self, echo, line, udp, path, datagram_path):
        self.echo, self.line, self.udp = int(echo), int(line), int(udp)
        self.path, self.datagram_path = path, datagram_path


def main():
    to = Addresses(*sys.argv[1:])
    failed = 0
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            function(to)
            print(f"ok: {name}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED: {name}: {error!r}", flush=True)
            traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
