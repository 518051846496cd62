"""psycopg 3: extended query in text and binary, pipelines, COPY, server cursors, cancel, an error's fields."""
import threading
import time
from datetime import date, datetime, time as clock, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

with psycopg.connect("", autocommit=True) as connection:
    connection.execute("DROP TABLE IF EXISTS psycopg3_t")
    connection.execute("CREATE TABLE psycopg3_t (id int NOT NULL, name text, price float8, tags text[])")
    with connection.cursor() as cursor:
        with cursor.copy("COPY psycopg3_t (id, name, price) FROM STDIN") as copy:
            for i in range(1000):
                copy.write_row((i, f"name\t{i}", i / 4))
        assert cursor.rowcount == 1000, cursor.rowcount
        with cursor.copy("COPY psycopg3_t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "float8", "text[]"])
            for i in range(1000, 2000):
                copy.write_row((i, None, float(i), ["a", None]))
        assert cursor.rowcount == 1000, cursor.rowcount

    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        rows = cursor.execute(
            "SELECT id, name, price, tags FROM psycopg3_t WHERE id >= %s AND id < %b ORDER BY id", (998, 1002)).fetchall()
        assert rows[0] == (998, "name\t998", 249.5, None) and rows[3] == (1001, None, 1001.0, ["a", None]), rows
        values = (7, 2**40, 1.5, Decimal("12.340"), True, "text", b"\x00\xff", date(2026, 2, 28), clock(10, 11, 12, 500),
                  datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, tzinfo=timezone.utc), timedelta(days=2, seconds=3),
                  UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), [1, 2, None], ["x", "y z"], None)
        for format in ("%s", "%t", "%b"):
            marks = ", ".join([f"{format}::smallint", f"{format}::bigint", f"{format}::float8", f"{format}::numeric", f"{format}::bool",
                               f"{format}::text", f"{format}::bytea", f"{format}::date", f"{format}::time", f"{format}::timestamp",
                               f"{format}::timestamptz", f"{format}::interval", f"{format}::uuid", f"{format}::int[]",
                               f"{format}::text[]", f"{format}::int"])
            answer = cursor.execute(f"SELECT {marks}", values).fetchone()
            assert answer == values, (binary, format, answer)
        assert cursor.execute("SELECT '{\"a\": [1, null]}'::jsonb, '[1]'::json").fetchone() == ({"a": [1, None]}, [1])
        assert cursor.execute("SELECT 'NaN'::float8, 'infinity'::float8").fetchone()[1] == float("inf")

    named = connection.cursor(row_factory=dict_row)
    assert named.execute("SELECT id AS k, price AS v FROM psycopg3_t WHERE id = 4").fetchone() == {"k": 4, "v": 1.0}
    for _ in range(8):
        assert connection.execute("SELECT count(*) FROM psycopg3_t WHERE id < %s", (10,)).fetchone() == (10,)
    connection.execute("SELECT 1; SELECT 2")
    cursor = connection.cursor()
    for i in range(3):
        assert cursor.execute("INSERT INTO psycopg3_t (id, name) VALUES (%s, %s)", (3000 + i, "one")).rowcount == 1
    with connection.pipeline():
        answers = [connection.execute("SELECT %s::int + 1", (i,)) for i in range(20)]
    assert [answer.fetchone()[0] for answer in answers] == list(range(1, 21))

    with connection.cursor().copy("COPY (SELECT id, name FROM psycopg3_t WHERE id < 2 ORDER BY id) TO STDOUT") as copy:
        assert list(copy.rows()) == [("0", "name\t0"), ("1", "name\t1")]
    with connection.cursor().copy("COPY (SELECT id, price FROM psycopg3_t WHERE id < 2 ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "float8"])
        assert list(copy.rows()) == [(0, 0.0), (1, 0.25)]

    connection.autocommit = False
    with connection.cursor("portions") as portions:
        portions.itersize = 300
        portions.execute("SELECT id FROM psycopg3_t ORDER BY id")
        assert len(portions.fetchmany(10)) == 10 and len(list(portions)) == 1993
    connection.rollback()
    with connection.cursor("binary_portions", binary=True) as portions:
        portions.execute("SELECT id, price FROM psycopg3_t WHERE id < 5 ORDER BY id")
        assert portions.fetchall()[4] == (4, 1.0)
    connection.rollback()
    assert sum(1 for _ in connection.cursor().stream("SELECT g FROM generate_series(1, 10000) g")) == 10000
    connection.rollback()
    connection.autocommit = True

    threading.Timer(0.3, connection.cancel).start()
    started = time.monotonic()
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000000000) g")
        raise SystemExit("it was not cancelled")
    except psycopg.errors.QueryCanceled as error:
        assert error.sqlstate == "57014"
    assert time.monotonic() - started < 5

    for parameters in ((), (1,)):
        try:
            connection.execute("SELECT id, nope FROM psycopg3_t" + (" WHERE id = %s" if parameters else ""), parameters or None)
            raise SystemExit("an unknown column")
        except psycopg.errors.UndefinedColumn as error:
            assert (error.sqlstate, error.diag.message_primary) == ("42703", 'column "nope" does not exist')
            assert error.diag.statement_position == "12" and error.diag.severity_nonlocalized == "ERROR"
    assert connection.info.parameter_status("TimeZone") and connection.info.server_version >= 150000
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    assert connection.info.timezone.key == "Europe/Berlin"
    row = connection.execute("SELECT timestamptz '2026-07-01 12:00'").fetchone()
    assert row[0].utcoffset() == timedelta(hours=2), row
    # Without autocommit: batches, COPY and nested transactions, which are savepoints.
    connection.execute("CREATE TABLE psycopg3_w (id int NOT NULL, name text)")
    with connection.transaction():
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO psycopg3_w VALUES (%s, %s)", [(i, f"n{i}") for i in range(20)])
        assert cursor.rowcount == 20
        with cursor.copy("COPY psycopg3_w FROM STDIN") as copy:
            for i in range(20, 30):
                copy.write_row((i, None))
        try:
            with connection.transaction():
                cursor.execute("UPDATE psycopg3_w SET name = 'gone'")
                cursor.execute("INSERT INTO psycopg3_w VALUES (NULL, 'not null')")
            raise SystemExit("a NULL in a column that takes none")
        except psycopg.errors.NotNullViolation as error:
            assert error.diag.column_name == "id"
        with connection.transaction():
            assert cursor.execute("DELETE FROM psycopg3_w WHERE id >= %s", (25,)).rowcount == 5
        cursor.executemany("UPDATE psycopg3_w SET name = %s WHERE id = %s RETURNING id", [("a", 1), ("b", 2)], returning=True)
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.fetchone() == (2,)
    assert connection.execute("SELECT count(*), count(name), min(name), max(id) FROM psycopg3_w").fetchone() == (25, 20, "a", 24)
    with connection.pipeline():
        for i in range(5):
            connection.execute("INSERT INTO psycopg3_w VALUES (%s, 'piped')", (100 + i,))
    assert connection.execute("SELECT count(*) FROM psycopg3_w WHERE name = 'piped'").fetchone() == (5,)
    connection.execute("DROP TABLE psycopg3_w")
    connection.execute("DROP TABLE psycopg3_t")
