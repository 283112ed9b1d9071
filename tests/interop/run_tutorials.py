#!/usr/bin/env python3
"""The six RabbitMQ tutorials, each program in a process of its own, as a reader of the tutorials types them.

    LEVERET_HOST=127.0.0.1 LEVERET_PORT=5672 run_tutorials.py [CHECK...]

Needs pika. The programs are in tutorials/; this file starts them, waits for what they print and for the state of their
queues, and ends with `tutorials: N passed, N failed` (exit status 1 on a failure). It uses the tutorials' own names of
queues and exchanges and deletes them first, so the broker should be one that nobody else works with.
"""

import os
import sys

from support import Observer, Program, run_checks, wait_until

TUTORIALS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tutorials")
WAITING = r"^ \[\*\] Waiting for "


def program(name, *arguments):
    return Program(sys.executable, os.path.join(TUTORIALS, name), *arguments)


def run(name, *arguments):
    return program(name, *arguments).finish()


def clean():
    observer = Observer()
    observer.delete(queues=("hello", "task_queue", "rpc_queue"), exchanges=("logs", "direct_logs", "topic_logs"))
    observer.close()


# ---- 1 "Hello World!"


def hello_world_reaches_a_waiting_receiver():
    receiver = program("receive.py")
    receiver.wait_for(WAITING)
    assert run("send.py") == [" [x] Sent 'Hello World!'"]
    assert receiver.wait_for("Received") == [" [x] Received b'Hello World!'"]
    receiver.interrupt()
    assert receiver.finish()[-1] == "Interrupted"


def hello_world_waits_for_a_receiver_that_comes_later():
    observer = Observer()
    for _ in range(3):
        run("send.py")
    receiver = program("receive.py")
    assert receiver.wait_for("Received", count=3) == [" [x] Received b'Hello World!'"] * 3
    wait_until("an empty queue", lambda: observer.queue("hello") == (0, 1))


# ---- 2 work queues


def five_tasks_go_round_robin_to_two_workers():
    observer = Observer()
    first = program("worker_round_robin.py")
    first.wait_for(WAITING)
    observer.wait_for_consumers("task_queue", 1)
    second = program("worker_round_robin.py")
    observer.wait_for_consumers("task_queue", 2)
    for number in ("First", "Second", "Third", "Fourth", "Fifth"):
        assert run("new_task.py", f"{number} message.") == [f" [x] Sent {number} message."]
    first.wait_for("Done", count=3)
    second.wait_for("Done", count=2)
    received = lambda *numbers: [f" [x] Received {number} message." for number in numbers]
    assert first.matching("Received") == received("First", "Third", "Fifth")
    assert second.matching("Received") == received("Second", "Fourth")


def a_busy_worker_gets_no_second_task():
    observer = Observer()
    busy = program("worker.py")
    observer.wait_for_consumers("task_queue", 1)
    run("new_task.py", "long" + "." * 8)
    busy.wait_for("Received long")
    idle = program("worker.py")
    observer.wait_for_consumers("task_queue", 2)
    for number in range(4):
        run("new_task.py", f"short {number}")
    assert idle.wait_for("Received", count=4) == [f" [x] Received short {number}" for number in range(4)]
    assert len(busy.matching("Received")) == 1
    assert not busy.matching("Done"), "the short tasks took as long as the long one"


def a_task_of_a_killed_worker_is_redelivered():
    observer = Observer()
    doomed = program("worker.py")
    observer.wait_for_consumers("task_queue", 1)
    run("new_task.py", "precious....")
    doomed.wait_for("Received precious")
    heir = program("worker.py")
    observer.wait_for_consumers("task_queue", 2)
    doomed.kill()
    heir.wait_for("Received precious")
    observer.wait_for_consumers("task_queue", 1)
    heir.wait_for("Done")
    # With its prefetch of one it gets the next task only when it has acknowledged this one, which then never comes back.
    run("new_task.py", "next" + "." * 30)
    heir.wait_for("Received next")
    heir.kill()
    wait_until("only the next task in the queue", lambda: observer.queue("task_queue") == (1, 0))


def a_task_of_a_killed_worker_waits_when_there_is_no_other():
    observer = Observer()
    doomed = program("worker.py")
    observer.wait_for_consumers("task_queue", 1)
    run("new_task.py", "patient" + "." * 30)
    doomed.wait_for("Received patient")
    assert observer.queue("task_queue") == (0, 1), "unacknowledged, not ready"
    doomed.kill()
    wait_until("the task back in the queue", lambda: observer.queue("task_queue") == (1, 0))


# ---- 3 publish/subscribe


def every_log_reaches_every_subscriber():
    run("emit_log.py", "lost: nobody listens")
    subscribers = [program("receive_logs.py"), program("receive_logs.py")]
    for subscriber in subscribers:
        subscriber.wait_for(WAITING)
    assert run("emit_log.py") == [" [x] Sent info: Hello World!"]
    run("emit_log.py", "last")
    for subscriber in subscribers:
        subscriber.wait_for("last")
        assert subscriber.matching(r"^ \[x\]") == [" [x] b'info: Hello World!'", " [x] b'last'"]


def subscriptions_end_with_their_subscriber():
    observer = Observer()
    leaver, stayer = program("receive_logs.py"), program("receive_logs.py")
    leaver.wait_for(WAITING)
    stayer.wait_for(WAITING)
    leaver.kill()
    run("emit_log.py", "after")
    stayer.wait_for("after")
    assert observer.is_bound("logs"), "the stayer's binding is gone"
    stayer.kill()
    wait_until("no binding left", lambda: not observer.is_bound("logs"))


# ---- 4 routing


def a_direct_exchange_selects_by_severity():
    to_file = program("receive_logs_direct.py", "warning", "error")
    to_screen = program("receive_logs_direct.py", "info", "warning", "error")
    to_file.wait_for(WAITING)
    to_screen.wait_for(WAITING)
    for severity in ("debug", "info", "warning", "error"):
        run("emit_log_direct.py", severity, "Run. Run. Or it will explode.")
    said = lambda *severities: [f" [x] {severity}:b'Run. Run. Or it will explode.'" for severity in severities]
    to_screen.wait_for("error:")
    to_file.wait_for("error:")
    assert to_screen.matching(r"^ \[x\]") == said("info", "warning", "error")
    assert to_file.matching(r"^ \[x\]") == said("warning", "error")


# ---- 5 topics


def a_topic_exchange_selects_by_pattern():
    patterns = {
        "everything": ["#"],
        "kernel": ["kern.*"],
        "critical": ["*.critical"],
        "both": ["kern.*", "*.critical"],
        "deep": ["lazy.#", "*.orange.*"],
    }
    receivers = {name: program("receive_logs_topic.py", *keys) for name, keys in patterns.items()}
    for receiver in receivers.values():
        receiver.wait_for(WAITING)
    keys = ["kern.critical", "kern.info", "cron.critical", "kern", "lazy", "lazy.orange.rabbit", "quick.orange.new.fox", "end.kern.critical"]
    for key in keys:
        run("emit_log_topic.py", key, "text")
    # One of these two keys matches whichever receiver: what it was to get has come when "stop" has.
    for key in ("kern.critical", "lazy.end"):
        run("emit_log_topic.py", key, "stop")
    expected = {
        "everything": keys,
        "kernel": ["kern.critical", "kern.info"],
        "critical": ["kern.critical", "cron.critical"],
        "both": ["kern.critical", "kern.info", "cron.critical"],
        "deep": ["lazy", "lazy.orange.rabbit"],
    }
    for name, receiver in receivers.items():
        receiver.wait_for(":b'stop'")
        got = [line.split()[1].split(":")[0] for line in receiver.matching(":b'text'")]
        assert got == expected[name], f"{name} {patterns[name]}: {got}"


# ---- 6 remote procedure call


def a_remote_procedure_answers():
    program("rpc_server.py").wait_for("Awaiting RPC requests")
    assert run("rpc_client.py") == [" [x] Requesting fib(30)", " [.] Got 832040"]
    assert run("rpc_client.py", "6")[-1] == " [.] Got 8"


def two_servers_share_the_requests_of_many_clients():
    observer = Observer()
    servers = [program("rpc_server.py"), program("rpc_server.py")]
    observer.wait_for_consumers("rpc_queue", 2)
    clients = [program("rpc_client.py", str(number)) for number in (22, 23, 24, 25)]
    answers = [client.finish()[-1] for client in clients]
    assert answers == [f" [.] Got {result}" for result in (17711, 28657, 46368, 75025)], answers
    counts = [len(server.matching(r"fib\(")) for server in servers]
    assert sum(counts) == 4 and min(counts) > 0, f"requests per server: {counts}"


def a_request_of_a_killed_server_is_answered_by_another():
    observer = Observer()
    doomed = program("rpc_server.py")
    observer.wait_for_consumers("rpc_queue", 1)
    client = program("rpc_client.py", "33")
    doomed.wait_for(r"fib\(33\)")
    doomed.kill()
    program("rpc_server.py").wait_for(r"fib\(33\)")
    assert client.finish(patience=60)[-1] == " [.] Got 3524578"


CHECKS = [
    hello_world_reaches_a_waiting_receiver,
    hello_world_waits_for_a_receiver_that_comes_later,
    five_tasks_go_round_robin_to_two_workers,
    a_busy_worker_gets_no_second_task,
    a_task_of_a_killed_worker_is_redelivered,
    a_task_of_a_killed_worker_waits_when_there_is_no_other,
    every_log_reaches_every_subscriber,
    subscriptions_end_with_their_subscriber,
    a_direct_exchange_selects_by_severity,
    a_topic_exchange_selects_by_pattern,
    a_remote_procedure_answers,
    two_servers_share_the_requests_of_many_clients,
    a_request_of_a_killed_server_is_answered_by_another,
]

if __name__ == "__main__":
    run_checks("tutorials", CHECKS, setup=clean)
