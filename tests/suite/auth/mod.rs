//! Who comes in, and how: SCRAM, host rules, TLS, and addresses that are refused.

mod tls;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use crate::protocol::Connection;
use crate::server::{Home, Server};
use tls::{Authority, Connector, Tls};

/// Everybody needs a password, from loopback too; the role `trusted` does not.
const RULES: &str = "server.host_rules=host all trusted 127.0.0.1/32 trust, host all rejected all reject, host all all all scram-sha-256";

async fn connect(server: &Server, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config(server, user, password).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn config(server: &Server, user: &str, password: &str) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.address().port()).user(user).dbname("lakegate");
    if !password.is_empty() {
        config.password(password);
    }
    config
}

/// The SQLSTATE and the message of a refusal.
fn refusal(error: &tokio_postgres::Error) -> (SqlState, String) {
    let told = error.as_db_error().unwrap_or_else(|| panic!("no word of the server: {error}"));
    (told.code().clone(), told.message().to_owned())
}

/// A warehouse with roles and passwords, made while loopback is trusted.
async fn prepared() -> Home {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    for sql in [
        "ALTER ROLE lakegate PASSWORD 'secret'",
        "CREATE ROLE alice LOGIN PASSWORD 'päss \"wörd'",
        "CREATE ROLE trusted LOGIN",
        "CREATE ROLE rejected LOGIN PASSWORD 'x'",
        "CREATE ROLE nobody PASSWORD 'x'",
    ] {
        admin.command(sql).await.unwrap();
    }
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_lets_in_who_knows_the_password() {
    let home = prepared().await;
    let server = Server::start_in(&home, &["--set", RULES]);
    let client = connect(&server, "alice", "päss \"wörd").await.unwrap();
    let row = client.query_one("SELECT current_user::text, session_user::text", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("alice", "alice"));
    let (code, message) = refusal(&connect(&server, "alice", "wrong").await.err().unwrap());
    assert_eq!(
        (code, message.as_str()),
        (SqlState::INVALID_PASSWORD, "password authentication failed for user \"alice\"")
    );
    // Whether a role is there is not told to who does not know its password.
    let (code, message) = refusal(&connect(&server, "missing", "x").await.err().unwrap());
    assert_eq!(
        (code, message.as_str()),
        (SqlState::INVALID_PASSWORD, "password authentication failed for user \"missing\"")
    );
    let (code, _) = refusal(&connect(&server, "nobody", "x").await.err().unwrap());
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    connect(&server, "trusted", "").await.unwrap();
    let (code, _) = refusal(&connect(&server, "rejected", "x").await.err().unwrap());
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_verifier_can_be_read() {
    let home = prepared().await;
    let mut found = Vec::new();
    let mut folders = vec![home.warehouse()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                if String::from_utf8_lossy(&bytes).contains("wörd") {
                    found.push(path);
                }
            }
        }
    }
    assert!(found.is_empty(), "a password in clear is in {found:?}");
    let server = Server::start_in(&home, &[]);
    let mut admin = Connection::superuser(server.address()).await.unwrap();
    assert_eq!(admin.value("SELECT rolpassword FROM pg_roles WHERE rolname = 'alice'").await.unwrap(), "********");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_roles_come_in_otherwise() {
    let home = prepared().await;
    let server = Server::start_in(&home, &["--set", RULES]);
    let admin = connect(&server, "lakegate", "secret").await.unwrap();
    admin.batch_execute("ALTER ROLE alice PASSWORD 'new'").await.unwrap();
    assert_eq!(refusal(&connect(&server, "alice", "päss \"wörd").await.err().unwrap()).0, SqlState::INVALID_PASSWORD);
    connect(&server, "alice", "new").await.unwrap();
    admin.batch_execute("ALTER ROLE alice NOLOGIN").await.unwrap();
    let (code, message) = refusal(&connect(&server, "alice", "new").await.err().unwrap());
    assert_eq!(
        (code, message.as_str()),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "role \"alice\" is not permitted to log in")
    );
    admin.batch_execute("DROP ROLE alice").await.unwrap();
    assert_eq!(refusal(&connect(&server, "alice", "new").await.err().unwrap()).0, SqlState::INVALID_PASSWORD);
    let alice = connect(&server, "trusted", "").await.unwrap();
    let refused = alice.batch_execute("CREATE ROLE evil SUPERUSER").await.err().unwrap();
    assert_eq!(refusal(&refused).0, SqlState::INSUFFICIENT_PRIVILEGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_takes_the_superusers_password_from_the_environment() {
    let home = Home::new();
    let server = Server::start_in(&home, &["--set", "server.superuser_password=first", "--set", RULES]);
    connect(&server, "lakegate", "first").await.unwrap();
    assert_eq!(refusal(&connect(&server, "lakegate", "other").await.err().unwrap()).0, SqlState::INVALID_PASSWORD);
}

#[test]
fn other_hosts_need_tls_and_passwords() {
    for flags in [&["--listen", "0.0.0.0:0"][..], &["--listen", "[::]:0"]] {
        let log =
            Server::launch(&Home::new(), "serve", flags).err().unwrap_or_else(|| panic!("{flags:?} is listened on"));
        assert!(log.contains("refusing to listen on"), "{log}");
        assert!(log.contains("server.allow_insecure_listen"), "{log}");
    }
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let trusting = "server.host_rules=host all all all trust";
    let flags = ["--listen", "0.0.0.0:0", "--set", &certificate, "--set", &key, "--set", trusting];
    let log = Server::launch(&Home::new(), "serve", &flags).err().expect("trust for other hosts is refused");
    assert!(log.contains("without a password"), "{log}");
    drop(Server::start(&["--listen", "0.0.0.0:0", "--set", &certificate, "--set", &key]));
    drop(Server::start(&["--listen", "0.0.0.0:0", "--set", "server.allow_insecure_listen=true"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_encrypts_and_binds_the_password_to_the_channel() {
    let home = prepared().await;
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let only_tls = "server.host_rules=hostssl all all all scram-sha-256";
    let server = Server::start_in(&home, &["--set", &certificate, "--set", &key, "--set", only_tls]);
    let mut config = config(&server, "lakegate", "secret");
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
    let (client, connection) = config.connect(tls.connector()).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    // In clear nobody gets in: no rule is for them.
    let refused = connect(&server, "lakegate", "secret").await.err().unwrap();
    assert_eq!(refusal(&refused).0, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_clear_behind_an_ssl_request_are_refused() {
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let server = Server::start(&["--set", &certificate, "--set", &key]);
    let mut connection = Connection::open(server.address()).await.unwrap();
    let request = [0, 0, 0, 8, 4, 210, 22, 47];
    let startup = crate::protocol::startup(0x0003_0000, &[("user", "lakegate"), ("database", "lakegate")]);
    connection.send(&[&request[..], &startup[..]].concat()).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(Some(byte)) = connection.receive_byte().await {
        heard.push(byte);
    }
    assert!(!heard.contains(&b'Z'), "what came in clear was taken for what came encrypted: {heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_loaded_again_on_sighup() {
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let server = Server::start(&["--set", &certificate, "--set", &key]);
    let mut config = config(&server, "lakegate", "");
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    drop(config.connect(tls.connector()).await.unwrap());
    let old = tls.connector();
    tls.renew();
    server.signal(libc::SIGHUP);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while config.connect(tls.connector()).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(config.connect(old).await.is_err(), "the old certificate is still shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_lets_in_the_role_of_its_common_name() {
    let home = prepared().await;
    let (tls, ours, theirs) = (Tls::new(), Authority::new(), Authority::new());
    let [certificate, key] = tls.flags();
    let rules = "server.host_rules=hostssl all all all cert";
    let server =
        Server::start_in(&home, &["--set", &certificate, "--set", &key, "--set", &ours.flag(), "--set", rules]);
    let connect = async |user: &str, connector: Connector| {
        let mut config = config(&server, user, "");
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        let (client, connection) = config.connect(connector).await?;
        tokio::spawn(connection);
        Ok::<_, tokio_postgres::Error>(client)
    };
    let alice = ours.certify("alice");
    let client = connect("alice", tls.connector_of(Some(&alice), &[])).await.unwrap();
    let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "alice");

    let (code, message) = refusal(&connect("lakegate", tls.connector_of(Some(&alice), &[])).await.err().unwrap());
    assert_eq!(code, SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert_eq!(message, "certificate authentication failed for user \"lakegate\"");
    let (_, message) = refusal(&connect("alice", tls.connector()).await.err().unwrap());
    assert_eq!(message, "connection requires a valid client certificate");
    // Signed by somebody else: the handshake fails, and nothing is said outside of it.
    let forged = theirs.certify("alice");
    let error = connect("alice", tls.connector_of(Some(&forged), &[])).await.err().unwrap();
    assert!(error.as_db_error().is_none(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handshake_is_never_answered_in_clear() {
    const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    /// The type of a TLS record that holds an alert.
    const ALERT: u8 = 21;
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let server = Server::start(&["--set", &certificate, "--set", &key]);
    let startup = crate::protocol::startup(0x0003_0000, &[("user", "lakegate"), ("database", "lakegate")]);
    // A handshake message of the server, and an empty one.
    let broken_hello = [22, 3, 1, 0, 4, 2, 0, 0, 0];
    for (what, asked, sent) in [
        ("a startup message", true, &startup[..]),
        ("another protocol", true, b"GET / HTTP/1.1\r\n\r\n"),
        ("a broken ClientHello", true, &broken_hello),
        ("one without a request", false, &broken_hello),
    ] {
        let mut connection = Connection::open(server.address()).await.unwrap();
        if asked {
            connection.send(&REQUEST).await.unwrap();
            assert_eq!(connection.receive_byte().await.unwrap(), Some(b'S'), "{what}");
        }
        connection.send(sent).await.unwrap();
        let mut heard = Vec::new();
        while let Ok(Some(byte)) = connection.receive_byte().await {
            heard.push(byte);
        }
        assert!(heard.first().is_none_or(|kind| *kind == ALERT), "{what}: {heard:?}");
    }
    // The server counts once it has let go of the connection, which the client may see first.
    crate::http::until_metrics(&server, "lakegate_tls_handshakes_failed_total 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_without_a_request_needs_the_protocols_name() {
    let tls = Tls::new();
    let [certificate, key] = tls.flags();
    let server = Server::start(&["--set", &certificate, "--set", &key]);
    for (names, served) in [(&[b"postgresql".as_slice()][..], true), (&[], false)] {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = tls.connector_of(None, names).0.connect(name, socket).await.unwrap();
        let startup = crate::protocol::startup(0x0003_0000, &[("user", "lakegate"), ("database", "lakegate")]);
        let mut first = [0];
        // A refused client may be gone already.
        let _ = stream.write_all(&startup).await;
        let read = stream.read(&mut first).await;
        assert_eq!(matches!(read, Ok(1)) && first == [b'R'], served, "{read:?} {first:?}");
    }
}
