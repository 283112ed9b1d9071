#!/usr/bin/env python
# The worker as it stands before the tutorial comes to fair dispatch: no prefetch limit.
import os
import time

import pika

connection = pika.BlockingConnection(
    pika.ConnectionParameters(host=os.environ["LEVERET_HOST"], port=int(os.environ["LEVERET_PORT"]))
)
channel = connection.channel()

channel.queue_declare(queue="task_queue", durable=True)
print(" [*] Waiting for messages. To exit press CTRL+C")


def callback(ch, method, properties, body):
    print(f" [x] Received {body.decode()}")
    time.sleep(body.count(b"."))
    print(" [x] Done")
    ch.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue="task_queue", on_message_callback=callback)

channel.start_consuming()
