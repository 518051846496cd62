// pgjdbc: text, then binary after five executions; batches, COPY, fetch size, cancel, metadata, an error's fields.

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

class Jdbc {
    static void check(boolean held, Object told) {
        if (!held) {
            throw new AssertionError(String.valueOf(told));
        }
    }

    static Connection connect(String... settings) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "lakegate");
        for (int at = 0; at < settings.length; at += 2) {
            properties.setProperty(settings[at], settings[at + 1]);
        }
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/lakegate";
        return DriverManager.getConnection(url, properties);
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = connect("options", "-c statement_timeout=60s")) {
            load(connection);
            parameters(connection);
            portions(connection);
            metadata(connection);
            transactions(connection);
            errors(connection);
            cancel(connection);
        }
        for (String mode : List.of("extendedForPrepared", "extendedCacheEverything")) {
            try (Connection connection = connect("preferQueryMode", mode)) {
                parameters(connection);
                errors(connection);
            }
        }
        try (Connection connection = connect("preferQueryMode", "simple")) {
            errors(connection);
            cancel(connection);
        }
        try (Connection connection = connect("binaryTransfer", "true", "prepareThreshold", "-1")) {
            parameters(connection);
        }
    }

    static void load(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS jdbc_t");
            statement.execute("CREATE TABLE jdbc_t (id int NOT NULL, name varchar(20), price numeric(8,2), at timestamptz)");
        }
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder rows = new StringBuilder();
        for (int id = 0; id < 1000; id++) {
            rows.append(id).append(",name ").append(id).append(',').append(id / 4.0).append(",\n");
        }
        long loaded = copy.copyIn("COPY jdbc_t FROM STDIN (FORMAT csv)", new StringReader(rows.toString()));
        check(loaded == 1000, loaded);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        copy.copyOut("COPY (SELECT id, name FROM jdbc_t WHERE id < 2 ORDER BY id) TO STDOUT", out);
        check(out.toString(StandardCharsets.UTF_8).equals("0\tname 0\n1\tname 1\n"), out);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_t VALUES (?, ?, ?, ?)")) {
            for (int id = 2000; id < 2003; id++) {
                insert.setInt(1, id);
                insert.setString(2, "batch");
                insert.setBigDecimal(3, new BigDecimal("1.50"));
                insert.setTimestamp(4, new Timestamp(0));
                insert.addBatch();
                int[] counts = insert.executeBatch();
                check(counts.length == 1 && counts[0] == 1, counts.length);
            }
        }
    }

    static void parameters(Connection connection) throws SQLException {
        try (PreparedStatement select = connection.prepareStatement(
                "SELECT id, name, price, at, id * 2.5::float8, id > 5, ARRAY[id, NULL], ?::uuid FROM jdbc_t WHERE id = ? AND name LIKE ?")) {
            UUID uuid = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
            for (int round = 0; round < 8; round++) {
                select.setObject(1, uuid);
                select.setInt(2, 7);
                select.setString(3, "name%");
                try (ResultSet rows = select.executeQuery()) {
                    check(rows.next(), "no row in round " + round);
                    check(rows.getInt(1) == 7 && rows.getString(2).equals("name 7"), rows.getString(2));
                    check(rows.getBigDecimal(3).equals(new BigDecimal("1.75")), rows.getString(3));
                    check(rows.getTimestamp(4) == null && rows.wasNull(), "NULL");
                    check(rows.getDouble(5) == 17.5 && rows.getBoolean(6), rows.getString(5));
                    Array array = rows.getArray(7);
                    Integer[] items = (Integer[]) array.getArray();
                    check(items.length == 2 && items[0] == 7 && items[1] == null, array);
                    check(rows.getObject(8).equals(uuid), rows.getObject(8));
                    check(!rows.next(), "one row");
                }
            }
        }
        try (PreparedStatement select = connection.prepareStatement("SELECT ?::timestamptz, ?::date, ?::bytea, ?::text, ?::bigint = ANY (?)")) {
            select.setTimestamp(1, new Timestamp(1_600_000_000_123L));
            select.setDate(2, java.sql.Date.valueOf("2026-02-28"));
            select.setBytes(3, new byte[] {0, -1});
            select.setNull(4, Types.VARCHAR);
            select.setLong(5, 5);
            select.setArray(6, connection.createArrayOf("bigint", new Long[] {4L, 5L}));
            try (ResultSet rows = select.executeQuery()) {
                rows.next();
                check(rows.getTimestamp(1).getTime() == 1_600_000_000_123L, rows.getString(1));
                check(rows.getDate(2).toString().equals("2026-02-28"), rows.getString(2));
                check(rows.getBytes(3)[1] == -1 && rows.getString(4) == null && rows.getBoolean(5), rows.getString(5));
            }
        }
    }

    static void portions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (PreparedStatement select = connection.prepareStatement("SELECT id FROM jdbc_t ORDER BY id")) {
            select.setFetchSize(100);
            for (int round = 0; round < 7; round++) {
                int count = 0;
                try (ResultSet rows = select.executeQuery()) {
                    while (rows.next()) {
                        count++;
                    }
                }
                check(count == 1003, count);
            }
            select.setMaxRows(10);
            try (ResultSet rows = select.executeQuery()) {
                int count = 0;
                while (rows.next()) {
                    count++;
                }
                check(count == 10, count);
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void metadata(Connection connection) throws SQLException {
        List<String> columns = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "jdbc_t", null)) {
            while (rows.next()) {
                columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME") + " " + rows.getInt("COLUMN_SIZE") + " " + rows.getString("IS_NULLABLE"));
            }
        }
        check(columns.equals(List.of("id int4 10 NO", "name varchar 20 YES", "price numeric 8 YES", "at timestamptz 35 YES")), columns);
        boolean found = false;
        try (ResultSet rows = connection.getMetaData().getTables(null, "public", "jdbc%", new String[] {"TABLE"})) {
            while (rows.next()) {
                found |= rows.getString("TABLE_NAME").equals("jdbc_t");
            }
        }
        check(found, "getTables");
        check(connection.getMetaData().getDatabaseMajorVersion() >= 15, connection.getMetaData().getDatabaseProductVersion());
        try (PreparedStatement select = connection.prepareStatement("SELECT name, price FROM jdbc_t WHERE id = ?")) {
            check(select.getMetaData().getPrecision(1) == 20 && select.getMetaData().getScale(2) == 2, select.getMetaData());
            check(select.getParameterMetaData().getParameterTypeName(1).equals("int4"), select.getParameterMetaData());
        }
        connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        check(connection.getTransactionIsolation() == Connection.TRANSACTION_REPEATABLE_READ, connection.getTransactionIsolation());
        connection.setReadOnly(true);
        connection.setReadOnly(false);
        check(connection.isValid(5), "isValid");
    }

    static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc_w (id int NOT NULL, name text)");
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_w VALUES (?, ?)")) {
                for (int i = 0; i < 50; i++) {
                    insert.setInt(1, i);
                    insert.setString(2, "n" + i);
                    insert.addBatch();
                }
                int[] counts = insert.executeBatch();
                check(counts.length == 50 && counts[49] == 1, counts.length);
            }
            Savepoint savepoint = connection.setSavepoint("s");
            check(statement.executeUpdate("UPDATE jdbc_w SET name = NULL WHERE id < 10") == 10, "update");
            connection.rollback(savepoint);
            check(statement.executeUpdate("DELETE FROM jdbc_w WHERE name IS NULL OR id >= 40") == 10, "delete");
            connection.commit();
            check(statement.executeUpdate("DELETE FROM jdbc_w") == 40, "delete all");
            connection.rollback();
            try (ResultSet rows = statement.executeQuery("SELECT count(*), count(name) FROM jdbc_w")) {
                check(rows.next() && rows.getInt(1) == 40 && rows.getInt(2) == 40, "rows");
            }
            statement.execute("DROP TABLE jdbc_w");
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void errors(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT id, nope FROM jdbc_t");
            throw new AssertionError("an unknown column");
        } catch (PSQLException error) {
            check(error.getSQLState().equals("42703"), error.getSQLState());
            check(error.getServerErrorMessage().getMessage().equals("column \"nope\" does not exist"), error);
            check(error.getServerErrorMessage().getPosition() == 12, error.getServerErrorMessage().getPosition());
        }
    }

    static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(300);
                    statement.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000000000) g");
            throw new AssertionError("it was not cancelled");
        } catch (PSQLException error) {
            check(error.getSQLState().equals("57014"), error.getSQLState());
        }
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000000000) g");
            throw new AssertionError("it did not time out");
        } catch (PSQLException error) {
            check(error.getSQLState().equals("57014"), error.getSQLState());
        }
    }
}
