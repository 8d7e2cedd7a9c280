"""What the parts of the shop share: the way to the database."""

import time

import psycopg2


def connect():
    """Connect as PGHOST, PGUSER, PGPASSWORD and PGDATABASE say."""
    connection = psycopg2.connect(connect_timeout=3)
    connection.autocommit = True
    return connection


def connect_patiently(seconds=60):
    """Connect, waiting for a database that is just starting again."""
    end = time.monotonic() + seconds
    while True:
        try:
            return connect()
        except psycopg2.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
