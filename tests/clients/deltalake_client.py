"""deltalake (delta-rs for Python) on the server's tables: reads them, appends to them, rewrites them; and the server on its tables."""
import os
from datetime import date, datetime, timezone
from decimal import Decimal

import psycopg
from arro3.core import Array, DataType, Table
from deltalake import DeltaTable, QueryBuilder, write_deltalake

warehouse = os.environ["LAKEGATE_TEST_WAREHOUSE"]


def rows(table, query):
    """The rows of a query over the Delta table `t`, as deltalake reads it."""
    answer = QueryBuilder().register("t", table).execute(query).read_all()
    columns = [answer.column(name) for name in answer.column_names]
    return list(zip(*[[value.as_py() for value in column] for column in columns]))


with psycopg.connect("", autocommit=True) as connection:
    def ask(query):
        return connection.execute(query).fetchall()

    connection.execute("DROP TABLE IF EXISTS deltalake_t, deltalake_shared, deltalake_own, deltalake_other")
    connection.execute("""
        CREATE TABLE deltalake_t (
            id int NOT NULL CHECK (id > 0), big bigint, small smallint, name text, code varchar(10), price numeric(10,2), ratio float8,
            good boolean, day date, at timestamptz, local timestamp, raw bytea, key uuid, tags int[], doc jsonb
        ) PARTITIONED BY (day)""")
    connection.execute("""
        INSERT INTO deltalake_t VALUES
            (1, 1099511627776, 7, 'Zoë', 'a', 12.50, 0.25, true, '2024-05-01', '2024-05-01 12:00:00+02', '2024-05-01 12:00:00.000001',
             '\\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{1,NULL,3}', '{"a": 1}'),
            (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""")
    def folder_of(name):
        (location,), = ask(f"SELECT location FROM lakegate.tables WHERE table_name = '{name}'")
        return os.path.join(warehouse, location.removeprefix("warehouse:"))

    # What the server wrote is what deltalake reads.
    table = DeltaTable(folder_of("deltalake_t"))
    first, second = rows(table, "SELECT * FROM t ORDER BY id")
    names = [field.name for field in table.schema().fields]
    first = dict(zip(names, first))
    expected = {
        "id": 1, "big": 2**40, "small": 7, "name": "Zoë", "code": "a", "price": Decimal("12.50"), "ratio": 0.25, "good": True,
        "day": date(2024, 5, 1), "at": datetime(2024, 5, 1, 10, tzinfo=timezone.utc), "local": datetime(2024, 5, 1, 12, 0, 0, 1),
        "raw": b"\x00\xff", "key": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "tags": [1, None, 3], "doc": '{"a": 1}',
    }
    assert first == expected, first
    assert second == (2,) + (None,) * 14, second
    assert table.metadata().partition_columns == ["day"]

    # What deltalake appends is there for the next statement; a row that breaks a CHECK does not come in by this road either.
    def batch(ids, names):
        days = Array([(date(2024, 5, 2) - date(1970, 1, 1)).days] * len(ids), DataType.int32())
        return Table.from_pydict({
            "id": Array(ids, DataType.int32()), "name": Array(names, DataType.string()), "day": days.cast(DataType.date32())})

    connection.execute("""
        CREATE TABLE deltalake_shared (id int NOT NULL CHECK (id > 0), name varchar(10), day date) PARTITIONED BY (day)""")
    connection.execute("INSERT INTO deltalake_shared VALUES (1, 'one', '2024-05-01'), (2, 'two', '2024-05-01')")
    shared = folder_of("deltalake_shared")
    write_deltalake(shared, batch([3, 4], ["three", None]), mode="append")
    assert ask("SELECT id, name, day FROM deltalake_shared WHERE id > 2 ORDER BY id") == [
        (3, "three", date(2024, 5, 2)), (4, None, date(2024, 5, 2))]
    refused = None
    try:
        write_deltalake(shared, batch([-1], ["refused"]), mode="append")
    except Exception as error:
        refused = str(error)
    assert refused and "failed validation check" in refused, refused
    assert ask("SELECT count(*), min(id) FROM deltalake_shared") == [(4, 1)]

    # The server's own types and constraints hold after somebody else's commit.
    assert connection.execute("SELECT name FROM deltalake_shared").description[0].type_display == "varchar(10)"
    connection.execute("INSERT INTO deltalake_shared VALUES (5, 'five', '2024-05-02')")
    for row, state in (("(0, 'x', NULL)", "23514"), ("(NULL, 'x', NULL)", "23502"), ("(6, '12345678901', NULL)", "22001")):
        try:
            connection.execute(f"INSERT INTO deltalake_shared VALUES {row}")
        except psycopg.Error as error:
            assert error.sqlstate == state, error
        else:
            raise AssertionError(f"{row} was taken")

    # Rewrites: rows deleted, files compacted, old ones vacuumed.
    table = DeltaTable(shared)
    assert table.delete("id = 2")["num_deleted_rows"] == 1
    table.optimize.compact()
    assert ask("SELECT array_agg(id ORDER BY id) FROM deltalake_shared") == [([1, 3, 4, 5],)]
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert ask("SELECT name, day FROM deltalake_shared WHERE id = 5") == [("five", date(2024, 5, 2))]

    # What the server changed row by row, and in transactions over two tables, is what deltalake reads; and the reverse.
    connection.execute("CREATE TABLE deltalake_other (id int, total bigint)")
    other = folder_of("deltalake_other")
    connection.execute("UPDATE deltalake_shared SET name = upper(name) WHERE id IN (1, 3)")
    with connection.transaction():
        connection.execute("DELETE FROM deltalake_shared WHERE id = 4")
        connection.execute("INSERT INTO deltalake_other SELECT 1, sum(id) FROM deltalake_shared")
    connection.execute("""
        MERGE INTO deltalake_shared t USING (VALUES (1, 'uno'), (7, 'seven')) AS s(id, name) ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)""")
    assert rows(DeltaTable(shared), "SELECT id, name FROM t ORDER BY id") == [(1, "uno"), (3, "THREE"), (5, "five"), (7, "seven")]
    assert rows(DeltaTable(other), "SELECT * FROM t") == [(1, 9)]
    assert DeltaTable(shared).update(updates={"name": "'by another'"}, predicate="id = 7")["num_updated_rows"] == 1
    assert ask("SELECT name FROM deltalake_shared WHERE id = 7") == [("by another",)]

    # Somebody else's commit in a transaction's way is a conflict; one beside it is not.
    def in_the_way(change, tables=("deltalake_shared",)):
        with psycopg.connect("") as transaction:
            transaction.execute("UPDATE deltalake_shared SET name = 'mine' WHERE id = 5")
            if "deltalake_other" in tables:
                transaction.execute("INSERT INTO deltalake_other VALUES (2, 2)")
            change()
            try:
                transaction.commit()
            except psycopg.errors.SerializationFailure:
                return True
        return False

    foreign = {"name": "'theirs'"}
    assert in_the_way(lambda: DeltaTable(shared).update(updates=foreign, predicate="id = 5"))
    assert ask("SELECT name FROM deltalake_shared WHERE id = 5") == [("theirs",)]
    assert in_the_way(lambda: DeltaTable(shared).delete("id = 5"), ("deltalake_shared", "deltalake_other"))
    assert ask("SELECT count(*) FROM deltalake_shared WHERE id = 5") == [(0,)] and ask("SELECT count(*) FROM deltalake_other") == [(1,)]
    connection.execute("INSERT INTO deltalake_shared VALUES (5, 'back', '2024-05-02')")
    assert not in_the_way(lambda: write_deltalake(shared, batch([8], ["eight"]), mode="append"), ("deltalake_shared", "deltalake_other"))
    assert rows(DeltaTable(shared), "SELECT id, name FROM t WHERE id IN (5, 8) ORDER BY id") == [(5, "mine"), (8, "eight")]
    assert rows(DeltaTable(other), "SELECT count(*) FROM t") == [(2,)]

    # A table that deltalake made is taken over, read and written.
    own = os.path.join(warehouse, "made-by-deltalake")
    write_deltalake(own, batch([10, 11], ["ten", None]), mode="overwrite")
    connection.execute(f"CREATE TABLE deltalake_own LOCATION '{own}'")
    connection.execute("INSERT INTO deltalake_own VALUES (12, 'twelve', '2024-05-03')")
    assert ask("SELECT * FROM deltalake_own ORDER BY id") == [
        (10, "ten", date(2024, 5, 2)), (11, None, date(2024, 5, 2)), (12, "twelve", date(2024, 5, 3))]
    assert rows(DeltaTable(own), "SELECT count(*), max(name) FROM t") == [(3, "twelve")]
    connection.execute("DROP TABLE deltalake_t, deltalake_shared, deltalake_own, deltalake_other")
    assert rows(DeltaTable(own), "SELECT count(*) FROM t") == [(3,)], "DROP TABLE took the files of an external table"
