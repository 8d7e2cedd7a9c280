"""Pack the orders, oldest first, one at a time. Any number of workers may run."""

import signal
import sys
import time

import psycopg2

import shop

PACK = """
UPDATE orders SET state = 'packed', packed = now()
WHERE id = (SELECT id FROM orders WHERE state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, item
"""


def work():
    with shop.connect_patiently().cursor() as cursor:
        print("worker is ready")
        while True:
            cursor.execute(PACK)
            order = cursor.fetchone()
            if order:
                print("packed order %d: %s" % order)
            else:
                time.sleep(0.2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            work()
        except psycopg2.OperationalError as error:
            print("lost the database, trying again:", str(error).strip())
            time.sleep(1)
