#!/usr/bin/env python3
"""The client of the chord check of run_celery.py, in a process of its own because its results come back by files."""

from celery import chain, chord, group

from celery_app import add, total

print("chord", chord(add.s(number, number) for number in range(10))(total.s()).get(timeout=30))
print("chain", chain(group(add.s(number, 1) for number in range(5)), total.s(), add.s(100)).apply_async().get(timeout=30))
