//! Rules about rows: COPY FROM STDIN, what a crash leaves, who is told.

use std::time::Duration;

use hmac::{Hmac, Mac};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::http::until_metrics;
use crate::protocol::Connection;
use crate::server::{Home, Server};

const TABLE: &str = "CREATE TABLE t (id int NOT NULL, kind text, \
     CONSTRAINT known EXPECT (id IS NOT NULL) ON VIOLATION DROP ROW, \
     CONSTRAINT good EXPECT (kind = 'good') ON VIOLATION QUARANTINE ROW, \
     CONSTRAINT positive EXPECT (id > 0) ON VIOLATION FAIL WITH (ignore_nulls = true))";
const COUNTS: &str = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM t_quarantine)";

async fn counts(connection: &mut Connection) -> [String; 2] {
    connection.rows(COUNTS).await.unwrap().remove(0).try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_from_stdin_is_asked() {
    let server = Server::start(&[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(TABLE).await.unwrap();
    let tag = connection.copy_in("COPY t FROM STDIN", b"1\tgood\n\\N\tgood\n2\tbad\n3\tgood\n").await.unwrap();
    assert_eq!(tag.tag, "COPY 2");
    assert_eq!(counts(&mut connection).await, ["2", "1"]);
    let refused = connection.copy_in("COPY t FROM STDIN", b"4\tgood\n-5\tbad\n").await.unwrap_err();
    assert_eq!(refused.code(), "23514");
    assert_eq!(counts(&mut connection).await, ["2", "1"]);
    let failed =
        "SELECT status, failed, quarantined FROM lakegate.expectation_results WHERE rule = 'positive' ORDER BY run_id";
    assert_eq!(connection.rows(failed).await.unwrap(), [["passed", "0", "0"], ["failed", "1", "0"]]);
    // In a block nobody else sees either table, and what became of the rules is told after it.
    let mut other = Connection::superuser(server.address()).await.unwrap();
    connection.command("BEGIN").await.unwrap();
    connection.copy_in("COPY t FROM STDIN", b"6\tgood\n7\tbad\n").await.unwrap();
    assert_eq!(counts(&mut connection).await, ["3", "2"]);
    assert_eq!(counts(&mut other).await, ["2", "1"]);
    let runs = "SELECT count(*) FROM lakegate.expectation_runs";
    assert_eq!(other.value(runs).await.unwrap(), "2");
    connection.command("COMMIT").await.unwrap();
    assert_eq!(counts(&mut other).await, ["3", "2"]);
    assert_eq!(other.value(runs).await.unwrap(), "3");
}

/// Each statement brings a good row and a bad one: they are there together, once, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn kill_leaves_no_half_of_what_was_put_apart() {
    const ROUNDS: i32 = 8;
    let home = Home::new();
    let mut server = Server::start_in(&home, &[]);
    let mut acknowledged = Vec::new();
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(TABLE).await.unwrap();
    let mut id = 0;
    for round in 0..ROUNDS {
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        let killed_at = id + 2 + round % 3;
        loop {
            id += 1;
            let sql = format!("INSERT INTO t VALUES ({id}, 'good'), ({id}, 'bad')");
            if id > killed_at {
                let sending = tokio::spawn(async move { connection.command(&sql).await.is_ok() });
                tokio::time::sleep(Duration::from_millis(3 * u64::try_from(round).unwrap())).await;
                server.kill();
                if sending.await.unwrap() {
                    acknowledged.push(id);
                }
                break;
            }
            connection.command(&sql).await.unwrap();
            acknowledged.push(id);
        }
        server = Server::start_in(&home, &[]);
        let mut connection = Connection::superuser(server.address()).await.unwrap();
        let ids = |rows: Vec<Vec<String>>| -> Vec<i32> { rows.iter().map(|row| row[0].parse().unwrap()).collect() };
        let good = ids(connection.rows("SELECT id FROM t ORDER BY 1").await.unwrap());
        let bad = ids(connection.rows("SELECT id FROM t_quarantine ORDER BY 1").await.unwrap());
        assert_eq!(good, bad);
        assert!(good.windows(2).all(|pair| pair[0] < pair[1]), "{good:?}");
        assert!(acknowledged.iter().all(|id| good.contains(id)), "{acknowledged:?} {good:?}");
        id = id.max(good.last().copied().unwrap_or(0));
    }
    // What waits for its place in the log is there after a shutdown in order.
    const RUNS: &str = "SELECT count(*) FROM lakegate.expectation_runs";
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let before: usize = connection.value(RUNS).await.unwrap().parse().unwrap();
    for more in 1..=5 {
        connection.command(&format!("INSERT INTO t VALUES ({}, 'good')", id + more)).await.unwrap();
    }
    server.terminate();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(connection.value(RUNS).await.unwrap(), (before + 5).to_string());
}

/// One request's headers, in lower case, and its body; answered with the status.
async fn request(listener: &TcpListener, status: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        if body.len() >= header(&head, "content-length").parse().unwrap() {
            let (head, body) = (head.clone(), body.to_owned());
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return (head, body);
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_until_it_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("quality.webhook_url=http://{}/hook", listener.local_addr().unwrap());
    let server = Server::start(&["--set", &url, "--set", "quality.webhook_secret=secret"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(TABLE).await.unwrap();
    connection.command("INSERT INTO t VALUES (1, 'good')").await.unwrap();
    connection.command("INSERT INTO t VALUES (2, 'bad')").await.unwrap();
    let told = async {
        let first = request(&listener, "503 Service Unavailable").await;
        // Another one does not wait until that is taken.
        connection.command("INSERT INTO t VALUES (3, 'bad')").await.unwrap();
        while request(&listener, "503 Service Unavailable").await.1 == first.1 {}
        let (one, other) = (request(&listener, "204 No Content").await, request(&listener, "204 No Content").await);
        (first.clone(), if one.1 == first.1 { one } else { other })
    };
    let ((head, body), (again, same)) = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    assert_eq!(body, same);
    assert_eq!(header(&head, "x-lakegate-delivery"), header(&again, "x-lakegate-delivery"));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap();
    mac.update(format!("{}.{same}", header(&again, "x-lakegate-timestamp")).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header(&again, "x-lakegate-signature"), format!("sha256={expected}"));
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&event["table"], &event["source"]), (&"public.t".into(), &"INSERT".into()));
    assert_eq!(event["results"].as_array().unwrap().len(), 1);
    assert_eq!((&event["results"][0]["rule"], &event["results"][0]["quarantined"]), (&"good".into(), &1.into()));
    until_metrics(&server, "lakegate_webhook_deliveries_total{outcome=\"delivered\"} 2").await;
    until_metrics(&server, "lakegate_expectation_rows_failed_total{rule=\"good\",table=\"public.t\"} 2").await;
}
