"""What the scripts beside this file share: servers as processes, load on them, and counts.

Every server prints a line for each of its listeners, `listening echo tcp 127.0.0.1:40123`, and
serves until it is told to stop; the load is `examples/load`. Whatever a script starts, it ends.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER = os.path.join(ROOT, "target/release/examples/server")
LOAD = os.path.join(ROOT, "target/release/examples/load")


class Trouble(Exception):
    """Something that whoever runs the script can read and act on."""


def main(script):
    """Runs a script; trouble is one line on standard error."""
    try:
        sys.exit(script())
    except Trouble as trouble:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {trouble}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(*command, cwd=ROOT, env=None):
    """Runs a command that must succeed; its output goes where ours goes."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=sys.stderr)
    if done.returncode:
        raise Trouble(f"this failed: {' '.join(command)}")


def need(*programs):
    """Refuses to go on without these programs."""
    for program in programs:
        if not shutil.which(program):
            raise Trouble(f"needs {program}: apt-get install {program}")


def note(text):
    """Says how far it is, on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Server:
    """A server as a process, perhaps pinned to a processor, perhaps under a program that counts."""

    def __init__(self, command, wrapper=(), cpu=None):
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*pin, *wrapper, *command], stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        words = self.process.stdout.readline().split()
        if words[:1] != ["listening"]:
            self.stop()
            raise Trouble(f"{' '.join(command)} does not listen: {self.said()}")
        self.address = words[3]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        """Of the server itself, which may be the child of its wrapper."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(f"/proc/{self.process.pid}/comm") as comm, open(path) as children:
            child = children.read().split()
            return int(child[0]) if child and comm.read().strip() == "strace" else self.process.pid

    def stop(self):
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self):
        """What is on its standard error."""
        self.errors.seek(0)
        return self.errors.read().strip()


def load(mode, address, *options, cpu=None):
    """Puts a load on a server, and answers what it measured."""
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    addresses = [address] if isinstance(address, str) else address
    command = [*pin, LOAD, mode, *addresses, *map(str, options), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Trouble(f"{done.stderr.strip()} ({' '.join(command)})")
    return json.loads(done.stdout)


def instructions(command, mode, *options):
    """User-space instructions of a server under a load, its start included."""
    out = tempfile.NamedTemporaryFile()
    counting = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
    # Under it a turn may take so long that the next thousand would be timed, which counts.
    patient = ["--limit", "stall=1000000"] if command[0] == SERVER else []
    with Server([*command, *patient], counting) as server:
        load(mode, server.address, *options)
    said = [line for line in server.said().splitlines() if "Collected" in line]
    if not said:
        raise Trouble(f"valgrind says nothing of {command[0]}: {server.said()[-200:]}")
    return int(said[0].split()[3])


def system_calls(command, mode, *options):
    """System calls of a server under a load, its start included."""
    out = tempfile.NamedTemporaryFile("r")
    with Server(command, ["strace", "-f", "-c", "-o", out.name]) as server:
        load(mode, server.address, *options)
    return int(next(line for line in out if line.endswith("total\n")).split()[3])


def each(counter, command, mode, rounds, per_round, *options):
    """Counts for one message: the difference of a long run and a short one."""
    less = counter(command, mode, *options, "--rounds", rounds)
    more = counter(command, mode, *options, "--rounds", 5 * rounds)
    return (more - less) / (4 * rounds * per_round)


def quartiles(values):
    """The lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))
