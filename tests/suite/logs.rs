//! What a superuser may have written to the log: statements and their durations.

use crate::protocol::Connection;
use crate::server::{Home, Server};

/// Lines of the log that hold the text.
fn lines(server: &Server, text: &str) -> Vec<String> {
    server.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_is_logged_unless_asked_for() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("SELECT 'unasked'").await.unwrap();
    connection.query("SELECT 'unasked' FROM missing").await.unwrap_err();
    assert_eq!(lines(&server, "unasked"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_statement_says_which_statements_are_logged() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for (level, logged) in [
        ("none", [false, false, false]),
        ("ddl", [true, false, false]),
        ("mod", [true, true, false]),
        ("all", [true, true, true]),
    ] {
        connection.command(&format!("SET log_statement = '{level}'")).await.unwrap();
        connection.command(&format!("CREATE TABLE defined_{level} (a int)")).await.unwrap();
        connection.command(&format!("PREPARE {level}_write AS INSERT INTO defined_{level} SELECT 1")).await.unwrap();
        connection.command(&format!("EXECUTE {level}_write")).await.unwrap();
        connection.command(&format!("SELECT '{level}_read'")).await.unwrap();
        let found = [
            lines(&server, &format!("CREATE TABLE defined_{level}")),
            lines(&server, &format!("EXECUTE {level}_write")),
            lines(&server, &format!("{level}_read")),
        ];
        assert_eq!(found.clone().map(|lines| lines.len() == 1), logged, "{level}: {found:?}");
    }
    connection.command("CREATE ROLE somebody PASSWORD 'hidden'").await.unwrap();
    assert_eq!(lines(&server, "hidden"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_min_duration_statement_tells_how_long_statements_took() {
    let home = Home::new();
    let server = Server::start_in(&home, &["--set", "settings.log_min_duration_statement=0"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command("SELECT 'timed'").await.unwrap();
    let found = lines(&server, "timed");
    assert!(found.len() == 1 && found[0].contains("duration_ms"), "{found:?}");
    connection.command("SET log_statement = 'all'").await.unwrap();
    connection.command("SELECT 'shown once'").await.unwrap();
    assert_eq!(lines(&server, "shown once").len(), 1);
    connection.command("SET log_statement = 'none'").await.unwrap();
    connection.command("SET log_min_duration_statement = '1h'").await.unwrap();
    connection.command("SELECT 'fast'").await.unwrap();
    assert_eq!(lines(&server, "fast"), Vec::<String>::new());
}
