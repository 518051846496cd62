//! Statements of sqllogictest over the wire: in simple query with text, or in extended query with binary results.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use sqllogictest::{AsyncDB, ColumnType, DBOutput};

use crate::decode::Style;
use crate::protocol::{Answer, Column, Connection, Failure, columns, message, put_string};

/// How statements are sent, and in which format results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Query, results in text.
    Simple,
    /// Parse, Describe, Bind, Execute; results in binary where the type has a documented format.
    Extended,
}

impl Mode {
    /// The label for `onlyif` and `skipif`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
        }
    }
}

/// The type of a result's column, as one letter: a result of another type is another result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeLetter(char);

/// Letters of types; `O` stands for all others, `-` for a command's tag.
const LETTERS: &[(char, &[u32])] = &[
    ('b', &[16]),
    ('s', &[21]),
    ('i', &[23]),
    ('I', &[20]),
    ('r', &[700]),
    ('R', &[701]),
    ('n', &[1700]),
    ('t', &[25]),
    ('v', &[1043]),
    ('c', &[1042]),
    ('C', &[18]),
    ('N', &[19]),
    ('d', &[1082]),
    ('h', &[1083]),
    ('H', &[1266]),
    ('p', &[1114]),
    ('P', &[1184]),
    ('D', &[1186]),
    ('y', &[17]),
    ('u', &[2950]),
    ('j', &[114]),
    ('J', &[3802]),
    ('o', &[26]),
    ('g', &[24, 2202, 2203, 2204, 2205, 2206, 4089, 4096, 3734, 3769]),
    ('x', &[2278]),
    ('z', &[2249]),
    (
        'a',
        &[
            199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028, 1115, 1182, 1183, 1185,
            1187, 1231, 1270, 2951, 3807,
        ],
    ),
    ('O', &[]),
    ('-', &[]),
];

impl TypeLetter {
    fn of(oid: u32) -> Self {
        Self(LETTERS.iter().find(|(_, oids)| oids.contains(&oid)).map_or('O', |(letter, _)| *letter))
    }
}

impl ColumnType for TypeLetter {
    fn from_char(value: char) -> Option<Self> {
        LETTERS.iter().any(|(letter, _)| *letter == value).then_some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

/// How the results of a file's statements were described, for comparing servers.
pub(crate) type Descriptions = Arc<Mutex<Vec<(String, Vec<Column>)>>>;

/// A connection in a mode.
pub(crate) struct SqlDriver {
    connection: Connection,
    mode: Mode,
    engine: &'static str,
    descriptions: Descriptions,
    /// The file's own folder: shown as `$FOLDER`, since it has another name each time.
    folder: String,
}

impl SqlDriver {
    /// Connects with a schema of its own in front of the search path.
    pub(crate) async fn connect(
        address: SocketAddr,
        engine: &'static str,
        database: &str,
        schema: &str,
        mode: Mode,
        descriptions: Descriptions,
        folder: String,
    ) -> Result<Self, Failure> {
        let path = format!("-c search_path={schema}");
        let parameters = [("user", "lakegate"), ("database", database), ("options", path.as_str())];
        Ok(Self { connection: Connection::start(address, &parameters).await?, mode, engine, descriptions, folder })
    }

    async fn types_and_rows(&mut self, sql: &str) -> Result<(Vec<TypeLetter>, Vec<Vec<String>>), Failure> {
        let answer = match copy_data(sql) {
            Some((statement, data)) => self.connection.copy_in(statement, data.as_bytes()).await?,
            None => match self.mode {
                Mode::Simple => self.connection.query(sql).await?,
                Mode::Extended => self.extended(sql).await?,
            },
        };
        let described = answer.columns.clone().filter(|_| !is_command(&answer));
        match described {
            Some(columns) => {
                self.descriptions.lock().unwrap().push((sql.to_owned(), columns.clone()));
                let rows = answer.rows.iter().map(|row| self.shown(&columns, row)).collect::<Result<_, _>>()?;
                Ok((columns.iter().map(|column| TypeLetter::of(column.oid)).collect(), rows))
            }
            None => Ok((vec![TypeLetter('-')], told(&answer))),
        }
    }

    /// Parse and Describe, then Bind with a format for each column that `Describe` told.
    async fn extended(&mut self, sql: &str) -> Result<Answer, Failure> {
        self.connection.send(&parse_and_describe(sql)).await?;
        let described = self.described().await?;
        let style = self.style();
        let formats = described.iter().map(|column| u16::from(style.reads(column.oid))).collect::<Vec<_>>();
        self.connection.send(&bind_and_execute(&formats)).await?;
        let mut answer = self.connection.until_ready().await?;
        if let Some(columns) = &answer.columns {
            let bound: Vec<u16> = columns.iter().map(|column| column.format.cast_unsigned()).collect();
            if bound != formats {
                return Err(Failure::Broken(format!("asked for formats {formats:?}, described as {bound:?}")));
            }
            let same = columns.iter().zip(&described).all(|(bound, described)| {
                (&bound.name, bound.oid, bound.typmod) == (&described.name, described.oid, described.typmod)
            });
            if !same || columns.len() != described.len() {
                return Err(Failure::Broken("the portal is described unlike its statement".to_owned()));
            }
        } else if !described.is_empty() {
            answer.columns = Some(described);
        }
        Ok(answer)
    }

    /// The columns that Describe told, none for a statement without rows.
    async fn described(&mut self) -> Result<Vec<Column>, Failure> {
        let mut described = Vec::new();
        let mut failure = None;
        loop {
            let Some(frame) = self.connection.receive().await? else {
                return Err(failure.unwrap_or_else(|| Failure::Broken("closed by the server".to_owned())));
            };
            match frame.tag {
                b'T' => described = columns(frame.body),
                b'E' => failure = Some(Failure::Refused(crate::protocol::Told::parse(frame.body))),
                b'Z' => return failure.map_or(Ok(described), Err),
                _ => {}
            }
        }
    }

    fn style(&self) -> Style {
        let parameter = |name: &str| self.connection.parameters.get(name).map_or("", String::as_str);
        Style::new(parameter("TimeZone"), parameter("DateStyle"), parameter("IntervalStyle"))
    }

    fn shown(&self, columns: &[Column], row: &[Option<Bytes>]) -> Result<Vec<String>, Failure> {
        if columns.len() != row.len() {
            return Err(Failure::Broken(format!("{} columns are described, {} come", columns.len(), row.len())));
        }
        let style = self.style();
        let value = |(column, value): (&Column, &Option<Bytes>)| match value {
            None => Ok("NULL".to_owned()),
            Some(bytes) if column.format == 1 => {
                style.text(column.oid, bytes).map(|text| escaped(&text)).map_err(|error| {
                    Failure::Broken(format!("column \"{}\": {error}: {}", column.name, crate::decode::hex(bytes)))
                })
            }
            Some(bytes) => Ok(escaped(&String::from_utf8_lossy(bytes))),
        };
        columns.iter().zip(row).map(value).collect()
    }
}

/// An answer without rows of its own, though FETCH or EXPLAIN have some.
fn is_command(answer: &Answer) -> bool {
    answer.columns.as_ref().is_none_or(Vec::is_empty) && answer.rows.is_empty()
}

/// Notices, data of COPY TO, and the tag, line by line.
fn told(answer: &Answer) -> Vec<Vec<String>> {
    let mut lines: Vec<String> = answer.notices.iter().map(|notice| escaped(&notice.to_string())).collect();
    let copied = String::from_utf8_lossy(&answer.copied);
    lines.extend(copied.lines().map(escaped));
    lines.push(answer.tag.clone());
    lines.into_iter().map(|line| vec![line]).collect()
}

/// A value as it stands in a file: on one line, its ends visible.
fn escaped(text: &str) -> String {
    if text.is_empty() {
        return "(empty)".to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    let inner = text.trim_matches(' ');
    let (before, after) =
        (text.len() - text.trim_start_matches(' ').len(), text.len() - text.trim_end_matches(' ').len());
    if inner.is_empty() {
        return "␣".repeat(text.len());
    }
    format!("{}{inner}{}", "␣".repeat(before), "␣".repeat(after))
}

/// A COPY FROM STDIN whose data follows its first line; `\N` and the like are as in the data.
fn copy_data(sql: &str) -> Option<(&str, String)> {
    let (first, rest) = sql.split_once('\n').unwrap_or((sql, ""));
    let upper = first.to_ascii_uppercase();
    (upper.starts_with("COPY ") && upper.contains("FROM STDIN"))
        .then(|| (first, if rest.is_empty() { String::new() } else { format!("{rest}\n") }))
}

fn parse_and_describe(sql: &str) -> Bytes {
    let mut parse = BytesMut::new();
    put_string(&mut parse, "");
    put_string(&mut parse, sql);
    parse.put_u16(0);
    [message(b'P', &parse), message(b'D', b"S\0"), message(b'S', &[])].concat().into()
}

fn bind_and_execute(formats: &[u16]) -> Bytes {
    let mut bind = BytesMut::new();
    put_string(&mut bind, "");
    put_string(&mut bind, "");
    bind.put_u16(0);
    bind.put_u16(0);
    bind.put_u16(u16::try_from(formats.len()).unwrap());
    formats.iter().for_each(|format| bind.put_u16(*format));
    [message(b'B', &bind), message(b'D', b"P\0"), message(b'E', &[0, 0, 0, 0, 0]), message(b'S', &[])].concat().into()
}

#[async_trait]
impl AsyncDB for SqlDriver {
    type Error = Failure;
    type ColumnType = TypeLetter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<TypeLetter>, Failure> {
        let folder = self.folder.clone();
        match self.types_and_rows(sql).await {
            Ok((types, rows)) => {
                let rows = rows
                    .iter()
                    .map(|row| row.iter().map(|value| value.replace(&folder, "$FOLDER")).collect())
                    .collect();
                Ok(DBOutput::Rows { types, rows })
            }
            Err(Failure::Refused(mut told)) => {
                told.fields.values_mut().for_each(|text| *text = text.replace(&folder, "$FOLDER"));
                Err(Failure::Refused(told))
            }
            Err(broken) => Err(broken),
        }
    }

    async fn shutdown(&mut self) {
        let _ = self.connection.send(&message(b'X', &[])).await;
    }

    fn engine_name(&self) -> &str {
        self.engine
    }

    async fn sleep(duration: std::time::Duration) {
        tokio::time::sleep(duration).await;
    }

    fn error_sql_state(failure: &Failure) -> Option<String> {
        Some(failure.code().to_owned())
    }
}

/// Prepares a file's schema.
pub(crate) async fn create_schema(address: SocketAddr, database: &str, schema: &str) -> Result<(), Failure> {
    let mut admin = Connection::start(address, &[("user", "lakegate"), ("database", database)]).await?;
    admin.command(&format!("CREATE SCHEMA {schema}")).await.map(|_| ())
}
