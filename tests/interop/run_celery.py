#!/usr/bin/env python3
"""A Celery application against the broker: results, retries, ETA, groups, chords, revocation, the death of a worker.

    LEVERET_HOST=127.0.0.1 LEVERET_PORT=5672 run_celery.py [CHECK...]

Needs celery and pika. The worker is a real process with a pool of two. Ends with `celery: N passed, N failed` (exit
status 1 on a failure). It uses the queue interop-celery and deletes it first, so nobody else should work with it.
"""

import datetime
import os
import sys
import tempfile
import time

from support import Observer, Program, run_checks, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
QUEUE = "interop-celery"
scratch = tempfile.TemporaryDirectory(prefix="leveret-celery-")
# Results of chords go to files: the rpc backend has no chords.
FILES = "file://" + os.path.join(scratch.name, "results")
os.mkdir(os.path.join(scratch.name, "results"))

from celery import chain, group  # noqa: E402
from celery.exceptions import TaskRevokedError  # noqa: E402

from celery_app import add, app, broken, flaky, now, wait_for_file  # noqa: E402

PATIENCE = 30


def worker(name="one", backend="rpc://"):
    """A worker that answers pings, and so has its consumers in place."""
    node = f"{name}@interop"
    program = Program(
        *(sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-c", "2", "-l", "INFO", "-n", node),
        cwd=HERE,
        env={"CELERY_BACKEND": backend, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    wait_until(f"{node} to answer", lambda: app.control.ping(destination=[node], timeout=0.5))
    return program


def clean():
    app.control.purge()
    observer = Observer()
    observer.delete(queues=[QUEUE])
    observer.close()


def result(task):
    return task.get(timeout=PATIENCE)


def tasks_return_their_results():
    worker()
    tasks = [add.delay(number, number) for number in range(50)]
    assert [result(task) for task in tasks] == [2 * number for number in range(50)]


def a_failure_reaches_the_caller():
    worker()
    task = broken.delay()
    try:
        result(task)
    except KeyError:
        assert task.state == "FAILURE"
    else:
        raise AssertionError("no KeyError")


def a_task_is_retried_until_it_succeeds_or_gives_up():
    worker()
    assert result(flaky.delay(2)) == 2
    try:
        result(flaky.delay(9))
    except ValueError:
        pass
    else:
        raise AssertionError("it should have given up after three retries")


def a_task_with_an_eta_runs_then_and_not_before():
    worker()
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    by_eta, by_countdown = now.apply_async(eta=eta), now.apply_async(countdown=1)
    started = time.time()
    assert result(by_eta) >= eta.timestamp()
    assert result(by_countdown) >= started + 0.9


def groups_and_chains_gather():
    worker()
    assert sorted(group(add.s(number, 1) for number in range(10)).apply_async().get(timeout=PATIENCE)) == list(range(1, 11))
    assert chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(timeout=PATIENCE) == 10


def a_chord_runs_its_body_once_all_are_done():
    worker(backend=FILES)
    client = Program(sys.executable, os.path.join(HERE, "celery_chord.py"), env={"CELERY_BACKEND": FILES})
    assert client.finish(2 * PATIENCE) == ["chord 90", "chain 115"]


def a_revoked_task_does_not_run():
    worker()
    task = now.apply_async(countdown=3)
    inspect = app.control.inspect(timeout=1)
    scheduled = lambda: any(entry["request"]["id"] == task.id for node in (inspect.scheduled() or {}).values() for entry in node)
    wait_until("the task in the worker's schedule", scheduled)
    task.revoke()
    wait_until("the revocation", lambda: any(task.id in node for node in (inspect.revoked() or {}).values()))
    try:
        result(task)
    except TaskRevokedError:
        pass
    else:
        raise AssertionError("the task ran")


def a_task_of_a_killed_worker_is_done_by_another():
    first = worker("first")
    path = os.path.join(scratch.name, "go")
    task = wait_for_file.delay(path)
    wait_until("the task to start", lambda: os.path.exists(path + ".started"))
    first.kill()
    worker("second")
    wait_until("the task to start again", lambda: os.path.getsize(path + ".started") == 2)
    open(path, "w").close()
    assert result(task) is True, "the second delivery is marked redelivered"


def a_thousand_tasks():
    worker()
    tasks = group(add.s(number, 0) for number in range(1000)).apply_async()
    assert sum(tasks.get(timeout=2 * PATIENCE)) == 499500


CHECKS = [
    tasks_return_their_results,
    a_failure_reaches_the_caller,
    a_task_is_retried_until_it_succeeds_or_gives_up,
    a_task_with_an_eta_runs_then_and_not_before,
    groups_and_chains_gather,
    a_chord_runs_its_body_once_all_are_done,
    a_revoked_task_does_not_run,
    a_task_of_a_killed_worker_is_done_by_another,
    a_thousand_tasks,
]

if __name__ == "__main__":
    run_checks("celery", CHECKS, setup=clean)
