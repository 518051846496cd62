//! A server's message to a line.

use bytes::{Buf, Bytes};

use crate::protocol::{FIELDS, Frame, Told, columns, take_string, values};

/// The message on one line.
pub(super) fn render(frame: &Frame) -> String {
    let mut body = frame.body.clone();
    match frame.tag {
        b'R' => authentication(body),
        b'K' => format!("BackendKeyData {}", body.len()),
        b'S' => {
            let name = take_string(&mut body);
            format!("ParameterStatus {name} {}", quoted(take_string(&mut body).as_bytes()))
        }
        b'Z' => format!("ReadyForQuery {}", String::from_utf8_lossy(&body)),
        b'T' => row_description(body),
        b'D' => {
            let values: Vec<String> = values(body).into_iter().map(value).collect();
            format!("DataRow {}", values.join(" ")).trim_end().to_owned()
        }
        b'C' => format!("CommandComplete {}", quoted(take_string(&mut body).as_bytes())),
        b'E' => told("ErrorResponse", body),
        b'N' => told("NoticeResponse", body),
        b'I' => "EmptyQueryResponse".to_owned(),
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'n' => "NoData".to_owned(),
        b's' => "PortalSuspended".to_owned(),
        b't' => {
            let count = body.get_u16();
            let oids: Vec<String> = (0..count).map(|_| body.get_u32().to_string()).collect();
            format!("ParameterDescription {}", oids.join(" ")).trim_end().to_owned()
        }
        b'G' | b'H' => {
            let name = if frame.tag == b'G' { "CopyInResponse" } else { "CopyOutResponse" };
            let overall = body.get_u8();
            let formats: Vec<String> = (0..body.get_u16()).map(|_| body.get_i16().to_string()).collect();
            format!("{name} {overall} {}", formats.join(",")).trim_end().to_owned()
        }
        b'd' => format!("CopyData {}", quoted(&body)),
        b'c' => "CopyDone".to_owned(),
        b'v' => {
            let version = body.get_u32();
            let count = body.get_u32();
            let options: Vec<String> = (0..count).map(|_| take_string(&mut body)).collect();
            format!("NegotiateProtocolVersion {} {}", version & 0xffff, options.join(" ")).trim_end().to_owned()
        }
        tag => format!("Unknown {:?} {}", char::from(tag), crate::decode::hex(&body)),
    }
}

fn authentication(mut body: Bytes) -> String {
    match body.get_u32() {
        0 => "AuthenticationOk".to_owned(),
        3 => "AuthenticationCleartextPassword".to_owned(),
        5 => "AuthenticationMD5Password".to_owned(),
        10 => {
            let mut mechanisms = Vec::new();
            while body.remaining() > 1 {
                mechanisms.push(take_string(&mut body));
            }
            format!("AuthenticationSASL {}", mechanisms.join(" "))
        }
        other => format!("Authentication {other}"),
    }
}

fn row_description(body: Bytes) -> String {
    let described: Vec<String> = columns(body)
        .iter()
        .map(|column| {
            let format = if column.format == 0 { "text" } else { "binary" };
            format!("\"{}\":{}/{}/{}/{format}", column.name, column.oid, column.length, column.typmod)
        })
        .collect();
    format!("RowDescription {}", described.join(" ")).trim_end().to_owned()
}

fn value(value: Option<Bytes>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |bytes| quoted(&bytes))
}

/// Text in quotes; bytes that are none in hexadecimal.
fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) => {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
        }
        _ => format!("x'{}'", crate::decode::hex(bytes)),
    }
}

fn told(name: &str, body: Bytes) -> String {
    let told = Told::parse(body);
    let mut text = format!("{name} {} {} {}", told.field('V'), told.code(), quoted(told.message().as_bytes()));
    for (code, field) in FIELDS {
        if let Some(value) = told.fields.get(code) {
            text.push_str(&format!(" {field}={}", quoted(value.as_bytes())));
        }
    }
    text
}
