//! A line of a `.wire` file to the bytes of a client's message.

use bytes::{BufMut, Bytes, BytesMut};

use crate::protocol::{message, put_string, startup};

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Bare(String),
    /// In double quotes, with `\n`, `\t`, `\"`, `\\`, `\0` and `\xHH`.
    Quoted(Vec<u8>),
    /// `x'0001'`.
    Hex(Vec<u8>),
    /// `name=value`.
    Pair(String, Vec<u8>),
}

/// Splits a line into words.
pub(super) fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn word(text: &str) -> Result<(Word, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (bytes, after) = quoted_text(quoted)?;
        return Ok((Word::Quoted(bytes), after));
    }
    if let Some(hex) = text.strip_prefix("x'") {
        let (digits, after) = hex.split_once('\'').ok_or("an unfinished x'…'")?;
        return Ok((Word::Hex(bytes_of_hex(digits)?), after));
    }
    let end = text.find([' ', '=']).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let Some(value) = after.strip_prefix('=') else { return Ok((Word::Bare(name.to_owned()), after)) };
    let (value, after) = match word(value)? {
        (Word::Bare(bare), after) => (bare.into_bytes(), after),
        (Word::Quoted(bytes) | Word::Hex(bytes), after) => (bytes, after),
        (Word::Pair(..), _) => return Err(format!("two = in {text}")),
    };
    Ok((Word::Pair(name.to_owned(), value), after))
}

fn quoted_text(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut rest = text.char_indices();
    while let Some((at, character)) = rest.next() {
        match character {
            '"' => return Ok((bytes, &text[at + 1..])),
            '\\' => match rest.next().map(|(_, escape)| escape) {
                Some('n') => bytes.push(b'\n'),
                Some('r') => bytes.push(b'\r'),
                Some('t') => bytes.push(b'\t'),
                Some('0') => bytes.push(0),
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).map(|(_, digit)| digit).collect();
                    bytes.extend(bytes_of_hex(&digits)?);
                }
                Some(other @ ('"' | '\\')) => bytes.push(other as u8),
                other => return Err(format!("escape {other:?}")),
            },
            _ => bytes.extend(character.to_string().into_bytes()),
        }
    }
    Err("an unfinished \"…\"".to_owned())
}

fn bytes_of_hex(digits: &str) -> Result<Vec<u8>, String> {
    let digits: String = digits.split_whitespace().collect();
    let pairs: Vec<&str> = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2).unwrap_or("?")).collect();
    pairs.into_iter().map(|pair| u8::from_str_radix(pair, 16).map_err(|error| format!("{pair}: {error}"))).collect()
}

/// Reads words one after the other.
struct Arguments {
    words: std::vec::IntoIter<Word>,
    pairs: Vec<(String, Vec<u8>)>,
}

impl Arguments {
    fn new(words: Vec<Word>) -> Self {
        let (mut plain, mut pairs) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Word::Pair(name, value) => pairs.push((name, value)),
                other => plain.push(other),
            }
        }
        Self { words: plain.into_iter(), pairs }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        match self.words.next() {
            Some(Word::Quoted(bytes) | Word::Hex(bytes)) => Ok(bytes),
            Some(Word::Bare(bare)) => Ok(bare.into_bytes()),
            _ => Err("an argument is missing".to_owned()),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("{text} is no number"))
    }

    /// A named list of numbers, as `formats=0,1`; empty when it is not given.
    fn numbers<T: std::str::FromStr>(&self, name: &str) -> Result<Vec<T>, String> {
        let Some((_, list)) = self.pairs.iter().find(|(own, _)| own == name) else { return Ok(Vec::new()) };
        let list = String::from_utf8_lossy(list).into_owned();
        let items = list.split(',').filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|_| format!("{item} is no number"))).collect()
    }
}

/// The bytes of a message. `key` is what a cancel request needs.
pub(super) fn build(line: &str, key: &[u8]) -> Result<Bytes, String> {
    let mut words = words(line)?;
    if words.is_empty() {
        return Err("an empty line".to_owned());
    }
    let Word::Bare(verb) = words.remove(0) else { return Err(format!("no message: {line}")) };
    let mut arguments = Arguments::new(words);
    let mut body = BytesMut::new();
    let tag = match verb.as_str() {
        "Startup" => return startup_message(&arguments),
        "SSLRequest" => return Ok(Bytes::from_static(&[0, 0, 0, 8, 4, 210, 22, 47])),
        "GSSENCRequest" => return Ok(Bytes::from_static(&[0, 0, 0, 8, 4, 210, 22, 48])),
        "Cancel" => return Ok(cancel(key, &arguments.text()?)),
        "Raw" => return arguments.bytes().map(Bytes::from),
        "Message" => return raw_message(&mut arguments),
        "Query" => {
            put_string(&mut body, &arguments.text()?);
            b'Q'
        }
        "Parse" => {
            put_string(&mut body, &arguments.text()?);
            put_string(&mut body, &arguments.text()?);
            put_all(&mut body, &arguments.numbers("types")?, |out, oid: u32| out.put_u32(oid));
            b'P'
        }
        "Bind" => {
            bind(&mut body, &mut arguments)?;
            b'B'
        }
        "Describe" | "Close" => {
            let kind = arguments.text()?;
            body.put(kind.as_bytes());
            put_string(&mut body, &arguments.text()?);
            if verb == "Close" { b'C' } else { b'D' }
        }
        "Execute" => {
            put_string(&mut body, &arguments.text()?);
            body.put_i32(arguments.number()?);
            b'E'
        }
        "Function" => {
            body.put_u32(arguments.number()?);
            body.put_u16(0);
            body.put_u16(0);
            body.put_u16(0);
            b'F'
        }
        "CopyData" => {
            body.put(&arguments.bytes()?[..]);
            b'd'
        }
        "CopyFail" => {
            put_string(&mut body, &arguments.text()?);
            b'f'
        }
        "Password" => {
            put_string(&mut body, &arguments.text()?);
            b'p'
        }
        "CopyDone" => b'c',
        "Flush" => b'H',
        "Sync" => b'S',
        "Terminate" => b'X',
        other => return Err(format!("no message is called {other}")),
    };
    Ok(message(tag, &body))
}

fn put_all<T>(out: &mut BytesMut, items: &[T], put: impl Fn(&mut BytesMut, T))
where
    T: Copy,
{
    out.put_u16(u16::try_from(items.len()).unwrap());
    items.iter().for_each(|item| put(out, *item));
}

/// `Bind portal statement value… formats=0,1 results=1`.
fn bind(body: &mut BytesMut, arguments: &mut Arguments) -> Result<(), String> {
    put_string(body, &arguments.text()?);
    put_string(body, &arguments.text()?);
    put_all(body, &arguments.numbers("formats")?, |out, format: u16| out.put_u16(format));
    let values: Vec<Word> = arguments.words.by_ref().collect();
    body.put_u16(u16::try_from(values.len()).unwrap());
    for value in values {
        match value {
            Word::Bare(word) if word == "NULL" => body.put_i32(-1),
            Word::Bare(word) => {
                body.put_i32(i32::try_from(word.len()).unwrap());
                body.put(word.as_bytes());
            }
            Word::Quoted(bytes) | Word::Hex(bytes) => {
                body.put_i32(i32::try_from(bytes.len()).unwrap());
                body.put(&bytes[..]);
            }
            Word::Pair(..) => return Err("a pair among values".to_owned()),
        }
    }
    put_all(body, &arguments.numbers("results")?, |out, format: u16| out.put_u16(format));
    Ok(())
}

/// `Startup 3.0 user=lakegate database=lakegate`.
fn startup_message(arguments: &Arguments) -> Result<Bytes, String> {
    let version = match arguments.words.clone().next() {
        Some(Word::Bare(version)) => version,
        _ => "3.0".to_owned(),
    };
    let (major, minor) = version.split_once('.').ok_or("a version is 3.0")?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    let pairs: Vec<(String, String)> = arguments
        .pairs
        .iter()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok(startup((number(major)? << 16) | number(minor)?, &pairs))
}

/// `Message Q length=7 "…"`: a type and a length that need not be true.
fn raw_message(arguments: &mut Arguments) -> Result<Bytes, String> {
    let tag = arguments.bytes()?;
    let body = arguments.bytes().unwrap_or_default();
    let length = arguments.numbers("length")?.first().copied().unwrap_or(4 + i32::try_from(body.len()).unwrap());
    let mut out = BytesMut::from(&tag[..]);
    out.put_i32(length);
    out.put(&body[..]);
    Ok(out.freeze())
}

fn cancel(key: &[u8], which: &str) -> Bytes {
    let mut key = key.to_vec();
    if which == "wrong"
        && let Some(last) = key.last_mut()
    {
        *last ^= 1;
    }
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(8 + key.len()).unwrap());
    out.put_u32(80_877_102);
    out.put(&key[..]);
    out.freeze()
}
