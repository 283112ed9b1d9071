"""A small Celery application: the tasks that run_celery.py sends to a real worker.

The broker is LEVERET_HOST:LEVERET_PORT; results come back by CELERY_BACKEND: `rpc://` (over the broker, the default)
or `file://...` (which chords need).
"""

import os
import time

from celery import Celery

broker = "amqp://guest:guest@{LEVERET_HOST}:{LEVERET_PORT}//".format(**os.environ)

app = Celery("celery_app", broker=broker, backend=os.environ.get("CELERY_BACKEND", "rpc://"))
app.conf.update(
    task_default_queue="interop-celery",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    result_expires=300,
)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3, default_retry_delay=0.2)
def flaky(self, failures):
    """Fails that many times before it returns the number of its retries."""
    if self.request.retries < failures:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries


@app.task
def broken():
    raise KeyError("broken")


@app.task
def now():
    return time.time()


@app.task(bind=True)
def wait_for_file(self, path):
    """Works until the file exists; returns whether this was a redelivery."""
    with open(path + ".started", "a") as started:
        started.write("x")
    while not os.path.exists(path):
        time.sleep(0.05)
    return self.request.delivery_info["redelivered"]
