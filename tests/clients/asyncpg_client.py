"""asyncpg: binary everywhere, prepared statements, COPY in binary, cursors, cancel by timeout, an error's fields."""
import asyncio
import os
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import asyncpg


async def main():
    connection = await asyncpg.connect(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user="lakegate", database="lakegate")
    await connection.execute("DROP TABLE IF EXISTS asyncpg_t")
    assert await connection.execute("CREATE TABLE asyncpg_t (id int NOT NULL, name text, price numeric(8,2))") == "CREATE TABLE"
    records = [(i, f"name {i}", Decimal(i) / 4) for i in range(1000)]
    tag = await connection.copy_records_to_table("asyncpg_t", records=records)
    assert tag == "COPY 1000", tag
    assert await connection.execute("INSERT INTO asyncpg_t VALUES ($1, $2, $3)", 5000, None, Decimal("1.5")) == "INSERT 0 1"

    rows = await connection.fetch("SELECT * FROM asyncpg_t WHERE id < $1 AND name LIKE $2 ORDER BY id", 3, "name%")
    assert [tuple(row) for row in rows] == records[:3], rows
    assert list(rows[0].keys()) == ["id", "name", "price"]
    values = (7, 2**40, 1.5, Decimal("12.340"), True, "text", b"\x00\xff", date(2026, 2, 28), time(10, 11, 12, 500),
              datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, tzinfo=timezone.utc), timedelta(days=2, seconds=3),
              UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), [1, 2, None], ["x", "y z"], '{"a": 1}', None)
    types = "smallint bigint float8 numeric bool text bytea date time timestamp timestamptz interval uuid int[] text[] jsonb int".split()
    marks = ", ".join(f"${number}::{kind}" for number, kind in enumerate(types, 1))
    answer = tuple(await connection.fetchrow(f"SELECT {marks}", *values))
    assert answer == values, answer
    statement = await connection.prepare("SELECT id, price FROM asyncpg_t WHERE id = $1")
    assert [parameter.name for parameter in statement.get_parameters()] == ["int4"]
    assert [attribute.type.name for attribute in statement.get_attributes()] == ["int4", "numeric"]
    for i in (1, 2, 3):
        assert (await statement.fetchrow(i))["price"] == Decimal(i) / 4
    await connection.executemany("INSERT INTO asyncpg_t (id) VALUES ($1)", [(6000,)])

    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor("SELECT id FROM asyncpg_t ORDER BY id")
        assert len(await cursor.fetch(100)) == 100
        await cursor.forward(10)
        assert (await cursor.fetchrow())["id"] == 110
        count = 0
        async for _ in connection.cursor("SELECT id FROM asyncpg_t", prefetch=70):
            count += 1
        assert count == 1002, count

    import io
    out = io.BytesIO()
    await connection.copy_from_query("SELECT id, name FROM asyncpg_t WHERE id < $1 ORDER BY id", 2, output=out, format="csv")
    assert out.getvalue() == b"0,name 0\n1,name 1\n", out.getvalue()

    try:
        await connection.fetchval("SELECT count(*) FROM generate_series(1, 1000000000000) g", timeout=0.3)
        raise SystemExit("it was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1

    try:
        await connection.fetch("SELECT id, nope FROM asyncpg_t WHERE id = $1", 1)
        raise SystemExit("an unknown column")
    except asyncpg.UndefinedColumnError as error:
        assert (error.sqlstate, error.message, error.position) == ("42703", 'column "nope" does not exist', "12"), error.as_dict()
    try:
        await connection.execute("INSERT INTO asyncpg_t (id) VALUES (NULL)")
        raise SystemExit("NOT NULL")
    except asyncpg.NotNullViolationError as error:
        assert error.column_name == "id", error.as_dict()
    assert connection.get_server_version().major >= 15
    assert connection.get_settings().server_encoding == "UTF8"
    await connection.execute("DROP TABLE asyncpg_t")
    await connection.reset()
    await connection.close()


asyncio.run(main())
