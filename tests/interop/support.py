"""What the runners in this folder share: programs as processes, waiting for conditions, and the count of checks.

Where the broker listens comes from LEVERET_HOST and LEVERET_PORT (127.0.0.1 and 5672 when unset).
"""

import atexit
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

import pika

HOST = os.environ.setdefault("LEVERET_HOST", "127.0.0.1")
PORT = int(os.environ.setdefault("LEVERET_PORT", "5672"))

# Seconds that any single condition may take; a broker needs milliseconds, a busy machine some more.
PATIENCE = 30


def wait_until(what, condition, patience=PATIENCE):
    """The first true value of condition(); AssertionError naming `what` when none comes in time."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {patience} s for {what}"
        time.sleep(0.02)


class Program:
    """A child process whose output lines can be waited for. It never outlives the runner."""

    alive = set()

    def __init__(self, *command, cwd=None, env=None):
        self.name = " ".join(os.path.basename(part) for part in command[1:])
        self.lines = []
        self._changed = threading.Condition()
        self._output_ended = False
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        Program.alive.add(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern, count=1, patience=PATIENCE):
        """Waits until `count` lines match the regular expression, and returns them."""
        deadline = time.monotonic() + patience
        with self._changed:
            while len(self.matching(pattern)) < count:
                left = deadline - time.monotonic()
                if left <= 0 or self._output_ended:
                    why = "ended" if self._output_ended else f"ran {patience} s"
                    raise AssertionError(f"{self.name} {why} without {count} x {pattern!r}; it said:\n{self.tail()}")
                self._changed.wait(left)
            return self.matching(pattern)

    def matching(self, pattern):
        return [line for line in list(self.lines) if re.search(pattern, line)]

    def tail(self):
        return "\n".join(self.lines[-20:])

    def finish(self, patience=PATIENCE):
        """Waits for the program's own end; its exit status must be 0. Returns its lines."""
        status = self._process.wait(patience)
        self._reader.join(patience)
        Program.alive.discard(self)
        assert status == 0, f"{self.name} exited with {status}:\n{self.tail()}"
        return self.lines

    def interrupt(self):
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        """kill -9: the program cannot say goodbye to the broker; the operating system closes its socket."""
        self._process.kill()
        self._process.wait()
        Program.alive.discard(self)

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._output_ended = True
            self._changed.notify_all()


@atexit.register
def kill_programs():
    for program in list(Program.alive):
        program.kill()


# atexit does not run on a signal's default action: turn the termination into an ordinary exit.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Observer:
    """The runner's own connection, to see the state of queues."""

    def __init__(self):
        self._connection = pika.BlockingConnection(pika.ConnectionParameters(host=HOST, port=PORT))
        self.channel = self._connection.channel()

    def queue(self, name):
        """(ready messages, consumers) of a queue; None when it does not exist."""
        channel = self._connection.channel()
        try:
            ok = channel.queue_declare(queue=name, passive=True).method
            return ok.message_count, ok.consumer_count
        except pika.exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == 404, error
            return None
        finally:
            if channel.is_open:
                channel.close()

    def wait_for_consumers(self, queue, count):
        wait_until(f"{count} consumers on {queue}", lambda: (self.queue(queue) or (0, -1))[1] == count)

    def delete(self, queues=(), exchanges=()):
        for queue in queues:
            self.channel.queue_delete(queue)
        for exchange in exchanges:
            self.channel.exchange_delete(exchange)

    def is_bound(self, exchange):
        """Whether anything is bound to the exchange. When nothing is, this deletes it."""
        channel = self._connection.channel()
        try:
            channel.exchange_delete(exchange, if_unused=True)
            channel.close()
            return False
        except pika.exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == 406, error
            return True

    def close(self):
        self._connection.close()


def run_checks(suite, checks, setup=lambda: None):
    """Runs every check, `setup` before and the end of all programs after each; prints the count; exits 1 on a failure."""
    wanted = sys.argv[1:]
    passed = failed = 0
    for check in checks:
        name = check.__name__
        if wanted and name not in wanted:
            continue
        started = time.monotonic()
        try:
            setup()
            check()
            passed += 1
            print(f"pass {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name} ({time.monotonic() - started:.1f} s)\n{traceback.format_exc()}", flush=True)
        finally:
            kill_programs()
    print(f"{suite}: {passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
