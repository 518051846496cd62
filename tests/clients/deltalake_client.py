"""deltalake (delta-rs for Python) on the server's tables: reads them, appends to them, rewrites them; and the server on its tables."""
import json
import os
import struct
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
    # Versions: what one side did, the other reads, and puts back.
    connection.execute("CREATE TABLE deltalake_past (id int, day date) PARTITIONED BY (day)")
    for number in range(1, 5):
        connection.execute(f"INSERT INTO deltalake_past VALUES ({number}, '2024-05-01'), ({number + 10}, NULL)")
    connection.execute("DELETE FROM deltalake_past WHERE id = 11")
    past = folder_of("deltalake_past")
    table = DeltaTable(past)
    operations = [commit["operation"] for commit in table.history()]
    assert operations == ["DELETE"] + ["WRITE"] * 4 + ["CREATE TABLE"], operations
    assert table.history(1)[0]["operationMetrics"]["numDeletedRows"] == "1", table.history(1)
    assert table.history(1)[0]["userName"] == "lakegate"
    assert ask("SELECT count(*) FROM deltalake_past VERSION AS OF 2") == [(4,)]
    table.load_as_version(2)
    assert rows(table, "SELECT count(*) FROM t") == [(4,)]
    table = DeltaTable(past)
    table.restore(3)
    told = connection.execute("DESCRIBE HISTORY deltalake_past LIMIT 1")
    assert dict(zip([column.name for column in told.description], told.fetchone()))["operation"] == "RESTORE"
    assert ask("SELECT count(*), count(*) FILTER (WHERE id = 11) FROM deltalake_past") == [(6, 1)]
    connection.execute("RESTORE TABLE deltalake_past TO VERSION AS OF 5")
    assert rows(DeltaTable(past), "SELECT count(*), max(id) FROM t") == [(7, 14)]

    # OPTIMIZE and VACUUM by the server.
    before = DeltaTable(past).version()
    done = connection.execute("OPTIMIZE deltalake_past ZORDER BY (id)").fetchone()
    assert done[1] == 2 and done[5] == 2 and done[6] == 7, done
    table = DeltaTable(past)
    assert table.version() == before + 1 and len(table.file_uris()) == 2
    assert rows(table, "SELECT sum(id) FROM t") == [(ask("SELECT sum(id) FROM deltalake_past")[0][0],)]
    changed = ask(f"SELECT count(*) FROM table_changes('deltalake_past', {before + 1})")
    assert changed == [(0,)], "OPTIMIZE changed rows"
    connection.execute("SET lakegate.retention_check = off")
    connection.execute("VACUUM deltalake_past RETAIN 0 HOURS")
    assert rows(DeltaTable(past), "SELECT count(*) FROM t") == [(7,)]
    stored = sum(name.endswith(".parquet") for _, _, names in os.walk(past) for name in names if "_delta_log" not in _)
    assert stored == 2, stored
    connection.execute("RESET lakegate.retention_check")
    try:
        ask("SELECT * FROM deltalake_past VERSION AS OF 2")
    except psycopg.Error as error:
        assert error.sqlstate == "55000", error
    else:
        raise AssertionError("a version without its files was read")

    # A cursor goes on while its files are no longer needed by anybody else.
    connection.execute("SET lakegate.retention_check = off")
    with psycopg.connect("") as reader:
        cursor = reader.cursor("held")
        cursor.execute("SELECT id FROM deltalake_past ORDER BY id")
        assert cursor.fetchone() == (1,)
        connection.execute("UPDATE deltalake_past SET id = id + 100")
        connection.execute("VACUUM deltalake_past RETAIN 0 HOURS")
        assert len(cursor.fetchall()) == 6
        assert reader.execute("SELECT max(id) FROM deltalake_past").fetchone() == (14,)
    connection.execute("VACUUM deltalake_past RETAIN 0 HOURS")
    stored = sum(name.endswith(".parquet") for _, _, names in os.walk(past) for name in names if "_delta_log" not in _)
    assert stored == len(DeltaTable(past).file_uris()), stored

    # A table with a deletion vector in its log, which deltalake cannot write: rows 1 and 3 of its first file are gone.
    with_vector = os.path.join(warehouse, "with-vector")
    write_deltalake(with_vector, batch([0, 1, 2, 3], ["a", "b", "c", "d"]), mode="overwrite")
    write_deltalake(with_vector, batch([4], ["e"]), mode="append")
    log = os.path.join(with_vector, "_delta_log")
    with open(os.path.join(log, f"{0:020}.json")) as commit:
        actions = [json.loads(line) for line in commit]
    add = next(action["add"] for action in actions if "add" in action)
    bitmap = struct.pack("<IIHHIHH", 12346, 1, 0, 1, 16, 1, 3)
    data = struct.pack("<I", 1681511377) + struct.pack("<QI", 1, 0) + bitmap
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    padded = data + b"\0" * (-len(data) % 4)
    text = ""
    for (value,) in struct.iter_unpack(">I", padded):
        text += "".join(alphabet[value // 85**power % 85] for power in (4, 3, 2, 1, 0))
    vector = {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": 2}
    stats = json.loads(add["stats"]) | {"tightBounds": False}
    commit = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
                      "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors", "appendOnly"]}},
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1, "extendedFileMetadata": True,
                    "partitionValues": add["partitionValues"], "size": add["size"]}},
        {"add": add | {"deletionVector": vector, "stats": json.dumps(stats), "dataChange": True}},
        {"commitInfo": {"operation": "DELETE"}},
    ]
    with open(os.path.join(log, f"{2:020}.json"), "x") as file:
        file.write("\n".join(json.dumps(action) for action in commit))
    assert rows(DeltaTable(with_vector), "SELECT id FROM t ORDER BY id") == [(0,), (2,), (4,)]
    connection.execute(f"CREATE TABLE deltalake_vector LOCATION '{with_vector}'")
    assert ask("SELECT id, name FROM deltalake_vector ORDER BY id") == [(0, "a"), (2, "c"), (4, "e")]
    assert ask("SELECT count(*), min(id), max(id), count(name) FROM deltalake_vector WHERE id < 4") == [(2, 0, 2, 2)]
    assert ask("SELECT count(*), max(id) FROM deltalake_vector") == [(3, 4)]
    assert ask("SELECT count(*) FROM deltalake_vector VERSION AS OF 1") == [(5,)]
    assert connection.execute("UPDATE deltalake_vector SET name = 'C' WHERE id = 2").rowcount == 1
    assert ask("SELECT id, name FROM deltalake_vector ORDER BY id") == [(0, "a"), (2, "C"), (4, "e")]
    connection.execute("RESTORE TABLE deltalake_vector TO VERSION AS OF 2")
    assert ask("SELECT id, name FROM deltalake_vector ORDER BY id") == [(0, "a"), (2, "c"), (4, "e")]
    assert connection.execute("REORG TABLE deltalake_vector APPLY (PURGE)").fetchone()[6] == 2
    assert rows(DeltaTable(with_vector), "SELECT id FROM t ORDER BY id") == [(0,), (2,), (4,)]

    # Changes that deltalake recorded are told as it recorded them; and those of commits without a record from their files.
    fed = os.path.join(warehouse, "with-feed")
    write_deltalake(fed, batch([1, 2, 3], ["a", "b", "c"]), configuration={"delta.enableChangeDataFeed": "true"}, partition_by=["day"])
    DeltaTable(fed).update({"name": "'B'"}, predicate="id = 2")
    DeltaTable(fed).delete("id = 3")
    connection.execute(f"CREATE TABLE deltalake_fed LOCATION '{fed}'")
    connection.execute("INSERT INTO deltalake_fed VALUES (4, 'd', '2024-05-09')")
    assert ask("SELECT id, name, day, _change_type, _commit_version FROM table_changes('deltalake_fed', 0) ORDER BY 5, 1, 4") == [
        (1, "a", date(2024, 5, 2), "insert", 0), (2, "b", date(2024, 5, 2), "insert", 0), (3, "c", date(2024, 5, 2), "insert", 0),
        (2, "B", date(2024, 5, 2), "update_postimage", 1), (2, "b", date(2024, 5, 2), "update_preimage", 1),
        (3, "c", date(2024, 5, 2), "delete", 2), (4, "d", date(2024, 5, 9), "insert", 3)]
    assert ask("SELECT count(*) FROM table_changes('deltalake_fed', 1, 1) WHERE _change_type = 'update_preimage'") == [(1,)]
    # And what the server records there, and in its own tables, deltalake tells.
    def feed(folder, names, start=0):
        answer = DeltaTable(folder).load_cdf(starting_version=start).read_all()
        columns = [[value.as_py() for value in answer.column(name)] for name in names + ["_change_type", "_commit_version"]]
        return sorted(zip(*columns), key=lambda row: (row[-1], row[-2], str(row)))

    connection.execute("MERGE INTO deltalake_fed t USING (VALUES (1, 'm'), (9, 'n')) s(id, name) ON t.id = s.id "
                       "WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name, '2024-05-09')")
    connection.execute("DELETE FROM deltalake_fed WHERE id = 9")
    assert feed(fed, ["id", "name", "day"], 4) == [
        (9, "n", date(2024, 5, 9), "insert", 4), (1, "m", date(2024, 5, 2), "update_postimage", 4),
        (1, "a", date(2024, 5, 2), "update_preimage", 4), (9, "n", date(2024, 5, 9), "delete", 5)]
    connection.execute("""
        CREATE TABLE deltalake_feed (id int, part text, v numeric(8,2)) PARTITIONED BY (part)
        TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')""")
    connection.execute("INSERT INTO deltalake_feed SELECT g, CASE WHEN g % 2 = 0 THEN 'even / %' END, g FROM generate_series(1, 6) g")
    with connection.transaction():
        connection.execute("UPDATE deltalake_feed SET v = v + 1 WHERE id <= 2")
        connection.execute("UPDATE deltalake_feed SET v = v + 1, part = 'moved' WHERE id = 2")
        connection.execute("INSERT INTO deltalake_feed VALUES (7, NULL, 7), (8, NULL, 8)")
        connection.execute("DELETE FROM deltalake_feed WHERE id IN (3, 8)")
    connection.execute("OPTIMIZE deltalake_feed")
    own_feed = folder_of("deltalake_feed")
    told = [(3, None, Decimal("3.00"), "delete", 2), (7, None, Decimal("7.00"), "insert", 2),
            (1, None, Decimal("2.00"), "update_postimage", 2), (2, "moved", Decimal("4.00"), "update_postimage", 2),
            (1, None, Decimal("1.00"), "update_preimage", 2), (2, "even / %", Decimal("2.00"), "update_preimage", 2)]
    assert feed(own_feed, ["id", "part", "v"], 2) == told, feed(own_feed, ["id", "part", "v"], 2)
    # deltalake goes on with the server's feed.
    DeltaTable(own_feed).delete("id = 1")
    assert ask("SELECT id, v, _change_type FROM table_changes('deltalake_feed', 4)") == [(1, Decimal("2.00"), "delete")]
    # Files of changes that are young stay.
    before = len(os.listdir(os.path.join(own_feed, "_change_data")))
    connection.execute("VACUUM deltalake_feed")
    assert len(os.listdir(os.path.join(own_feed, "_change_data"))) == before > 0
    assert feed(own_feed, ["id", "part", "v"], 2)[:6] == told
    connection.execute("DROP TABLE deltalake_feed")
    connection.execute("DROP TABLE deltalake_fed")

    # Generated columns that deltalake can compute are its own too.
    connection.execute("CREATE TABLE deltalake_generated (id int, day date, twice bigint GENERATED ALWAYS AS (id * 2) STORED, "
                       "year int GENERATED ALWAYS AS (extract(year FROM day)) STORED)")
    connection.execute("INSERT INTO deltalake_generated VALUES (1, '2024-05-01')")
    generated = folder_of("deltalake_generated")
    assert DeltaTable(generated).schema().fields[2].metadata["delta.generationExpression"] == "CAST((id * 2) AS BIGINT)"
    write_deltalake(generated, batch([2], ["x"]).select(["id", "day"]), mode="append", schema_mode="merge")
    assert ask("SELECT id, twice, year FROM deltalake_generated ORDER BY id") == [(1, 2, 2024), (2, 4, 2024)]
    wrong = Table.from_pydict({"id": Array([3], DataType.int32()), "twice": Array([99], DataType.int64())})
    refused = None
    try:
        write_deltalake(generated, wrong, mode="append", schema_mode="merge")
    except Exception as error:
        refused = str(error)
    assert refused and "failed validation check" in refused, refused

    # Columns that MERGE adds are deltalake's at once.
    connection.execute("MERGE WITH SCHEMA EVOLUTION INTO deltalake_generated t USING (SELECT 2 AS id, 1.5::float8 AS more) s ON t.id = s.id "
                       "WHEN MATCHED THEN UPDATE SET *")
    assert rows(DeltaTable(generated), "SELECT id, more FROM t ORDER BY id") == [(1, None), (2, 1.5)]
    connection.execute("DROP TABLE deltalake_generated")

    # Files without statistics get them.
    bare = os.path.join(warehouse, "bare")
    write_deltalake(bare, batch([7, 8], ["x", None]), mode="overwrite")
    first = os.path.join(bare, "_delta_log", f"{0:020}.json")
    with open(first) as commit:
        actions = [json.loads(line) for line in commit]
    for action in actions:
        action.get("add", {}).pop("stats", None)
    with open(first, "w") as commit:
        commit.write("\n".join(json.dumps(action) for action in actions))
    connection.execute(f"CREATE TABLE deltalake_bare LOCATION '{bare}'")
    assert ask("SELECT count(*), min(id) FROM deltalake_bare") == [(2, 7)]
    connection.execute("ANALYZE deltalake_bare")
    (stats,) = DeltaTable(bare).get_add_actions(flatten=True).select(["num_records", "null_count.name", "min.id"]).to_pylist() \
        if hasattr(DeltaTable(bare).get_add_actions(flatten=True), "to_pylist") else ({"num_records": 2},)
    assert stats["num_records"] == 2, stats
    (plan,), = ask("EXPLAIN SELECT count(*), max(id) FROM deltalake_bare")[:1]
    assert plan.startswith("ProjectionExec") and "DataSourceExec" not in str(ask("EXPLAIN SELECT count(*) FROM deltalake_bare")), plan

    # What a scan left out is told.
    (plan,), = ask("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM deltalake_past WHERE day = '2024-05-01' AND id > 0")

    def scans(node):
        return ([node] if "Files Read" in node else []) + [scan for child in node.get("Plans", []) for scan in scans(child)]
    (scan,) = scans(plan[0]["Plan"])
    assert (scan["Files Read"], scan["Files Skipped by Partition"]) == (1, 1), scan

    connection.execute("DROP TABLE deltalake_past, deltalake_vector, deltalake_bare")
    connection.execute("DROP TABLE deltalake_t, deltalake_shared, deltalake_own, deltalake_other")
    assert rows(DeltaTable(own), "SELECT count(*) FROM t") == [(3,)], "DROP TABLE took the files of an external table"
