//! Messages of the server, appended to the output buffer. DataRow is written by `encode::rows`.
//!
//! Each is a few lines over the buffer that the rows go to as well: pgwire's structs would have every string and column
//! copied into owned values first.

use bytes::{BufMut, BytesMut};

use crate::encode::types::{Format, OutputColumn, type_info};
use crate::error::Error;
use crate::query::TransactionStatus;

/// Appends one message: its type, its length, and the body that `body` writes.
fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    body(out);
    // A body of ours never comes near the 4 GiB at which this would be untrue.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends the text, cut at a zero byte if it has one, and its terminator.
fn string(out: &mut BytesMut, text: &str) {
    let text = text.as_bytes();
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.put_slice(text.get(..end).unwrap_or_default());
    out.put_u8(0);
}

fn count(items: usize) -> u16 {
    u16::try_from(items).unwrap_or(u16::MAX)
}

fn format_code(format: Format) -> u16 {
    match format {
        Format::Text => 0,
        Format::Binary => 1,
    }
}

pub fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(0));
}

/// AuthenticationSASL: the mechanisms, best first.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        out.put_u32(10);
        mechanisms.iter().for_each(|mechanism| string(out, mechanism));
        out.put_u8(0);
    });
}

pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(11);
        out.put_slice(data);
    });
}

pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(12);
        out.put_slice(data);
    });
}

/// NegotiateProtocolVersion: the version that is spoken and the `_pq_.` options that are not known.
pub fn negotiate_protocol_version(out: &mut BytesMut, version: u32, unknown_options: &[String]) {
    message(out, b'v', |out| {
        out.put_u32(version);
        out.put_u32(u32::try_from(unknown_options.len()).unwrap_or(u32::MAX));
        unknown_options.iter().for_each(|option| string(out, option));
    });
}

pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name);
        string(out, value);
    });
}

pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InTransaction => b'T',
        TransactionStatus::Failed => b'E',
    };
    message(out, b'Z', |out| out.put_u8(status));
}

pub fn parse_complete(out: &mut BytesMut) {
    message(out, b'1', |_| {});
}

pub fn bind_complete(out: &mut BytesMut) {
    message(out, b'2', |_| {});
}

pub fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

pub fn no_data(out: &mut BytesMut) {
    message(out, b'n', |_| {});
}

pub fn portal_suspended(out: &mut BytesMut) {
    message(out, b's', |_| {});
}

pub fn empty_query_response(out: &mut BytesMut) {
    message(out, b'I', |_| {});
}

pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| string(out, tag));
}

pub fn parameter_description(out: &mut BytesMut, oids: &[u32]) {
    message(out, b't', |out| {
        out.put_u16(count(oids.len()));
        oids.iter().for_each(|oid| out.put_u32(*oid));
    });
}

/// RowDescription. Columns without a format are text, as in the description of a statement.
pub fn row_description(out: &mut BytesMut, columns: &[OutputColumn], formats: &[Format]) {
    message(out, b'T', |out| {
        out.put_u16(count(columns.len()));
        for (at, column) in columns.iter().enumerate() {
            string(out, &column.name);
            out.put_u32(column.table_oid);
            out.put_i16(column.attribute);
            out.put_u32(column.ty.oid);
            out.put_i16(type_info(column.ty.oid).map_or(-1, |info| info.typlen));
            out.put_i32(column.ty.typmod);
            out.put_u16(format_code(formats.get(at).copied().unwrap_or_default()));
        }
    });
}

pub fn copy_in_response(out: &mut BytesMut, format: Format, columns: usize) {
    copy_response(out, b'G', format, columns);
}

pub fn copy_out_response(out: &mut BytesMut, format: Format, columns: usize) {
    copy_response(out, b'H', format, columns);
}

fn copy_response(out: &mut BytesMut, tag: u8, format: Format, columns: usize) {
    message(out, tag, |out| {
        out.put_u8(u8::from(format == Format::Binary));
        out.put_u16(count(columns));
        (0..columns).for_each(|_| out.put_u16(format_code(format)));
    });
}

pub fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| {});
}

pub fn error_response(out: &mut BytesMut, error: &Error) {
    message(out, b'E', |out| fields(out, error));
}

pub fn notice_response(out: &mut BytesMut, notice: &Error) {
    message(out, b'N', |out| fields(out, notice));
}

fn fields(out: &mut BytesMut, error: &Error) {
    let mut field = |code: u8, text: Option<&str>| {
        if let Some(text) = text {
            out.put_u8(code);
            string(out, text);
        }
    };
    field(b'S', Some(error.level().as_str()));
    field(b'V', Some(error.level().as_str()));
    field(b'C', Some(error.sqlstate().code()));
    field(b'M', Some(error.message()));
    field(b'D', error.detail());
    field(b'H', error.hint());
    field(b'P', error.position().map(|position| position.to_string()).as_deref());
    field(b'W', error.context());
    field(b's', error.schema());
    field(b't', error.table());
    field(b'c', error.column());
    field(b'n', error.constraint());
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::types::PgType;
    use crate::error::SqlState;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn messages_have_type_length_and_body() {
        let cases: Vec<(Vec<u8>, &[u8])> = vec![
            (written(authentication_ok), b"R\0\0\0\x08\0\0\0\0"),
            (written(|out| authentication_sasl(out, &["SCRAM-SHA-256"])), b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
            (written(|out| ready_for_query(out, TransactionStatus::Failed)), b"Z\0\0\0\x05E"),
            (written(|out| command_complete(out, "SELECT 1")), b"C\0\0\0\x0dSELECT 1\0"),
            (written(|out| parameter_description(out, &[23])), b"t\0\0\0\x0a\0\x01\0\0\0\x17"),
            (written(|out| copy_in_response(out, Format::Binary, 2)), b"G\0\0\0\x0b\x01\0\x02\0\x01\0\x01"),
            (written(|out| backend_key_data(out, 7, &[1, 2, 3, 4])), b"K\0\0\0\x0c\0\0\0\x07\x01\x02\x03\x04"),
        ];
        for (written, expected) in cases {
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_row_description_carries_type_length_and_modifier() {
        let columns = [OutputColumn::new("n", PgType::INT4)];
        let expected = b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01";
        assert_eq!(written(|out| row_description(out, &columns, &[Format::Binary])), expected);
    }

    #[test]
    fn an_error_carries_its_fields_in_order() {
        let error = Error::new(SqlState::UndefinedTable, "relation \"t\" does not exist").at(15).with_hint("Look.");
        let expected = b"E\0\0\0\x42SERROR\0VERROR\0C42P01\0Mrelation \"t\" does not exist\0HLook.\0P15\0\0";
        assert_eq!(written(|out| error_response(out, &error)), expected);
    }

    #[test]
    fn a_zero_byte_in_a_text_cannot_forge_fields() {
        let error = Error::internal("a\0Cforged");
        assert!(written(|out| error_response(out, &error)).ends_with(b"Ma\0\0"));
    }
}
