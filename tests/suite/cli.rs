//! The command line: what its commands print, and how they exit.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::protocol::Connection;
use crate::server::{Home, Server, binary};

/// Runs the binary to its end, with that text on standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{error}");
}

fn file(home: &Home, name: &str, content: &str) -> String {
    let path = home.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn check_accepts_the_example_configurations_and_refuses_a_bad_key() {
    let home = Home::new();
    let good = file(&home, "good.toml", "[server]\nlisten = [\"127.0.0.1:5432\"]\n[memory]\npool_bytes = \"1GB\"\n");
    let done = run(&["check", "--config", &good], "");
    assert_exit(&done, 0);
    assert!(text(&done.stdout).contains("is valid"));
    let bad = file(&home, "bad.toml", "[server]\nlisen = [\"127.0.0.1:5432\"]\n");
    let done = run(&["check", "--config", &bad], "");
    assert_exit(&done, 1);
    let told = text(&done.stderr);
    assert!(told.contains("unrecognized configuration key \"server.lisen\""), "{told}");
    assert!(told.contains("Did you mean \"server.listen\"?"), "{told}");
    let bad = file(&home, "bad.toml", "[server]\nconnections_max = \"many\"\n");
    let done = run(&["check", "--config", &bad], "");
    assert_exit(&done, 1);
    assert!(text(&done.stderr).contains("invalid value for configuration key \"server.connections_max\""));
    assert_exit(&run(&["check", "--config", "/nonexistent.toml"], ""), 1);
}

#[test]
fn serve_refuses_an_unknown_key_on_the_command_line() {
    let log = Server::launch(&Home::new(), "serve", &["--set", "server.nope=1"]).err().expect("it starts");
    assert!(log.contains("unrecognized configuration key \"server.nope\""), "{log}");
}

#[test]
fn wrong_arguments_exit_with_2() {
    for arguments in [&["nope"][..], &["serve", "--nope"], &["run"], &["run", "/nonexistent.sql"], &[]] {
        assert_exit(&run(arguments, ""), 2);
    }
    let done = run(&["--help"], "");
    assert_exit(&done, 0);
    for command in ["serve", "demo", "run", "check", "password"] {
        assert!(text(&done.stdout).contains(command), "{command}");
    }
    let done = run(&["--version"], "");
    assert_exit(&done, 0);
    assert!(text(&done.stdout).starts_with("lakegate "));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_puts_variables_in_and_stops_at_the_first_error() {
    let home = Home::new();
    let warehouse = home.warehouse().display().to_string();
    let script = file(
        &home,
        "good.sql",
        "-- a comment with :name\nCREATE TABLE :table (day date, words text);\nINSERT INTO :\"table\" VALUES (:'day'::date, ':not');\n",
    );
    let arguments = ["run", &script, "-v", "table=loaded", "-v", "day=2026-11-20", "--warehouse", &warehouse];
    let done = run(&arguments, "");
    assert_exit(&done, 0);
    let printed = text(&done.stdout);
    assert!(printed.contains("CREATE TABLE") && printed.contains("INSERT 0 1"), "{printed}");
    let bad =
        file(&home, "bad.sql", "INSERT INTO loaded VALUES ('2026-11-21', 'x');\nSELECT nope;\nTRUNCATE loaded;\n");
    let done = run(&["run", &bad, "--warehouse", &warehouse], "");
    assert_exit(&done, 1);
    assert_eq!(text(&done.stdout), "INSERT 0 1\n", "what was done is told");
    let told = text(&done.stderr);
    assert!(
        told.contains("bad.sql:2") && told.contains("42703") && told.contains("column \"nope\" does not exist"),
        "{told}"
    );
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let rows = connection.rows("SELECT day, words FROM loaded ORDER BY day").await.unwrap();
    assert_eq!(rows, [["2026-11-20", ":not"], ["2026-11-21", "x"]]);
    let there = format!("postgres://lakegate@{}/lakegate", server.address());
    let more = file(&home, "more.sql", "INSERT INTO loaded VALUES (:'day', 'there');");
    let done = run(&["run", &more, "-v", "day=2026-11-22", "--connect", &there], "");
    assert_exit(&done, 0);
    assert_eq!(text(&done.stdout), "INSERT 0 1\n");
    assert_eq!(connection.value("SELECT count(*) FROM loaded").await.unwrap(), "3");
    let done = run(&["run", &bad, "--connect", &there], "");
    assert_exit(&done, 1);
    assert_eq!(text(&done.stdout), "INSERT 0 1\n");
    assert!(
        text(&done.stderr).contains("bad.sql:2: ERROR 42703: column \"nope\" does not exist"),
        "{}",
        text(&done.stderr)
    );
    let done = run(&["run", &more, "--connect", "postgres://lakegate@127.0.0.1:1/lakegate"], "");
    assert_exit(&done, 1);
    assert!(text(&done.stderr).contains("Connection refused"), "{}", text(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn password_sets_a_verifier() {
    let home = Home::new();
    drop(Server::start_in(&home, &[]));
    let warehouse = home.warehouse().display().to_string();
    assert_exit(&run(&["password", "lakegate", "--warehouse", &warehouse], "from stdin\n"), 0);
    assert_exit(&run(&["password", "nobody", "--warehouse", &warehouse], "x\n"), 1);
    assert_exit(&run(&["password", "lakegate", "--warehouse", &warehouse], "\n"), 1);
    let server = Server::start_in(&home, &["--set", "server.host_rules=host all all all scram-sha-256"]);
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address().port()).user("lakegate").dbname("lakegate").password("from stdin");
    drop(config.connect(tokio_postgres::NoTls).await.unwrap());
    config.password("other");
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_loads_once() {
    let home = Home::new();
    let mut server = Server::launch(&home, "demo", &[]).unwrap_or_else(|log| panic!("{log}"));
    let mut said = Vec::new();
    while said.len() < 12 && !said.iter().any(|line: &String| line.starts_with("Worth trying")) {
        match server.said() {
            Some(line) => said.push(line),
            None => break,
        }
    }
    assert!(said.iter().any(|line| line.contains("psql -h 127.0.0.1")), "{said:?}");
    let worth_trying = std::fs::read_to_string(crate::files::root().join("sql/demo/queries.sql")).unwrap();
    let worth_trying = worth_trying.lines().filter(|line| !line.starts_with("--") && !line.is_empty()).count();
    let queries: Vec<String> = (0..worth_trying).filter_map(|_| server.said()).collect();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    for query in &queries {
        let rows = connection.rows(query.trim()).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(!rows.is_empty(), "{query}");
    }
    let flights = connection.value("SELECT count(*) FROM raw.flights").await.unwrap();
    assert_eq!(flights, "80789", "all flights of the first three months");
    let started = Instant::now();
    server.kill();
    let server = Server::launch(&home, "demo", &[]).unwrap_or_else(|log| panic!("{log}"));
    assert!(started.elapsed() < Duration::from_secs(5), "the second start took {:?}", started.elapsed());
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value("SELECT count(*) FROM raw.flights").await.unwrap(), flights);
}
