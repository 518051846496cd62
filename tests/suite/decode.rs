//! PostgreSQL's binary values to PostgreSQL's text, written from the documented formats: what a server sends in binary must
//! mean the same as what it sends in text.

mod datetime;
mod number;

use bytes::{Buf, Bytes};

use datetime::Zone;

/// What the text of a value depends on.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    zone: Zone,
    iso_dates: bool,
    postgres_intervals: bool,
}

impl Style {
    /// From the parameters that the server has told.
    pub(crate) fn new(zone: &str, date_style: &str, interval_style: &str) -> Self {
        Self {
            zone: Zone::new(zone),
            iso_dates: date_style.starts_with("ISO"),
            postgres_intervals: interval_style == "postgres",
        }
    }

    /// Whether values of the type can be read in binary under this style; all others are asked for in text.
    pub(crate) fn reads(&self, oid: u32) -> bool {
        match oid {
            1082 | 1114 => self.iso_dates,
            1184 => self.iso_dates && self.zone.is_known(),
            1186 => self.postgres_intervals,
            _ => element_of(oid).map_or_else(|| is_plain(oid), |element| self.reads(element)),
        }
    }

    /// The text of a value; an error when its bytes are none of the type.
    pub(crate) fn text(&self, oid: u32, bytes: &Bytes) -> Result<String, String> {
        let mut body = bytes.clone();
        let text = match oid {
            16 => if fixed::<1>(&mut body)? == [1] { "t" } else { "f" }.to_owned(),
            18 => char_text(fixed::<1>(&mut body)?[0]),
            21 => i16::from_be_bytes(fixed(&mut body)?).to_string(),
            23 => i32::from_be_bytes(fixed(&mut body)?).to_string(),
            20 => i64::from_be_bytes(fixed(&mut body)?).to_string(),
            26 | 28 | 29 => u32::from_be_bytes(fixed(&mut body)?).to_string(),
            700 => number::float4(f32::from_be_bytes(fixed(&mut body)?)),
            701 => number::float8(f64::from_be_bytes(fixed(&mut body)?)),
            1700 => number::numeric(&mut body)?,
            1082 => datetime::date(i32::from_be_bytes(fixed(&mut body)?)),
            1083 => datetime::time(i64::from_be_bytes(fixed(&mut body)?)),
            1266 => datetime::timetz(i64::from_be_bytes(fixed(&mut body)?), i32::from_be_bytes(fixed(&mut body)?)),
            1114 => datetime::timestamp(i64::from_be_bytes(fixed(&mut body)?)),
            1184 => datetime::timestamptz(i64::from_be_bytes(fixed(&mut body)?), &self.zone),
            1186 => datetime::interval(
                i64::from_be_bytes(fixed(&mut body)?),
                i32::from_be_bytes(fixed(&mut body)?),
                i32::from_be_bytes(fixed(&mut body)?),
            ),
            17 => format!("\\x{}", hex(&rest(&mut body))),
            2950 => uuid_text(fixed(&mut body)?),
            3802 => {
                let version = fixed::<1>(&mut body)?[0];
                if version != 1 {
                    return Err(format!("jsonb of version {version}"));
                }
                utf8(&mut body)?
            }
            19 | 25 | 114 | 705 | 1042 | 1043 => utf8(&mut body)?,
            2278 => String::new(),
            2249 => self.record(&mut body)?,
            _ => match element_of(oid) {
                Some(element) => self.array(element, &mut body)?,
                None => return Err(format!("no binary format is known of type {oid}")),
            },
        };
        if body.has_remaining() {
            return Err(format!("{} bytes are left of a value of type {oid}", body.remaining()));
        }
        Ok(text)
    }

    fn array(&self, expected: u32, body: &mut Bytes) -> Result<String, String> {
        let dimensions = i32::from_be_bytes(fixed(body)?);
        let flags = i32::from_be_bytes(fixed(body)?);
        let element = u32::from_be_bytes(fixed(body)?);
        if element != expected {
            return Err(format!("an array of {expected} says that it holds {element}"));
        }
        let mut sizes = Vec::new();
        let mut bounds = String::new();
        let mut plain_bounds = true;
        for _ in 0..dimensions {
            let size = i32::from_be_bytes(fixed(body)?);
            let lower = i32::from_be_bytes(fixed(body)?);
            plain_bounds &= lower == 1;
            bounds.push_str(&format!("[{lower}:{}]", lower + size - 1));
            sizes.push(usize::try_from(size).map_err(|_| "a negative size")?);
        }
        let count = if sizes.is_empty() { 0 } else { sizes.iter().product() };
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(match self.item(element, body)? {
                None => "NULL".to_owned(),
                Some(text) => quote_item(&text),
            });
        }
        if items.iter().any(|item| item == "NULL") && flags != 1 {
            return Err("an array with NULLs whose flag says that it has none".to_owned());
        }
        let nested = nest(&items, &sizes);
        Ok(if plain_bounds { nested } else { format!("{bounds}={nested}") })
    }

    fn item(&self, oid: u32, body: &mut Bytes) -> Result<Option<String>, String> {
        let length = i32::from_be_bytes(fixed(body)?);
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if body.remaining() < length {
            return Err("an item longer than its value".to_owned());
        }
        self.text(oid, &body.split_to(length)).map(Some)
    }

    fn record(&self, body: &mut Bytes) -> Result<String, String> {
        let count = i32::from_be_bytes(fixed(body)?);
        let mut items = Vec::new();
        for _ in 0..count {
            let oid = u32::from_be_bytes(fixed(body)?);
            items.push(self.item(oid, body)?.map_or_else(String::new, |text| quote_field(&text)));
        }
        Ok(format!("({})", items.join(",")))
    }
}

fn is_plain(oid: u32) -> bool {
    matches!(
        oid,
        16 | 17
            | 18
            | 19
            | 20
            | 21
            | 23
            | 25
            | 26
            | 28
            | 29
            | 114
            | 700
            | 701
            | 705
            | 1042
            | 1043
            | 1083
            | 1266
            | 1700
            | 2278
            | 2950
            | 3802
    )
}

/// The element's type of an array type.
fn element_of(oid: u32) -> Option<u32> {
    Some(match oid {
        199 => 114,
        1000 => 16,
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        1028 => 26,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        1270 => 1266,
        2951 => 2950,
        3807 => 3802,
        _ => return None,
    })
}

fn fixed<const N: usize>(body: &mut Bytes) -> Result<[u8; N], String> {
    let bytes = body.get(..N).ok_or_else(|| format!("{N} bytes are expected, {} are there", body.len()))?;
    let bytes = bytes.try_into().map_err(|_| "length")?;
    body.advance(N);
    Ok(bytes)
}

fn rest(body: &mut Bytes) -> Bytes {
    body.split_to(body.len())
}

fn utf8(body: &mut Bytes) -> Result<String, String> {
    String::from_utf8(rest(body).to_vec()).map_err(|error| error.to_string())
}

fn char_text(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=127 => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let all = hex(&bytes);
    [&all[..8], &all[8..12], &all[12..16], &all[16..20], &all[20..]].join("-")
}

/// An item of an array as array_out quotes it.
fn quote_item(text: &str) -> String {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\u{b}';
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A field of a row as record_out quotes it.
fn quote_field(text: &str) -> String {
    let special = |c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\u{b}';
    if !text.is_empty() && !text.contains(special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// Items in braces, dimension by dimension.
fn nest(items: &[String], sizes: &[usize]) -> String {
    match sizes {
        [] => "{}".to_owned(),
        [_] => format!("{{{}}}", items.join(",")),
        [first, inner @ ..] => {
            let each = items.len() / (*first).max(1);
            let parts: Vec<String> = items.chunks(each.max(1)).map(|part| nest(part, inner)).collect();
            format!("{{{}}}", parts.join(","))
        }
    }
}
