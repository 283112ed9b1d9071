#!/usr/bin/env python3
"""A round trip of definitions between two brokers that run already, say ours and RabbitMQ 3.10, both ways.

    compare_definitions.py HTTP-PORT OTHER-HTTP-PORT

On each of them, everything that definitions can have is made in virtual hosts of its own; the other one imports what
it exports; what both export then must be the same, but for what each says of itself. Ends with exit status 1 where it
is not. Everything is deleted again. Nothing beside the standard library is needed. It is run by hand, as it wants a
RabbitMQ.
"""

import base64
import difflib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

HOSTS = ["interop definitions", "interop other"]
USERS = ["interop-hashed", "interop-plain", "interop-nobody"]
# What each broker says of itself, or what has no counterpart there.
SAID = ["rabbit_version", "rabbitmq_version", "product_name", "product_version", "rabbitmq_definition_format",
        "original_cluster_name", "explanation", "global_parameters"]


class Broker:
    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api"

    def call(self, method, path, body=None, missing_is_fine=False):
        headers = {"authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                   "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            if missing_is_fine and error.code == 404:
                return None
            raise SystemExit(f"{method} {self.url}{path}: {error.code} {error.read().decode()}") from None
        return json.loads(text) if text else None

    def clean(self):
        for host in HOSTS:
            self.call("DELETE", f"/vhosts/{quoted(host)}", missing_is_fine=True)
        for user in USERS:
            self.call("DELETE", f"/users/{user}", missing_is_fine=True)

    def fill(self):
        """Makes one of everything, in one virtual host more than in the other."""
        for host in HOSTS:
            self.call("PUT", f"/vhosts/{quoted(host)}", {"description": "for interop", "tags": "one,two"})
        host = quoted(HOSTS[0])
        self.call("PUT", f"/users/{USERS[0]}", {
            "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": "monitoring,policymaker"})
        self.call("PUT", f"/users/{USERS[1]}", {"password": "pässword", "tags": "administrator"})
        self.call("PUT", f"/users/{USERS[2]}", {"password_hash": "", "tags": ""})
        permission = {"configure": "^c.*", "write": "", "read": ".*"}
        self.call("PUT", f"/permissions/{host}/{USERS[0]}", permission)
        self.call("PUT", f"/topic-permissions/{host}/{USERS[0]}", {"exchange": "t", "write": "^a", "read": "^b"})
        self.call("PUT", f"/vhost-limits/{host}/max-queues", {"value": 100})
        self.call("PUT", f"/vhost-limits/{host}/max-connections", {"value": 10})
        self.call("PUT", f"/user-limits/{USERS[1]}/max-channels", {"value": 5})
        policy = {"pattern": "^q", "definition": {"max-length": 7, "dead-letter-exchange": "t"}, "priority": 4,
                  "apply-to": "queues"}
        self.call("PUT", f"/policies/{host}/p", policy)
        self.call("PUT", f"/policies/{host}/ae", {
            "pattern": ".*", "definition": {"alternate-exchange": "f"}, "apply-to": "exchanges"})
        self.call("PUT", f"/operator-policies/{host}/o", {
            "pattern": "^q", "definition": {"max-length": 9, "expires": 86400000}, "priority": 1, "apply-to": "queues"})
        for name, kind in [("d", "direct"), ("t", "topic"), ("f", "fanout"), ("h", "headers"), ("ünï /%", "direct")]:
            self.call("PUT", f"/exchanges/{host}/{quoted(name)}", {
                "type": kind, "durable": name != "d", "internal": name == "h", "auto_delete": name == "f",
                "arguments": {"alternate-exchange": "f"} if name == "t" else {}})
        arguments = {"x-message-ttl": 60000, "x-max-length": 10, "x-overflow": "reject-publish", "x-max-priority": 5,
                     "x-dead-letter-exchange": "t", "x-dead-letter-routing-key": "k", "x-expires": 3600000,
                     "x-single-active-consumer": True, "x-queue-mode": "lazy"}
        self.call("PUT", f"/queues/{host}/q", {"durable": True, "arguments": arguments})
        self.call("PUT", f"/queues/{host}/{quoted('a b/ü')}", {"durable": False, "auto_delete": True})
        self.call("PUT", f"/queues/{host}/quorum", {
            "durable": True, "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 3}})
        bind = f"/bindings/{host}/e"
        self.call("POST", f"{bind}/t/q/q", {"routing_key": "a.*.#"})
        self.call("POST", f"{bind}/t/q/q", {"routing_key": "", "arguments": {"n": 1, "s": "x", "b": True, "l": [1, "2"]}})
        self.call("POST", f"{bind}/h/q/quorum", {"arguments": {"x-match": "any", "kind": "new", "deep": {"a": {"b": 1}}}})
        self.call("POST", f"{bind}/amq.topic/e/t", {"routing_key": "#"})
        self.call("PUT", f"/queues/{quoted(HOSTS[1])}/only", {"durable": True})

    def exported(self, host=None):
        return self.call("GET", "/definitions" + (f"/{quoted(host)}" if host else ""))


def quoted(name):
    return urllib.parse.quote(name, safe="")


def ours_alone(file):
    """Of a whole file, what this script has made."""
    kept = {"vhosts": lambda it: it["name"] in HOSTS, "users": lambda it: it["name"] in USERS}
    return {section: [it for it in items if kept.get(section, lambda it: it.get("vhost") in HOSTS)(it)]
            for section, items in file.items() if isinstance(items, list) and section not in SAID}


def normal(file):
    """In an order of our own, and without what may be said in several ways."""
    sections = {section: items for section, items in file.items() if isinstance(items, list) and section not in SAID}
    for vhost in sections.get("vhosts", []):
        # Later series export more than the name; 3.10 neither does nor keeps it.
        for word in ["metadata", "description", "tags", "default_queue_type", "limits"]:
            vhost.pop(word, None)
    for user in sections.get("users", []):
        if isinstance(user["tags"], str):
            user["tags"] = [tag for tag in user["tags"].split(",") if tag]
        user["tags"].sort()
        user["limits"] = dict(user.get("limits") or {})
    for queue in sections.get("queues", []):
        queue.setdefault("type", queue["arguments"].get("x-queue-type", "classic"))
    if "vhosts" not in file:
        # Of one virtual host: 3.10 leaves its name with policies and parameters, later series do not.
        for item in sections.get("policies", []) + sections.get("parameters", []):
            item.pop("vhost", None)
    text = {section: sorted(json.dumps(it, sort_keys=True, ensure_ascii=False) for it in items)
            for section, items in sections.items() if items}
    return json.dumps(text, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def compare(what, there, here):
    difference = list(difflib.unified_diff(there, here, "exported there", "exported here", n=0, lineterm=""))
    print(f"{what}: {'the same, ' + str(len(there)) + ' lines' if not difference else 'NOT the same'}")
    for line in difference:
        print("    " + line)
    return not difference


def round_trip(source, target):
    """Whether what the source has is the same in the target afterwards."""
    for broker in [source, target]:
        broker.clean()
    source.fill()
    there = source.exported()
    target.call("POST", "/definitions", ours_alone(there))
    way = f"{source.port} -> {target.port}"
    same = compare(f"{way}, all", normal(ours_alone(there)), normal(ours_alone(target.exported())))
    for host in HOSTS:
        target.call("DELETE", f"/vhosts/{quoted(host)}")
        target.call("PUT", f"/vhosts/{quoted(host)}", {})
        there = source.exported(host)
        target.call("POST", f"/definitions/{quoted(host)}", there)
        same &= compare(f"{way}, virtual host '{host}'", normal(there), normal(target.exported(host)))
    for broker in [source, target]:
        broker.clean()
    return same


if __name__ == "__main__":
    one, other = (Broker(int(port)) for port in sys.argv[1:3])
    results = [round_trip(one, other), round_trip(other, one)]
    sys.exit(0 if all(results) else 1)
