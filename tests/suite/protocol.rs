//! The suite's own client: PostgreSQL's messages as bytes, so that it sees what a server really sends.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A message of the server.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

/// An ErrorResponse or a NoticeResponse: its fields by their letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) fields: BTreeMap<char, String>,
}

impl Told {
    pub(crate) fn parse(mut body: Bytes) -> Self {
        let mut fields = BTreeMap::new();
        while body.remaining() > 1 {
            let code = char::from(body.get_u8());
            fields.insert(code, take_string(&mut body));
        }
        Self { fields }
    }

    pub(crate) fn field(&self, code: char) -> &str {
        self.fields.get(&code).map_or("", String::as_str)
    }

    pub(crate) fn code(&self) -> &str {
        self.field('C')
    }

    pub(crate) fn message(&self) -> &str {
        self.field('M')
    }
}

/// Severity, code and message on the first line, then a line for each other field that tells something.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.field('S'), self.code(), self.message())?;
        for (code, name) in FIELDS {
            if let Some(text) = self.fields.get(code) {
                write!(f, "\n{name}: {text}")?;
            }
        }
        if self.fields.contains_key(&'P') || self.field('S') != "ERROR" {
            Ok(())
        } else {
            write!(f, "\nwithout a position")
        }
    }
}

/// The fields that a client shows, beside the first line's.
pub(crate) const FIELDS: &[(char, &str)] = &[
    ('P', "position"),
    ('p', "internal position"),
    ('q', "internal query"),
    ('D', "detail"),
    ('H', "hint"),
    ('W', "where"),
    ('s', "schema"),
    ('t', "table"),
    ('c', "column"),
    ('d', "type"),
    ('n', "constraint"),
];

/// What a statement can fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Refused(Told),
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Failure {
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused(told) => told.code(),
            Self::Broken(_) => "broken",
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) oid: u32,
    pub(crate) length: i16,
    pub(crate) typmod: i32,
    pub(crate) format: i16,
}

/// What one statement answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) rows: Vec<Vec<Option<Bytes>>>,
    pub(crate) copied: BytesMut,
    pub(crate) notices: Vec<Told>,
    pub(crate) tag: String,
}

/// A connection that has started up.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    address: SocketAddr,
    /// Process and secret, for a cancel request.
    pub(crate) key: Bytes,
    pub(crate) parameters: BTreeMap<String, String>,
    /// The state that the last ReadyForQuery told.
    pub(crate) state: char,
}

impl Connection {
    /// A socket without a word said.
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (buffer, key, parameters) = (BytesMut::new(), Bytes::new(), BTreeMap::new());
        Ok(Self { stream, buffer, address, key, parameters, state: ' ' })
    }

    /// Protocol 3.0 with these parameters; no password is known.
    pub(crate) async fn start(address: SocketAddr, parameters: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut connection = Self::open(address).await?;
        connection.send(&startup(0x0003_0000, parameters)).await?;
        connection.until_ready().await?;
        Ok(connection)
    }

    /// As the superuser of a fresh warehouse.
    pub(crate) async fn superuser(address: SocketAddr) -> Result<Self, Failure> {
        Self::start(address, &[("user", "lakegate"), ("database", "lakegate")]).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The bytes that come before any message, as the answer to an SSLRequest.
    pub(crate) async fn receive_byte(&mut self) -> std::io::Result<Option<u8>> {
        self.fill(1).await.map(|some| some.then(|| self.buffer.get_u8()))
    }

    /// The next message; `None` when the server has closed the connection.
    pub(crate) async fn receive(&mut self) -> std::io::Result<Option<Frame>> {
        if !self.fill(5).await? {
            return Ok(None);
        }
        let tag = self.buffer[0];
        let length = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
        if !self.fill(1 + length).await? {
            return Err(std::io::Error::other("the connection ended inside a message"));
        }
        self.buffer.advance(5);
        let body = self.buffer.split_to(length - 4).freeze();
        let frame = Frame { tag, body };
        self.remember(&frame);
        Ok(Some(frame))
    }

    /// Whether there are `count` bytes; false when the server has closed before the first of them.
    async fn fill(&mut self, count: usize) -> std::io::Result<bool> {
        while self.buffer.len() < count {
            let read = self.stream.read_buf(&mut self.buffer);
            let read = match tokio::time::timeout(ANSWER_LIMIT, read).await {
                Err(_) => return Err(std::io::Error::other(format!("no answer within {ANSWER_LIMIT:?}"))),
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Ok(done) => done?,
            };
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(std::io::Error::other("an unfinished message"))
                };
            }
        }
        Ok(true)
    }

    fn remember(&mut self, frame: &Frame) {
        match frame.tag {
            b'S' => {
                let mut body = frame.body.clone();
                let name = take_string(&mut body);
                self.parameters.insert(name, take_string(&mut body));
            }
            b'K' => self.key = frame.body.clone(),
            b'Z' => self.state = frame.body.first().map_or(' ', |state| char::from(*state)),
            _ => {}
        }
    }

    /// Sends a cancel request for this connection's statement, over another socket.
    pub(crate) async fn cancel(&self) -> std::io::Result<()> {
        send_cancel(self.address, &self.key).await
    }

    /// Sends the statement as a Query message and collects its answer.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        self.send(&query(sql)).await?;
        self.until_ready().await
    }

    /// Runs a statement whose rows do not matter.
    pub(crate) async fn command(&mut self, sql: &str) -> Result<String, Failure> {
        self.query(sql).await.map(|answer| answer.tag)
    }

    /// The rows as text.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        let text = |value: Option<Bytes>| {
            value.map_or_else(|| "NULL".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let answer = self.query(sql).await?;
        Ok(answer.rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// The first value of the first row.
    pub(crate) async fn value(&mut self, sql: &str) -> Result<String, Failure> {
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or_else(|| "(no row)".to_owned()))
    }

    /// COPY … FROM STDIN with all its data in one message.
    pub(crate) async fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Answer, Failure> {
        let mut out = BytesMut::from(&query(sql)[..]);
        // Sent at once: a refused COPY ignores what follows, as PostgreSQL does.
        for part in data.chunks(60_000) {
            out.put(message(b'd', part));
        }
        out.put(message(b'c', &[]));
        self.send(&out).await?;
        self.until_ready().await
    }

    /// Collects an answer until ReadyForQuery; the first error is what it fails with.
    pub(crate) async fn until_ready(&mut self) -> Result<Answer, Failure> {
        let (mut answer, mut failure) = (Answer::default(), None);
        loop {
            let Some(frame) = self.receive().await? else {
                return Err(failure.unwrap_or_else(|| Failure::Broken("closed by the server".to_owned())));
            };
            match frame.tag {
                b'Z' => return failure.map_or(Ok(answer), Err),
                b'E' => {
                    failure.get_or_insert(Failure::Refused(Told::parse(frame.body)));
                }
                b'R' if frame.body[..] != [0, 0, 0, 0] => {
                    return Err(Failure::Broken(format!("asked for a password: {:?}", frame.body)));
                }
                _ => answer.take(frame),
            }
        }
    }
}

impl Answer {
    fn take(&mut self, frame: Frame) {
        match frame.tag {
            b'T' => {
                self.columns = Some(columns(frame.body));
                self.rows.clear();
            }
            b'D' => self.rows.push(values(frame.body)),
            b'd' => self.copied.extend_from_slice(&frame.body),
            b'N' => self.notices.push(Told::parse(frame.body)),
            b'C' => self.tag = take_string(&mut frame.body.clone()),
            b'I' => self.tag = "(empty)".to_owned(),
            _ => {}
        }
    }
}

/// Sends a cancel request with any key.
pub(crate) async fn send_cancel(address: SocketAddr, key: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(8 + key.len()).unwrap());
    out.put_u32(80_877_102);
    out.put(key);
    stream.write_all(&out).await?;
    // PostgreSQL closes once it has passed the request on.
    let _ = stream.read(&mut [0]).await;
    Ok(())
}

/// Columns of a RowDescription.
pub(crate) fn columns(mut body: Bytes) -> Vec<Column> {
    let count = body.get_u16();
    (0..count)
        .map(|_| {
            let name = take_string(&mut body);
            body.advance(6);
            let (oid, length, typmod, format) = (body.get_u32(), body.get_i16(), body.get_i32(), body.get_i16());
            Column { name, oid, length, typmod, format }
        })
        .collect()
}

/// Values of a DataRow.
pub(crate) fn values(mut body: Bytes) -> Vec<Option<Bytes>> {
    let count = body.get_u16();
    (0..count).map(|_| usize::try_from(body.get_i32()).ok().map(|length| body.split_to(length))).collect()
}

/// Text up to a zero byte.
pub(crate) fn take_string(body: &mut Bytes) -> String {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let text = String::from_utf8_lossy(&body.split_to(end)).into_owned();
    if body.has_remaining() {
        body.advance(1);
    }
    text
}

/// A message with its length before it.
pub(crate) fn message(tag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(tag);
    out.put_u32(u32::try_from(4 + body.len()).unwrap());
    out.put(body);
    out.freeze()
}

pub(crate) fn query(sql: &str) -> Bytes {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// A startup message of that version.
pub(crate) fn startup(version: u32, parameters: &[(&str, &str)]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u32(version);
    for (name, value) in parameters {
        put_string(&mut body, name);
        put_string(&mut body, value);
    }
    body.put_u8(0);
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(4 + body.len()).unwrap());
    out.put(body);
    out.freeze()
}

pub(crate) fn put_string(out: &mut BytesMut, text: &str) {
    out.put(text.as_bytes());
    out.put_u8(0);
}
