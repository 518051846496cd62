"""psycopg 2: simple query in text, COPY, named cursors, cancel, an error's fields."""
import io
import threading
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import psycopg2
import psycopg2.extras

connection = psycopg2.connect("")
if connection:
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS psycopg2_t")
    cursor.execute("CREATE TABLE psycopg2_t (id int NOT NULL, name text, price numeric(8,2), day date)")
    rows = "".join(f"{i}\tname {i}\t{i / 4:.2f}\t2026-01-{i % 28 + 1:02}\n" for i in range(1000))
    cursor.copy_expert("COPY psycopg2_t FROM STDIN", io.StringIO(rows))
    assert cursor.rowcount == 1000, cursor.rowcount
    psycopg2.extras.execute_values(cursor, "INSERT INTO psycopg2_t (id, name) VALUES %s", [(2000, "a'b\\"), (2001, None)])
    assert cursor.rowcount == 2, cursor.rowcount

    cursor.execute("SELECT id, name, price, day FROM psycopg2_t WHERE id = %s AND name LIKE %s", (7, "name%"))
    assert cursor.fetchall() == [(7, "name 7", Decimal("1.75"), date(2026, 1, 8))]
    assert [column.name for column in cursor.description] == ["id", "name", "price", "day"]
    assert [column.type_code for column in cursor.description] == [23, 25, 1700, 1082]
    assert cursor.description[2].precision == 8 and cursor.description[2].scale == 2
    cursor.execute("SELECT name FROM psycopg2_t WHERE id = ANY (%s) ORDER BY id", ([2000, 2001],))
    assert cursor.fetchall() == [("a'b\\",), (None,)]
    cursor.execute(
        "SELECT %s, %s::timestamptz, %s::interval, %s::bytea, %s::jsonb, %s, %s::uuid",
        (True, datetime(2026, 1, 1, 12, tzinfo=timezone.utc), timedelta(days=1, seconds=5), b"\x00\xff",
         psycopg2.extras.Json({"a": [1, None]}), 1.5, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))
    answer = cursor.fetchone()
    assert answer[0] is True and answer[1] == datetime(2026, 1, 1, 12, tzinfo=timezone.utc), answer
    assert answer[2] == timedelta(days=1, seconds=5) and bytes(answer[3]) == b"\x00\xff", answer
    assert answer[4] == {"a": [1, None]} and answer[5] == Decimal("1.5"), answer

    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT id, name FROM psycopg2_t WHERE id < 2 ORDER BY id) TO STDOUT CSV HEADER", out)
    assert out.getvalue() == "id,name\n0,name 0\n1,name 1\n", out.getvalue()

    connection.autocommit = False
    named = connection.cursor("portions")
    named.itersize = 100
    named.execute("SELECT id FROM psycopg2_t ORDER BY id")
    assert len(named.fetchmany(150)) == 150
    assert len(named.fetchall()) == 852
    named.close()
    connection.commit()
    held = connection.cursor("held", withhold=True)
    held.execute("SELECT id FROM psycopg2_t ORDER BY id")
    connection.commit()
    assert held.fetchone() == (0,)
    held.close()
    connection.commit()
    connection.autocommit = True

    threading.Timer(0.3, connection.cancel).start()
    started = time.monotonic()
    try:
        cursor.execute("SELECT count(*) FROM generate_series(1, 1000000000000) g")
        raise SystemExit("it was not cancelled")
    except psycopg2.errors.QueryCanceled as error:
        assert error.pgcode == "57014", error.pgcode
    assert time.monotonic() - started < 5

    try:
        cursor.execute("SELECT id, nope FROM psycopg2_t")
        raise SystemExit("an unknown column")
    except psycopg2.errors.UndefinedColumn as error:
        assert error.pgcode == "42703"
        assert error.diag.message_primary == 'column "nope" does not exist'
        assert error.diag.statement_position == "12", error.diag.statement_position
        assert error.diag.severity == "ERROR"
    try:
        cursor.execute("INSERT INTO psycopg2_t VALUES (NULL)")
        raise SystemExit("NOT NULL")
    except psycopg2.errors.NotNullViolation as error:
        assert error.diag.column_name == "id" and error.diag.table_name == "psycopg2_t", vars(error.diag)
        assert error.diag.message_detail.startswith("Failing row contains (null"), error.diag.message_detail
    cursor.execute("DROP TABLE IF EXISTS psycopg2_nope")
    assert 'table "psycopg2_nope" does not exist, skipping' in connection.notices[-1]
    assert connection.get_parameter_status("server_encoding") == "UTF8"
    assert connection.server_version >= 150000
    connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
    connection.autocommit = False
    cursor.execute("SHOW transaction_isolation")
    assert cursor.fetchone() == ("repeatable read",)
    connection.rollback()
