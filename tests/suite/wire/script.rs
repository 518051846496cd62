//! Reads a `.wire` file and plays it on a server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build::build;
use super::render::render;
use crate::files::{shown, updating};
use crate::protocol::{Connection, Failure};

/// A server that says no more for this long has said all; only asked when answers are written anew or a test is over.
const SILENCE: Duration = Duration::from_millis(40);
const SILENCE_UPDATING: Duration = Duration::from_millis(400);

/// A test of a file.
struct Case {
    title: String,
    /// Number of the title's line.
    line: usize,
    lines: Vec<String>,
}

impl Case {
    fn is(&self, mark: &str) -> bool {
        self.title.contains(&format!("[{mark}]"))
    }

    fn runs_on(&self, engine: &str) -> bool {
        let bound = self.is("lakegate") || self.is("postgres");
        !bound || self.is(engine)
    }
}

fn cases(text: &str) -> (Vec<String>, Vec<Case>) {
    let (mut head, mut cases) = (Vec::new(), Vec::<Case>::new());
    for (number, line) in text.lines().enumerate() {
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case { title: title.to_owned(), line: number + 1, lines: Vec::new() });
        } else if let Some(case) = cases.last_mut() {
            case.lines.push(line.to_owned());
        } else {
            head.push(line.to_owned());
        }
    }
    (head, cases)
}

/// All that went wrong in a file.
pub(super) async fn run_file(
    file: PathBuf,
    address: SocketAddr,
    engine: &'static str,
    database: &'static str,
) -> Vec<String> {
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, mut cases) = cases(&text);
    let mut failures = Vec::new();
    for line in &head {
        let Some(sql) = line.strip_prefix("| ") else { continue };
        if let Err(error) = aside(address, database, sql).await {
            failures.push(format!("{}: {sql}: {error}", shown(&file)));
        }
    }
    for case in &mut cases {
        if !case.runs_on(engine) {
            continue;
        }
        if updating() && engine == "postgres" {
            // What holds already, perhaps by a star, stays as it is.
            if play(case, address, database).await.is_ok() {
                continue;
            }
            match record(case, address, database).await {
                Ok(lines) => case.lines = lines,
                Err(error) => failures.push(format!("{}:{}: {error}", shown(&file), case.line)),
            }
            continue;
        }
        let played = play(case, address, database).await;
        if case.is("gap") && engine == "lakegate" {
            if played.is_ok() {
                failures.push(format!("{}:{}: no gap any more, take the mark away", shown(&file), case.line));
            }
        } else if let Err(error) = played {
            failures.push(format!("[{engine}] {}:{} {}\n{error}", shown(&file), case.line, case.title));
        }
    }
    if updating() && engine == "postgres" {
        write_anew(&file, &head, &cases);
    }
    failures
}

fn write_anew(file: &Path, head: &[String], cases: &[Case]) {
    let mut text = head.join("\n");
    text.push('\n');
    for case in cases {
        let body = case.lines.join("\n");
        text.push_str(&format!("== {}\n{}\n\n", case.title, body.trim_end()));
    }
    std::fs::write(file, format!("{}\n", text.trim_end())).unwrap();
}

async fn aside(address: SocketAddr, database: &str, sql: &str) -> Result<(), Failure> {
    let mut other = Connection::start(address, &[("user", "lakegate"), ("database", database)]).await?;
    other.command(sql).await.map(|_| ())
}

async fn connect(case: &Case, address: SocketAddr, database: &str) -> Result<Connection, String> {
    let connected = if case.is("raw") {
        Connection::open(address).await.map_err(Failure::from)
    } else {
        Connection::start(address, &[("user", "lakegate"), ("database", database)]).await
    };
    connected.map_err(|error| format!("connecting: {error}"))
}

/// What the server says next, as a line.
async fn hear(connection: &mut Connection, bytes: bool) -> String {
    if bytes {
        return match connection.receive_byte().await {
            Ok(Some(byte)) => format!("Byte {}", char::from(byte)),
            Ok(None) => "closed".to_owned(),
            Err(error) => format!("broken: {error}"),
        };
    }
    match connection.receive().await {
        Ok(Some(frame)) => render(&frame),
        Ok(None) => "closed".to_owned(),
        Err(error) => format!("broken: {error}"),
    }
}

async fn send(connection: &mut Connection, line: &str, database: &str, address: SocketAddr) -> Result<(), String> {
    let line = line.replace("$DATABASE", database);
    let bytes = build(&line, &connection.key).map_err(|error| format!("{line}: {error}"))?;
    if line.starts_with("Cancel ") {
        let mut other = Connection::open(address).await.map_err(|error| error.to_string())?;
        other.send(&bytes).await.map_err(|error| error.to_string())?;
        let _ = other.receive_byte().await;
        return Ok(());
    }
    // A server that has closed already is noticed by what is heard.
    let _ = connection.send(&bytes).await;
    Ok(())
}

async fn play(case: &Case, address: SocketAddr, database: &str) -> Result<(), String> {
    let mut connection = connect(case, address, database).await?;
    let (mut heard, mut ahead) = (Vec::new(), None::<String>);
    let mut closed = false;
    for (offset, line) in case.lines.iter().enumerate() {
        let place = || format!("line {}", case.line + offset + 1);
        if let Some(message) = line.strip_prefix("> ") {
            heard.push(format!("> {message}"));
            send(&mut connection, message, database, address).await.map_err(|error| format!("{}: {error}", place()))?;
        } else if let Some(sql) = line.strip_prefix("| ") {
            aside(address, database, sql).await.map_err(|error| format!("{}: {sql}: {error}", place()))?;
        } else if let Some(pause) = line.strip_prefix("pause ") {
            tokio::time::sleep(Duration::from_millis(pause.trim().parse().unwrap())).await;
        } else if let Some(pattern) = line.strip_prefix("<* ") {
            loop {
                let said = match ahead.take() {
                    Some(said) => said,
                    None => hear(&mut connection, false).await,
                };
                if !matches(pattern, &said) {
                    ahead = Some(said);
                    break;
                }
            }
        } else if let Some(pattern) = line.strip_prefix("< ") {
            let said = match ahead.take() {
                Some(said) => said,
                None => hear(&mut connection, pattern.starts_with("Byte ")).await,
            };
            closed |= said == "closed";
            if !matches(pattern, &said) {
                let before = heard.join("\n  ");
                return Err(format!("  {before}\n{}: expected < {pattern}\n          got < {said}", place()));
            }
            heard.push(format!("< {said}"));
        }
    }
    let more = match ahead {
        Some(said) => Some(said),
        None if closed => None,
        None => tokio::time::timeout(SILENCE, hear(&mut connection, false)).await.ok(),
    };
    more.map_or(Ok(()), |said| Err(format!("  {}\nand then came < {said}", heard.join("\n  "))))
}

/// The case's lines with what the server says now in place of what was expected.
async fn record(case: &Case, address: SocketAddr, database: &str) -> Result<Vec<String>, String> {
    let mut connection = connect(case, address, database).await?;
    let mut lines = Vec::new();
    let kept: Vec<&String> = case.lines.iter().filter(|line| !line.starts_with('<')).collect();
    let mut at = 0;
    while at < kept.len() {
        let line = kept[at];
        at += 1;
        lines.push(line.clone());
        if let Some(sql) = line.strip_prefix("| ") {
            aside(address, database, sql).await.map_err(|error| error.to_string())?;
        } else if let Some(pause) = line.strip_prefix("pause ") {
            tokio::time::sleep(Duration::from_millis(pause.trim().parse().unwrap())).await;
        } else if let Some(message) = line.strip_prefix("> ") {
            send(&mut connection, message, database, address).await?;
            let more = kept.get(at).is_some_and(|next| next.starts_with("> "));
            if more && !message.starts_with("SSLRequest") && !message.starts_with("GSSENC") {
                continue;
            }
            let mut bytes = message.starts_with("SSLRequest") || message.starts_with("GSSENC");
            while let Ok(said) = tokio::time::timeout(SILENCE_UPDATING, hear(&mut connection, bytes)).await {
                let over = said == "closed" || said.starts_with("broken");
                lines.push(format!("< {said}"));
                if over || bytes {
                    break;
                }
                bytes = false;
            }
        }
    }
    Ok(lines)
}

/// Whether the text is as the pattern says, where `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in
            [("a*c", "abc", true), ("a*c", "ac", true), ("a*c", "abd", false), ("abc", "abc", true), ("*", "", true)]
        {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
