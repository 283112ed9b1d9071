#!/usr/bin/env python3
"""The script `rabbitmqadmin` through all its subcommands, against two brokers that run already: what it prints is
compared, with names of nodes, addresses and the widths of tables left aside.

    compare_rabbitmqadmin.py AMQP-PORT HTTP-PORT OTHER-AMQP-PORT OTHER-HTTP-PORT

The other one is RabbitMQ 3.10, which serves the script. It prints where the two differ, which is for a person to judge:
versions, memory and salts always do, and where the brokers mean to. Works in virtual hosts and with users of its own,
which are deleted again. Needs pika.
"""

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

import pika

VHOST = "interop-admin"
# Statistics of RabbitMQ are collected every five seconds.
SETTLE_SECONDS = 6

# One command a line; EXPORT and the like are files; those in capitals are steps of this script.
STEPS = r"""
help subcommands
--version
show overview
-f raw_json show overview
list nodes
-f raw_json list nodes
list users
list vhosts
list permissions
list parameters
list policies
list operator_policies
list vhost_limits
list exchanges
list exchanges name type durable
list queues
declare queue name=q1
declare queue name=q2 durable=false auto_delete=false arguments={"x-message-ttl":60000}
declare queue name=q3 queue_type=quorum
declare queue name=q1 durable=false
declare exchange name=x1 type=topic
declare exchange name=x2 type=fanout internal=true durable=false
declare exchange name=x3 type=nonsense
declare binding source=x1 destination=q1 routing_key=a.b
declare binding source=x1 destination=q2 routing_key=#
declare binding source=x1 destination=x2 destination_type=exchange
declare binding source=x1 destination=nowhere
declare binding source=x1 destination=q1 routing_key=k arguments={"a":1}
list bindings
list bindings source destination routing_key properties_key arguments
publish routing_key=q1 payload=hello
publish exchange=x1 routing_key=a.b payload=world properties={"delivery_mode":2,"headers":{"h":1}}
publish exchange=x1 routing_key=none payload=x
publish exchange=nowhere routing_key=none payload=x
publish exchange=amq.default routing_key=none payload=x
publish routing_key=q1 payload=aGVsbG8= payload_encoding=base64
publish routing_key=q1 payload=### payload_encoding=base64
WAIT
list queues name messages_ready durable arguments
list queues name message_bytes message_bytes_ready message_bytes_unacknowledged message_bytes_persistent message_bytes_ram
list queues name messages_ram messages_persistent messages_ready_ram messages_unacknowledged_ram message_bytes_paged_out messages_paged_out
get queue=q1
get queue=q1 count=5 ackmode=ack_requeue_false encoding=base64
get queue=q2 count=5 ackmode=reject_requeue_true
get queue=q2 count=1 ackmode=nonsense
get queue=q2 count=1 ackmode=reject_requeue_false payload_file=PAYLOAD
get queue=nowhere
purge queue name=q1
purge queue name=nowhere
declare vhost name=interop-v1
declare vhost name=interop-v2 tracing=true
list vhosts name tracing
declare user name=interop-u1 password=p1 tags=management
declare user name=interop-u2 password_hash=kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR tags=administrator
declare user name=interop-u3 password_hash= tags=
list users name tags hashing_algorithm
declare permission vhost=interop-v1 user=interop-u1 configure=.* write=.* read=^q
declare permission vhost=nowhere user=interop-u1 configure=.* write=.* read=.*
declare permission vhost=interop-v1 user=nobody configure=.* write=.* read=.*
list permissions
-u interop-u1 -p p1 list users
-u interop-u1 -p p1 list vhosts name
-u interop-u1 -p wrong list vhosts
-u interop-u1 -p p1 -V interop-v1 declare queue name=vq
-u interop-u1 -p p1 -V interop-v1 list queues name
-u interop-u1 -p p1 list queues
-V interop-v1 list queues vhost name
-V interop-v1 list exchanges
-V nowhere list queues
declare parameter component=federation-upstream name=p value={"uri":"amqp://x"}
declare parameter component=vhost-limits name=limits value={"max-queues":5}
list parameters
declare policy name=po pattern=^q definition={"max-length":10} apply-to=queues priority=3
declare policy name=bad pattern=^q definition={"nonsense":10}
declare policy name=bad pattern=( definition={"max-length":10}
declare operator_policy name=op pattern=^q definition={"max-length":5} apply-to=queues
list policies
list operator_policies
declare vhost_limit vhost=interop-v1 name=max-connections value=10
declare vhost_limit vhost=interop-v1 name=nonsense value=10
list vhost_limits
-f tsv list queues name durable
-f long list queues name durable
-f kvp list queues name durable
-f bash list queues
-f pretty_json -d 1 list vhost_limits
-s name -S list queues name
--sort=name --sort-reverse list exchanges name
-d 3 list queues name messages_details.rate
CLIENT
list connections
list connections name user channels state protocol auth_mechanism vhost frame_max channel_max timeout ssl
list channels
list channels name user number prefetch_count consumer_count confirm transactional messages_unacknowledged vhost
list consumers
list consumers queue.name consumer_tag ack_required exclusive prefetch_count active activity_status arguments
-f pretty_json list consumers
CLOSE
list connections
close connection name=nowhere
export EXPORT
-V interop-v1 export EXPORT-OF-HOST
delete binding source=x1 destination_type=queue destination=q1 properties_key=a.b
delete binding source=x1 destination_type=queue destination=q1 properties_key=nonsense
delete binding source=x1 destination_type=exchange destination=x2
list bindings
delete exchange name=x1
delete exchange name=x2
delete exchange name=nowhere
delete exchange name=amq.direct
delete queue name=q1
delete queue name=nowhere
delete vhost_limit vhost=interop-v1 name=max-connections
delete operator_policy name=op
delete policy name=po
delete policy name=nowhere
delete parameter component=federation-upstream name=p
delete parameter component=vhost-limits name=limits
delete permission vhost=interop-v1 user=interop-u1
delete user name=interop-u1
delete user name=nobody
delete vhost name=nowhere
import EXPORT
list queues name durable arguments
list bindings
list users name tags hashing_algorithm
list policies
-V interop-v1 import EXPORT-OF-HOST
-V interop-v1 list queues name
delete queue name=q1
delete queue name=q2
delete queue name=q3
delete exchange name=x1
delete exchange name=x2
delete operator_policy name=op
delete policy name=po
delete user name=interop-u1
delete user name=interop-u2
delete user name=interop-u3
delete vhost name=interop-v1
delete vhost name=interop-v2
list queues
list vhosts name
list users name
"""


class Broker:
    def __init__(self, amqp_port, http_port, script, scratch):
        self.amqp_port, self.http_port, self.script = amqp_port, http_port, script
        self.files = os.path.join(scratch, str(http_port))
        os.mkdir(self.files)
        self.connection = None

    def run(self, line):
        """Exit status and output of a command."""
        words = [word.replace("EXPORT-OF-HOST", self.files + "/host").replace("EXPORT", self.files + "/all")
                 .replace("PAYLOAD", self.files + "/payload") for word in line.split(" ")]
        place = [] if "-V" in words else ["-V", VHOST]
        command = [sys.executable, "-W", "ignore", self.script, "-H", "127.0.0.1", "-P", str(self.http_port)]
        done = subprocess.run(command + place + words, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def prepare(self):
        self.clean()
        self.run(f"-V / declare vhost name={VHOST}")
        self.run(f"-V / declare permission vhost={VHOST} user=guest configure=.* write=.* read=.*")

    def clean(self):
        for name in [VHOST, "interop-v1", "interop-v2"]:
            self.run(f"-V / delete vhost name={name}")
        for name in ["interop-u1", "interop-u2", "interop-u3"]:
            self.run(f"-V / delete user name={name}")

    def connect(self):
        self.connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.amqp_port, VHOST))
        channel = self.connection.channel()
        channel.basic_qos(prefetch_count=7)
        channel.basic_consume("q2", lambda *_: None, consumer_tag="mine")
        self.connection.process_data_events(0.3)

    def close_connection(self):
        for shown in json.loads(self.run("-f raw_json list connections name vhost")[1]):
            if shown["vhost"] == VHOST:
                print(self.run(f"close connection name={shown['name']}"))
        try:
            self.connection.close()
        except pika.exceptions.AMQPError:
            pass


def normal(text):
    text = re.sub(r"127\.0\.0\.1:\d+|localhost:\d+|/\S*/\d+/(all|host|payload)", "PLACE", text)
    text = re.sub(r"\w+@[\w.-]+", "NODE", text)
    text = re.sub(r"amq\.(gen|ctag)-[\w-]+|ctag\d+\.\w+", "GENERATED", text)
    return re.sub(r" +\|", " |", re.sub(r"-+\+", "+", re.sub(r"(?<=\| ) +", "", text)))


def members(value, path=""):
    """Every path in a JSON value, with the type at its end."""
    if isinstance(value, dict):
        return {found for name, inner in value.items() for found in members(inner, f"{path}.{name}")}
    if isinstance(value, list):
        return {found for inner in value for found in members(inner, path + "[]")} or {path}
    return {f"{path}: {'number' if isinstance(value, (int, float)) else type(value).__name__}"}


def compare(line, here, there):
    """Whether both said the same."""
    (status, text), (other_status, other_text) = here.run(line), there.run(line)
    if "raw_json" in line or "pretty_json" in line:
        ours, theirs = members(json.loads(text)), members(json.loads(other_text))
        print(f"{line}: without {sorted(theirs - ours)}, and with {sorted(ours - theirs)}")
        return not theirs - ours
    ours = [f"exit status {status}", *normal(text).splitlines()]
    theirs = [f"exit status {other_status}", *normal(other_text).splitlines()]
    difference = list(difflib.unified_diff(theirs, ours, n=0, lineterm=""))[2:]
    if difference:
        print(f"{line}:")
        for part in difference[:12]:
            print(f"    {part[:200]}")
    return not difference


def main():
    ports = [int(port) for port in sys.argv[1:5]]
    with tempfile.TemporaryDirectory() as scratch:
        script = os.path.join(scratch, "rabbitmqadmin")
        urllib.request.urlretrieve(f"http://127.0.0.1:{ports[3]}/cli/rabbitmqadmin", script)
        both = [Broker(*ports[:2], script, scratch), Broker(*ports[2:], script, scratch)]
        steps = {"CLIENT": Broker.connect, "CLOSE": Broker.close_connection, "WAIT": lambda _: None}
        for broker in both:
            broker.prepare()
        same = differing = 0
        for line in STEPS.strip().splitlines():
            if line in steps:
                for broker in both:
                    steps[line](broker)
                time.sleep(SETTLE_SECONDS)
            elif compare(line, *both):
                same += 1
            else:
                differing += 1
        for broker in both:
            broker.clean()
    print(f"rabbitmqadmin: {same} the same, {differing} to be looked at")


if __name__ == "__main__":
    main()
