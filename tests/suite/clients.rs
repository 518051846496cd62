//! tokio-postgres as its users use it: the client that lives in this suite. The others are scripts in `tests/clients/`.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::server::Server;

async fn connect(server: &Server) -> Client {
    let port = server.address().port();
    let target = format!("host=127.0.0.1 port={port} user=lakegate dbname=lakegate application_name=suite");
    let (client, connection) = tokio_postgres::connect(&target, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_loads_queries_fetches_cancels_and_reads_errors() {
    let server = Server::start(&[]);
    let mut client = connect(&server).await;
    client.batch_execute("CREATE TABLE t (id int NOT NULL, name text, price float8, at timestamptz)").await.unwrap();
    let sink = client.copy_in("COPY t (id, name, price) FROM STDIN (FORMAT csv)").await.unwrap();
    futures::pin_mut!(sink);
    for id in 0..1000 {
        sink.send(Bytes::from(format!("{id},name {id},{}\n", f64::from(id) / 4.0))).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 1000);
    let sink = client.copy_in("COPY t (id, name) FROM STDIN BINARY").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]);
    futures::pin_mut!(writer);
    for id in 1000..2000 {
        writer.as_mut().write(&[&id, &Some("binary")]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 1000);

    let statement =
        client.prepare("SELECT id, name, price FROM t WHERE id >= $1 AND name LIKE $2 ORDER BY id").await.unwrap();
    assert_eq!(statement.params(), [Type::INT4, Type::TEXT]);
    let rows = client.query(&statement, &[&990, &"name%"]).await.unwrap();
    assert_eq!(rows.len(), 10);
    assert_eq!(
        (rows[1].get::<_, i32>(0), rows[1].get::<_, &str>(1), rows[1].get::<_, f64>(2)),
        (991, "name 991", 247.75)
    );
    let row = client
        .query_one("SELECT count(*), sum(id), max(price) FROM t WHERE id = ANY ($1)", &[&vec![1, 5, 1500]])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, f64>(2)), (3, 1506, 1.25));
    assert_eq!(client.execute("INSERT INTO t VALUES ($1, $2, $3)", &[&7000, &"x", &0.5]).await.unwrap(), 1);

    let stream = client.copy_out("COPY (SELECT id, name FROM t WHERE id < 3 ORDER BY id) TO STDOUT").await.unwrap();
    let copied: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(copied.concat(), b"0\tname 0\n1\tname 1\n2\tname 2\n");
    let stream =
        client.copy_out("COPY (SELECT id, name FROM t WHERE id < 3 ORDER BY id) TO STDOUT BINARY").await.unwrap();
    let rows: Vec<_> = BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT]).try_collect().await.unwrap();
    assert_eq!((rows.len(), rows[2].get::<i32>(0), rows[2].get::<&str>(1)), (3, 2, "name 2"));

    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    let mut counts = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 900).await.unwrap();
        counts.push(rows.len());
        if rows.len() < 900 {
            break;
        }
    }
    assert_eq!(counts, [900, 900, 201]);
    transaction.commit().await.unwrap();

    let token = client.cancel_token();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    let refused = client.query(crate::faults::ENDLESS, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::QUERY_CANCELED));
    canceller.await.unwrap();

    let refused = client.query("SELECT id, nope FROM t", &[]).await.unwrap_err();
    let told = refused.as_db_error().unwrap();
    assert_eq!((told.code(), told.message()), (&SqlState::UNDEFINED_COLUMN, "column \"nope\" does not exist"));
    assert_eq!(told.position(), Some(&ErrorPosition::Original(12)));
    assert_eq!(told.severity(), "ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_pipelines_and_streams() {
    let server = Server::start(&[]);
    let client = connect(&server).await;
    let doubled = async |number: i32| client.query_one("SELECT $1::int * 2", &[&number]).await;
    let answers = (0..50).map(doubled);
    let answers = futures::future::try_join_all(answers).await.unwrap();
    let answers: Vec<i32> = answers.iter().map(|row| row.get(0)).collect();
    assert_eq!(answers, (0..50).map(|number| number * 2).collect::<Vec<_>>());
    let rows =
        client.query_raw("SELECT g, g::text FROM generate_series(1, 100000) g", Vec::<i32>::new()).await.unwrap();
    let sum = rows.try_fold(0i64, async |sum, row| Ok(sum + i64::from(row.get::<_, i32>(0)))).await.unwrap();
    assert_eq!(sum, 100_000 * 100_001 / 2);
    let mut stream = Box::pin(client.simple_query_raw("SELECT 1; SELECT 2").await.unwrap());
    let mut count = 0;
    while stream.next().await.transpose().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 6, "two descriptions, two rows, two tags");
}
