"""The shop's site: GET / shows the orders (as JSON with Accept: application/json), POST / adds one, /healthz asks the
database."""

import html
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import psycopg2

import shop

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Shop</title>
<h1>Shop</h1>
<form method="post"><input name="item" maxlength="100" required autofocus> <button>Order</button></form>
<p>%d orders</p>
<ul>%s</ul>
"""
LAST = "SELECT id, item, state FROM orders ORDER BY id DESC LIMIT 50"


def ask(statement, *arguments):
    """Run one statement and give its rows."""
    connection = shop.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # a connection is for one request; a silent one is closed

    def do_GET(self):
        try:
            if self.path == "/healthz":
                ask("SELECT 1 FROM orders LIMIT 1")
                self.answer(200, "text/plain", "ok\n")
            elif self.path == "/":
                self.show(ask(LAST), ask("SELECT count(*) FROM orders")[0][0])
            else:
                self.answer(404, "text/plain", "not found\n")
        except psycopg2.Error as error:
            self.answer(503, "text/plain", "the database does not answer: %s\n" % str(error).strip())

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= 4096:
            self.close_connection = True
            self.answer(413, "text/plain", "an order is one short line\n")
            return
        item = parse_qs(self.rfile.read(length).decode("utf-8", "replace")).get("item", [""])[0].strip()
        if not 1 <= len(item) <= 100 or "\0" in item:
            self.answer(422, "text/plain", "an order is 1 to 100 letters\n")
            return
        try:
            number = ask("INSERT INTO orders (item) VALUES (%s) RETURNING id", item)[0][0]
        except psycopg2.Error as error:
            self.answer(503, "text/plain", "the database does not answer: %s\n" % str(error).strip())
            return
        self.answer(303, "text/plain", "order %d\n" % number, Location="/")

    def show(self, orders, count):
        if "application/json" in self.headers.get("Accept", ""):
            rows = [{"id": n, "item": item, "state": state} for n, item, state in orders]
            self.answer(200, "application/json", json.dumps({"count": count, "orders": rows}))
            return
        lines = "".join("<li>%d: %s (%s)</li>" % (n, html.escape(item), state) for n, item, state in orders)
        self.answer(200, "text/html; charset=utf-8", PAGE % (count, lines))

    def answer(self, status, kind, text, **headers):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # requests that are being answered are finished before the end


if __name__ == "__main__":
    server = Server(("", 8000), Handler)
    # shutdown waits for the loop that runs in this thread, so it is called from another.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("listening on 8000")
    server.serve_forever()
    server.server_close()
