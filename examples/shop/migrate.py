"""Make the tables. Runs once for each release, before anything else; running it again changes nothing."""

import shop

TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item     text NOT NULL CHECK (length(item) BETWEEN 1 AND 100),
    state    text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'packed')),
    ordered  timestamptz NOT NULL DEFAULT now(),
    packed   timestamptz
);
CREATE INDEX IF NOT EXISTS orders_new ON orders (id) WHERE state = 'new';
"""

if __name__ == "__main__":
    with shop.connect_patiently().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")  # two releases at once take turns
        cursor.execute(TABLES)
    print("tables are ready")
