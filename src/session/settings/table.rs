//! The table of settings: PostgreSQL's that clients set or show, and `lakegate.…`.
//!
//! A setting of PostgreSQL that would change nothing here stands in the table only when clients need it, and then takes only
//! the values that are true here.

use super::definition::Kind::{Bool, Enum, Int, Text};
use super::definition::Scope::{Internal, Postmaster, Sighup, Superuser, User};
use super::definition::TextRule::{Any, ClientEncoding, DateStyle, Printable, SearchPath, TimeZone};
use super::definition::Unit::{Kilobytes, Milliseconds, Seconds};
use super::definition::{Definition, Kind, Scope, TextRule, Unit};

/// The version of PostgreSQL whose behaviour is offered: what clients read to choose their queries.
pub const SERVER_VERSION: &str = concat!("17.6 (Lakegate ", env!("CARGO_PKG_VERSION"), ")");

/// The same as a number.
pub const SERVER_VERSION_NUM: i64 = 170_006;

const INT_MAX: i64 = i32::MAX as i64;

const AUTHENTICATION: &str = "Connections and Authentication / Authentication";
const CONNECTION: &str = "Connections and Authentication / Connection Settings";
const LOCALE: &str = "Client Connection Defaults / Locale and Formatting";
const LOGGED: &str = "Reporting and Logging / What to Log";
const MEMORY: &str = "Resource Usage / Memory";
const OWN: &str = "Customized Options";
const PLANNER: &str = "Query Tuning / Other Planner Options";
const PRESET: &str = "Preset Options";
const STATEMENT: &str = "Client Connection Defaults / Statement Behavior";
const TCP: &str = "Connections and Authentication / TCP Settings";
const VERSIONS: &str = "Version and Platform Compatibility / Previous PostgreSQL Versions";

const ISOLATION_LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
/// Every transaction reads one snapshot, which is all that these levels promise; `serializable` promises more.
const ISOLATION_HONOURED: &[&str] = &["repeatable read", "read committed", "read uncommitted"];
const MESSAGE_LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];

const fn bool(
    name: &'static str,
    default: bool,
    scope: Scope,
    category: &'static str,
    description: &'static str,
) -> Definition {
    Definition::new(name, Bool { default }, scope, category, description)
}

const fn int(
    name: &'static str,
    (default, min, max): (i64, i64, i64),
    scope: Scope,
    category: &'static str,
    description: &'static str,
) -> Definition {
    Definition::new(name, Int { default, min, max, unit: None }, scope, category, description)
}

const fn quantity(
    name: &'static str,
    unit: Unit,
    (default, min, max): (i64, i64, i64),
    scope: Scope,
    category: &'static str,
    description: &'static str,
) -> Definition {
    Definition::new(name, Int { default, min, max, unit: Some(unit) }, scope, category, description)
}

const fn one_of(
    name: &'static str,
    values: &'static [&'static str],
    default: &'static str,
    scope: Scope,
    category: &'static str,
    description: &'static str,
) -> Definition {
    Definition::new(name, Enum { default, values }, scope, category, description)
}

const fn text(
    name: &'static str,
    rule: TextRule,
    default: &'static str,
    scope: Scope,
    category: &'static str,
    description: &'static str,
) -> Definition {
    let kind: Kind = Text { default, rule };
    Definition::new(name, kind, scope, category, description)
}

/// Every setting, in the order of `SHOW ALL`: by name, letters in any case.
#[rustfmt::skip]
pub static DEFINITIONS: &[Definition] = &[
    text("application_name", Printable, "", User, LOGGED, "Sets the application name to be reported in statistics and logs.").reported(),
    bool("array_nulls", true, User, VERSIONS, "Enable input of NULL elements in arrays.").honours(&["on"]),
    quantity("authentication_timeout", Seconds, (60, 1, 600), Sighup, AUTHENTICATION, "Sets the maximum allowed time to complete client authentication."),
    one_of("backslash_quote", &["safe_encoding", "on", "off"], "safe_encoding", User, VERSIONS, "Sets whether \"\\'\" is allowed in string literals.").honours(&["safe_encoding", "on"]),
    int("block_size", (8192, 8192, 8192), Internal, PRESET, "Shows the size of a disk block."),
    one_of("bytea_output", &["escape", "hex"], "hex", User, STATEMENT, "Sets the output format for bytea."),
    bool("check_function_bodies", true, User, STATEMENT, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    text("client_encoding", ClientEncoding, "UTF8", User, LOCALE, "Sets the client's character set encoding.").reported(),
    one_of("client_min_messages", MESSAGE_LEVELS, "notice", User, STATEMENT, "Sets the message levels that are sent to the client."),
    bool("data_checksums", false, Internal, PRESET, "Shows whether data checksums are turned on for this cluster."),
    text("DateStyle", DateStyle, "ISO, MDY", User, LOCALE, "Sets the display format for date and time values.").reported(),
    text("default_table_access_method", Any, "delta", User, STATEMENT, "Sets the default table access method for new tables.").honours(&["delta"]),
    text("default_tablespace", Any, "", User, STATEMENT, "Sets the default tablespace to create tables and indexes in.").honours(&["", "pg_default"]),
    bool("default_transaction_deferrable", false, User, STATEMENT, "Sets the default deferrable status of new transactions."),
    one_of("default_transaction_isolation", ISOLATION_LEVELS, "read committed", User, STATEMENT, "Sets the transaction isolation level of each new transaction.").honours(ISOLATION_HONOURED),
    bool("default_transaction_read_only", false, User, STATEMENT, "Sets the default read-only status of new transactions.").reported(),
    bool("escape_string_warning", true, User, VERSIONS, "Warn about backslash escapes in ordinary string literals."),
    int("extra_float_digits", (1, -15, 3), User, LOCALE, "Sets the number of digits displayed for floating-point values."),
    bool("geqo", false, User, "Query Tuning / Genetic Query Optimizer", "Enables genetic query optimization.").honours(&["off"]),
    quantity("idle_in_transaction_session_timeout", Milliseconds, (0, 0, INT_MAX), User, STATEMENT, "Sets the maximum allowed idle time between queries, when in a transaction."),
    quantity("idle_session_timeout", Milliseconds, (0, 0, INT_MAX), User, STATEMENT, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    bool("in_hot_standby", false, Internal, PRESET, "Shows whether hot standby is currently active.").reported(),
    bool("integer_datetimes", true, Internal, PRESET, "Shows whether datetimes are integer based.").reported(),
    one_of("IntervalStyle", &["postgres", "postgres_verbose", "sql_standard", "iso_8601"], "postgres", User, LOCALE, "Sets the display format for interval values.").reported(),
    bool("is_superuser", false, Internal, PRESET, "Shows whether the current user is a superuser.").reported(),
    bool("jit", false, User, PLANNER, "Allow JIT compilation.").honours(&["off"]),
    int("lakegate.batch_rows", (8192, 1, 1_048_576), User, OWN, "Sets how many rows the engine works on at a time."),
    quantity("lakegate.catalog_staleness", Milliseconds, (0, 0, INT_MAX), User, OWN, "Sets how old the catalog may be that a statement reads; 0 reads the newest."),
    bool("lakegate.retention_check", true, User, OWN, "Refuses a VACUUM that would remove files within the retention time of their table."),
    quantity("lakegate.table_staleness", Milliseconds, (0, 0, INT_MAX), User, OWN, "Sets how old the version of a table may be that a statement reads; 0 reads the newest."),
    int("lakegate.target_partitions", (0, 0, 1024), User, OWN, "Sets how many partitions of a query run at the same time; 0 takes the server's number."),
    text("lc_collate", Any, "C", Internal, PRESET, "Shows the collation order locale."),
    text("lc_ctype", Any, "C.UTF-8", Internal, PRESET, "Shows the character classification and case conversion locale."),
    text("lc_messages", Any, "C", Superuser, LOCALE, "Sets the language in which messages are displayed.").honours(&["C", "", "C.UTF-8", "POSIX"]),
    text("lc_monetary", Any, "C", User, LOCALE, "Sets the locale for formatting monetary amounts.").honours(&["C", "", "C.UTF-8", "POSIX"]),
    text("lc_numeric", Any, "C", User, LOCALE, "Sets the locale for formatting numbers.").honours(&["C", "", "C.UTF-8", "POSIX"]),
    text("lc_time", Any, "C", User, LOCALE, "Sets the locale for formatting date and time values.").honours(&["C", "", "C.UTF-8", "POSIX"]),
    text("listen_addresses", Any, "localhost", Postmaster, CONNECTION, "Sets the host name or IP address(es) to listen to."),
    bool("lo_compat_privileges", false, Superuser, VERSIONS, "Enables backward compatibility mode for privilege checks on large objects."),
    quantity("lock_timeout", Milliseconds, (0, 0, INT_MAX), User, STATEMENT, "Sets the maximum allowed duration of any wait for a lock."),
    quantity("log_min_duration_statement", Milliseconds, (-1, -1, INT_MAX), Superuser, "Reporting and Logging / When to Log", "Sets the minimum execution time above which all statements will be logged."),
    one_of("log_statement", &["none", "ddl", "mod", "all"], "none", Superuser, LOGGED, "Sets the type of statements logged."),
    quantity("maintenance_work_mem", Kilobytes, (65536, 1024, INT_MAX), User, MEMORY, "Sets the maximum memory to be used for maintenance operations.").honours(&["64MB"]),
    int("max_connections", (100, 1, 262_143), Postmaster, CONNECTION, "Sets the maximum number of concurrent connections."),
    int("max_function_args", (100, 100, 100), Internal, PRESET, "Shows the maximum number of function arguments."),
    int("max_identifier_length", (63, 63, 63), Internal, PRESET, "Shows the maximum identifier length."),
    int("max_index_keys", (32, 32, 32), Internal, PRESET, "Shows the maximum number of index keys."),
    one_of("password_encryption", &["md5", "scram-sha-256"], "scram-sha-256", User, AUTHENTICATION, "Chooses the algorithm for encrypting passwords.").honours(&["scram-sha-256"]),
    one_of("plan_cache_mode", &["auto", "force_generic_plan", "force_custom_plan"], "auto", User, PLANNER, "Controls the planner's selection of custom or generic plan.").honours(&["auto"]),
    int("port", (5432, 0, 65535), Postmaster, CONNECTION, "Sets the TCP port the server listens on."),
    bool("quote_all_identifiers", false, User, VERSIONS, "When generating SQL fragments, quote all identifiers.").honours(&["off"]),
    text("role", Any, "none", User, STATEMENT, "Sets the current role."),
    bool("row_security", true, User, STATEMENT, "Enables row security."),
    int("scram_iterations", (4096, 1, INT_MAX), User, AUTHENTICATION, "Sets the iteration count for SCRAM secret generation.").reported(),
    text("search_path", SearchPath, "\"$user\", public", User, STATEMENT, "Sets the schema search order for names that are not schema-qualified."),
    text("server_encoding", Any, "UTF8", Internal, PRESET, "Shows the server (database) character set encoding.").reported(),
    text("server_version", Any, SERVER_VERSION, Internal, PRESET, "Shows the server version.").reported(),
    int("server_version_num", (SERVER_VERSION_NUM, SERVER_VERSION_NUM, SERVER_VERSION_NUM), Internal, PRESET, "Shows the server version as an integer."),
    text("session_authorization", Any, "", User, STATEMENT, "Sets the session user name.").reported(),
    bool("ssl", false, Sighup, "Connections and Authentication / SSL", "Enables SSL connections."),
    bool("standard_conforming_strings", true, User, VERSIONS, "Causes '...' strings to treat backslashes literally.").reported().honours(&["on"]),
    quantity("statement_timeout", Milliseconds, (0, 0, INT_MAX), User, STATEMENT, "Sets the maximum allowed duration of any statement."),
    int("superuser_reserved_connections", (3, 0, 262_143), Postmaster, CONNECTION, "Sets the number of connection slots reserved for superusers."),
    bool("synchronize_seqscans", false, User, VERSIONS, "Enable synchronized sequential scans.").honours(&["off"]),
    one_of("synchronous_commit", &["local", "remote_write", "remote_apply", "on", "off"], "on", User, "Write-Ahead Log / Settings", "Sets the current transaction's synchronization level.").honours(&["on", "local"]),
    int("tcp_keepalives_count", (0, 0, INT_MAX), Postmaster, TCP, "Maximum number of TCP keepalive retransmits."),
    quantity("tcp_keepalives_idle", Seconds, (0, 0, INT_MAX), Postmaster, TCP, "Time between issuing TCP keepalives."),
    quantity("tcp_keepalives_interval", Seconds, (0, 0, INT_MAX), Postmaster, TCP, "Time between TCP keepalive retransmits."),
    text("temp_tablespaces", Any, "", User, STATEMENT, "Sets the tablespace(s) to use for temporary tables and sort files.").honours(&[""]),
    text("TimeZone", TimeZone, "UTC", User, LOCALE, "Sets the time zone for displaying and interpreting time stamps.").reported(),
    bool("transaction_deferrable", false, User, STATEMENT, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    one_of("transaction_isolation", ISOLATION_LEVELS, "read committed", User, STATEMENT, "Sets the current transaction's isolation level.").honours(ISOLATION_HONOURED),
    bool("transaction_read_only", false, User, STATEMENT, "Sets the current transaction's read-only status."),
    quantity("transaction_timeout", Milliseconds, (0, 0, INT_MAX), User, STATEMENT, "Sets the maximum allowed duration of any transaction within a session (not a prepared transaction)."),
    quantity("work_mem", Kilobytes, (4096, 64, INT_MAX), User, MEMORY, "Sets the maximum memory to be used for query workspaces."),
    one_of("xmlbinary", &["base64", "hex"], "base64", User, STATEMENT, "Sets how binary values are to be encoded in XML.").honours(&["base64"]),
    one_of("xmloption", &["content", "document"], "content", User, STATEMENT, "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments.").honours(&["content"]),
];
