#!/usr/bin/env python3
"""pika over TLS: with a password, with a certificate, and refused; certificates are made by `openssl`.

    LEVERET_BROKER=target/release/leveret run_tls.py [CHECK...]

Needs pika and openssl. It starts a broker of its own, with TLS alone. Ends with `tls: N passed, N failed` (exit
status 1 on a failure).
"""

import os
import ssl
import subprocess
import tempfile

import pika
from pika.credentials import ExternalCredentials

from support import Program, run_checks

BROKER = os.path.abspath(os.environ.get("LEVERET_BROKER", "target/release/leveret"))
scratch = tempfile.TemporaryDirectory(prefix="leveret-tls-")
os.chdir(scratch.name)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def authority(name):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-subj", f"/CN={name}", "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def certificate(name, subject, extension, signed_by="ca"):
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    with open("extensions", "w") as file:
        file.write(f"basicConstraints=CA:FALSE\n{extension}\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{signed_by}.pem", "-CAkey", f"{signed_by}.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "extensions")


authority("ca")
authority("other")
certificate("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
certificate("client", "/O=Example/CN=client", "extendedKeyUsage=clientAuth")
certificate("stranger", "/O=Example/CN=client", "extendedKeyUsage=clientAuth", signed_by="other")
with open("leveret.conf", "w") as file:
    file.write("""
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:0
ssl_options.cacertfile = ca.pem
ssl_options.certfile = server.pem
ssl_options.keyfile = server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = distinguished_name
default_user = 'CN=client,O=Example'
default_pass = secret
""")


def start():
    global port
    broker = Program(BROKER, "-c", "leveret.conf", "-d", tempfile.mkdtemp(dir=scratch.name))
    [line] = broker.wait_for("^ready ")
    port = int(line.rsplit(":", 1)[1])


def connect(identity, credentials, version=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile="ca.pem")
    context.minimum_version = context.maximum_version = version
    if identity:
        context.load_cert_chain(f"{identity}.pem", f"{identity}.key")
    return pika.BlockingConnection(pika.ConnectionParameters(
        host="127.0.0.1", port=port, credentials=credentials, ssl_options=pika.SSLOptions(context, "localhost"),
        socket_timeout=5))


def exchange_messages(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    for body in [b"x" * (1 << 20), *(str(number).encode() for number in range(500))]:
        channel.basic_publish("", queue, body)
    bodies = []
    for _, _, body in channel.consume(queue, inactivity_timeout=10):
        bodies.append(body)
        if len(bodies) == 501:
            break
    assert len(bodies[0]) == 1 << 20 and bodies[1:] == [str(number).encode() for number in range(500)]
    connection.close()


def a_certificate_logs_in():
    for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
        exchange_messages(connect("client", ExternalCredentials(), version))


def a_password_logs_in_behind_a_certificate():
    exchange_messages(connect("client", pika.PlainCredentials("CN=client,O=Example", "secret")))


def a_stranger_is_refused():
    for identity in ["stranger", None]:
        for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
            try:
                connect(identity, ExternalCredentials(), version)
            except (pika.exceptions.AMQPConnectionError, ssl.SSLError):
                continue
            raise AssertionError(f"{identity} was let in with {version}")


CHECKS = [a_certificate_logs_in, a_password_logs_in_behind_a_certificate, a_stranger_is_refused]

if __name__ == "__main__":
    run_checks("tls", CHECKS, setup=start)
