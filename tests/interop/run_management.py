#!/usr/bin/env python3
"""Clients of the management API, as their users run them: every method of pyrabbit2, and Celery's Flower with a worker.

    LEVERET_PORT=5672 LEVERET_HTTP_PORT=15672 run_management.py [CHECK...]

Needs pyrabbit2, flower and celery. What it makes it deletes. Passes against RabbitMQ 3.10 as well. Ends with
`management: N passed, N failed` (exit status 1 on a failure).
"""

import base64
import json
import os
import socket
import sys
import urllib.error
import urllib.request

import pika
import pyrabbit2
from pyrabbit2.http import HTTPError

from support import HOST, PORT, Program, run_checks, wait_until

HTTP_PORT = int(os.environ.get("LEVERET_HTTP_PORT", "15672"))
HERE = os.path.dirname(os.path.abspath(__file__))
API = f"http://guest:guest@{HOST}:{HTTP_PORT}/api/"
VHOST = "interop management"
USER = "interop-management"
# Statistics may be as old as this, in seconds: RabbitMQ collects every five.
STATISTICS_PATIENCE = 20


def client(user="guest", password="guest"):
    return pyrabbit2.Client(f"{HOST}:{HTTP_PORT}", user, password, timeout=20)


def fresh_vhost():
    admin = client()
    if VHOST in admin.get_vhost_names():
        admin.delete_vhost(VHOST)
    admin.create_vhost(VHOST)
    admin.set_vhost_permissions(VHOST, "guest", ".*", ".*", ".*")
    return admin


def refused_with(status, act):
    try:
        act()
    except HTTPError as error:
        assert error.status == status, error
        return
    except pyrabbit2.api.PermissionError:
        assert status == 401
        return
    raise AssertionError(f"it was not refused with {status}")


def by_name(items):
    return {item["name"]: item for item in items}


def connect():
    return pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT, VHOST))


# ---- pyrabbit2


def pyrabbit_sees_the_broker():
    admin = client()
    assert admin.is_alive()
    assert admin.get_whoami()["name"] == "guest"
    overview = admin.get_overview()
    assert overview["node"] and overview["rabbitmq_version"] and overview["object_totals"]["queues"] >= 0
    [node] = admin.get_nodes()
    assert node["running"] and node["mem_used"] > 0 and node["fd_total"] > 0
    assert admin.get_cluster_name()["name"]
    assert isinstance(admin.get_extensions(), list)
    assert "guest" in by_name(admin.get_definitions()["users"])
    refused_with(401, client("guest", "wrong").get_overview)


def pyrabbit_keeps_users_and_virtual_hosts():
    admin = fresh_vhost()
    assert admin.get_vhost(VHOST)["name"] == VHOST
    assert VHOST in by_name(admin.get_all_vhosts())
    admin.create_user(USER, password="secret", tags="management")
    assert USER in by_name(admin.get_users())
    admin.set_vhost_permissions(VHOST, USER, config="^own", rd=".*", wr="")
    permission = admin.get_permission(VHOST, USER)
    assert (permission["configure"], permission["write"], permission["read"]) == ("^own", "", ".*")
    assert permission in admin.get_permissions()
    assert permission in admin.get_vhost_permissions(VHOST)
    assert admin.get_user_permissions(USER) == [permission]
    refused_with(401, client(USER, "secret").get_users)
    admin.delete_permission(VHOST, USER)
    refused_with(404, lambda: admin.get_permission(VHOST, USER))
    admin.create_user(USER, password_hash=by_name(admin.get_users())[USER]["password_hash"], tags="monitoring")
    assert client(USER, "secret").get_whoami()["name"] == USER
    admin.delete_user(USER)
    admin.delete_vhost(VHOST)
    refused_with(404, lambda: admin.get_vhost(VHOST))


def pyrabbit_declares_publishes_and_gets():
    admin = fresh_vhost()
    admin.create_exchange(VHOST, "x/1", "topic")
    assert admin.get_exchange(VHOST, "x/1")["type"] == "topic"
    assert "x/1" in by_name(admin.get_exchanges(VHOST)) and "x/1" in by_name(admin.get_exchanges())
    for name in ["q 1", "q 2", "other"]:
        admin.create_queue(VHOST, name, durable=True, auto_delete=False, arguments={"x-max-length": 10})
    admin.create_binding(VHOST, "x/1", "q 1", rt_key="a.#")
    binding = [it for it in admin.get_queue_bindings(VHOST, "q 1") if it["source"] == "x/1"]
    assert [it["routing_key"] for it in binding] == ["a.#"] and binding[0] in admin.get_bindings()
    assert admin.publish(VHOST, "x/1", "a.b", "hällo", properties={"delivery_mode": 2, "headers": {"n": 1}})
    assert admin.publish(VHOST, "x/1", "a", base64.b64encode(b"\xff\x00").decode(), payload_enc="base64")
    assert not admin.publish(VHOST, "x/1", "b", "nobody wants it")
    first, second = admin.get_messages(VHOST, "q 1", count=5, requeue=True)
    assert (first["payload"], first["payload_encoding"], first["routing_key"]) == ("hällo", "string", "a.b")
    assert first["properties"] == {"delivery_mode": 2, "headers": {"n": 1}} and first["message_count"] == 1
    assert (second["payload"], second["payload_encoding"]) == ("/wA=", "base64")
    [cut] = admin.get_messages(VHOST, "q 1", truncate=1, encoding="base64")
    assert base64.b64decode(cut["payload"]) == b"h" and cut["payload_bytes"] == 6 and cut["redelivered"]
    found = {it["name"] for it in admin.get_queues(VHOST, pattern="^q ", regex=True)}
    assert found == {"q 1", "q 2"}, found
    assert {it["name"] for it in admin.get_queues(VHOST)} == {"q 1", "q 2", "other"}
    wait_until("q 1 to have one", lambda: admin.get_queue(VHOST, "q 1").get("messages") == 1, STATISTICS_PATIENCE)
    assert admin.get_queue_depth(VHOST, "q 1") == 1
    queue = admin.get_queue(VHOST, "q 1")
    assert (queue["message_bytes"], queue["message_bytes_ready"], queue["message_bytes_unacknowledged"]) == (2, 2, 0)
    admin.purge_queues([("q 1", VHOST), ("q 2", VHOST)])
    assert not admin.get_messages(VHOST, "q 1")
    admin.delete_binding(VHOST, "x/1", "q 1", binding[0]["properties_key"])
    admin.delete_queue(VHOST, "q 1")
    admin.delete_exchange(VHOST, "x/1")
    refused_with(404, lambda: admin.get_queue(VHOST, "q 1"))
    refused_with(404, lambda: admin.get_exchange(VHOST, "x/1"))
    admin.delete_vhost(VHOST)


def pyrabbit_sees_and_closes_connections():
    admin = fresh_vhost()
    admin.create_queue(VHOST, "q", durable=True)
    connection = connect()
    channel = connection.channel()
    channel.basic_consume("q", lambda *_: None, consumer_tag="ours")

    def own(items):
        return [item for item in items if item.get("vhost") == VHOST and item.get("user") == "guest"]

    def settled():
        connection.process_data_events(0)
        return own(admin.get_connections()) and own(admin.get_channels())

    wait_until("the connection", settled, STATISTICS_PATIENCE)
    [shown], [shown_channel] = own(admin.get_connections()), own(admin.get_channels())
    assert admin.get_connection(shown["name"])["user"] == "guest"
    assert admin.get_channel(shown_channel["name"])["number"] == channel.channel_number
    admin.delete_connection(shown["name"])

    def closed():
        try:
            connection.process_data_events(0.1)
            return False
        except pika.exceptions.AMQPConnectionError:
            return True

    wait_until("the end of the connection", closed)
    admin.delete_vhost(VHOST)


def pyrabbit_sets_policies():
    admin = fresh_vhost()
    policy = {"pattern": "^q", "definition": {"max-length": 3}, "priority": 2, "apply-to": "queues"}
    admin.create_policy(VHOST, "p", **policy)
    assert admin.get_policy(VHOST, "p") == {**policy, "vhost": VHOST, "name": "p"}
    assert "p" in by_name(admin.get_all_policies())
    admin.delete_policy(VHOST, "p")
    refused_with(404, lambda: admin.get_policy(VHOST, "p"))
    assert admin.get_all_shovels() == []
    admin.delete_vhost(VHOST)


# ---- Flower


def flower_shows_workers_tasks_and_queues():
    app = ["-A", "celery_app", "--workdir", HERE]
    broker = f"amqp://guest:guest@{HOST}:{PORT}//"
    worker = Program(
        sys.executable, "-m", "celery", *app, "worker", "-c", "1", "-E", "-n", "watched@%h", "-Q",
        "interop-flower", "-l", "INFO", cwd=HERE)
    worker.wait_for("watched@.* ready", patience=60)
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    flower = Program(
        sys.executable, "-m", "celery", *app, "--broker", broker, "flower", f"--address={HOST}", f"--port={port}",
        f"--broker_api={API}", cwd=HERE, env={"FLOWER_UNAUTHENTICATED_API": "true"})
    flower.wait_for("Visit me at|Connected to", patience=60)

    def fetch(path):
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=20) as response:
            return response.read().decode()

    def reachable():
        try:
            return fetch("/healthcheck")
        except urllib.error.URLError:
            return False

    wait_until("Flower", reachable)
    wait_until("the worker", lambda: "watched@" in fetch("/workers"))
    name = next(iter(json.loads(fetch("/api/workers?refresh=1"))))
    assert "interop-flower" in fetch(f"/worker/{name}")
    # What it knows of queues comes from the management API.
    lengths = json.loads(fetch("/api/queues/length"))["active_queues"]
    assert {queue["name"]: queue["messages"] for queue in lengths} == {"interop-flower": 0}
    assert "interop-flower" in fetch("/broker")
    for path in ["/tasks", "/metrics", "/api/tasks"]:
        fetch(path)
    assert not flower.matching("management API call failed"), flower.tail()
    flower.interrupt()
    worker.terminate()
    connection = pika.BlockingConnection(pika.ConnectionParameters(HOST, PORT))
    connection.channel().queue_delete("interop-flower")
    connection.close()


CHECKS = [
    pyrabbit_sees_the_broker,
    pyrabbit_keeps_users_and_virtual_hosts,
    pyrabbit_declares_publishes_and_gets,
    pyrabbit_sees_and_closes_connections,
    pyrabbit_sets_policies,
    flower_shows_workers_tasks_and_queues,
]

if __name__ == "__main__":
    run_checks("management", CHECKS)
