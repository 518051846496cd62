//! Types of configuration values and how each is read from text.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as a layer gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    One(String),
    Many(Vec<String>),
}

impl Raw {
    /// A single value; a list is refused.
    fn one(&self) -> Result<&str, String> {
        match self {
            Self::One(text) => Ok(text),
            Self::Many(_) => Err("one value is expected, not a list".to_owned()),
        }
    }
}

/// A type of values.
pub(super) trait ConfigValue: Sized {
    /// Its name in the documentation.
    const TYPE: &'static str;
    /// Reads it, or says what was expected.
    fn read(raw: &Raw) -> Result<Self, String>;
    /// As it would be written in a file.
    fn shown(&self) -> String;
}

macro_rules! from_text {
    ($($ty:ty = $name:literal, $expected:literal;)*) => {
        $(impl ConfigValue for $ty {
            const TYPE: &'static str = $name;
            fn read(raw: &Raw) -> Result<Self, String> {
                raw.one()?.trim().parse().map_err(|_| $expected.to_owned())
            }
            fn shown(&self) -> String { self.to_string() }
        })*
    };
}

from_text! {
    bool = "boolean", "expected true or false";
    usize = "integer", "expected a whole number";
    u64 = "integer", "expected a whole number";
    i32 = "integer", "expected a whole number";
    f64 = "number", "expected a number";
    SocketAddr = "address", "expected address:port, e.g. 127.0.0.1:5432";
}

impl ConfigValue for String {
    const TYPE: &'static str = "text";
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.one().map(str::to_owned)
    }
    fn shown(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for PathBuf {
    const TYPE: &'static str = "path";
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.one().map(Self::from)
    }
    fn shown(&self) -> String {
        self.display().to_string()
    }
}

/// A list: an array in a file, separated by commas in the environment and in flags.
impl<T: ConfigValue> ConfigValue for Vec<T> {
    const TYPE: &'static str = "list";
    fn read(raw: &Raw) -> Result<Self, String> {
        let items: Vec<String> = match raw {
            Raw::Many(items) => items.clone(),
            Raw::One(text) => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
            }
        };
        items.into_iter().map(|item| T::read(&Raw::One(item))).collect()
    }
    fn shown(&self) -> String {
        self.iter().map(T::shown).collect::<Vec<_>>().join(", ")
    }
}

/// A value that may be absent: the empty text.
impl<T: ConfigValue> ConfigValue for Option<T> {
    const TYPE: &'static str = T::TYPE;
    fn read(raw: &Raw) -> Result<Self, String> {
        if matches!(raw, Raw::One(text) if text.is_empty()) { Ok(None) } else { T::read(raw).map(Some) }
    }
    fn shown(&self) -> String {
        self.as_ref().map(T::shown).unwrap_or_default()
    }
}

/// A number of bytes, written `1048576` or `256MB` (by 1024, as PostgreSQL counts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const fn megabytes(n: u64) -> Self {
        Self(n << 20)
    }

    /// As a size in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const BYTE_UNITS: [(&str, u32); 5] = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10), ("B", 0)];

impl ConfigValue for Bytes {
    const TYPE: &'static str = "bytes";
    fn read(raw: &Raw) -> Result<Self, String> {
        let expected = || "expected bytes, e.g. 256MB".to_owned();
        let (number, unit) = split_unit(raw.one()?);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let shift = match unit {
            "" => 0,
            unit => BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?.1,
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(expected)
    }
    fn shown(&self) -> String {
        let unit = BYTE_UNITS.iter().find(|(_, shift)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        unit.map_or_else(|| self.0.to_string(), |(name, shift)| format!("{}{name}", self.0 >> shift))
    }
}

const TIME_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

impl ConfigValue for Duration {
    const TYPE: &'static str = "duration";
    fn read(raw: &Raw) -> Result<Self, String> {
        let expected = || "expected a duration with its unit, e.g. 30s or 500ms".to_owned();
        let (number, unit) = split_unit(raw.one()?);
        let number: u64 = number.parse().map_err(|_| expected())?;
        if number == 0 && unit.is_empty() {
            return Ok(Self::ZERO);
        }
        let (_, ms) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        number.checked_mul(*ms).map(Self::from_millis).ok_or_else(expected)
    }
    fn shown(&self) -> String {
        let ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let unit = TIME_UNITS.iter().find(|(_, size)| ms > 0 && ms.is_multiple_of(*size));
        unit.map_or_else(|| "0".to_owned(), |(name, size)| format!("{}{name}", ms / size))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// A text that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl ConfigValue for Secret {
    const TYPE: &'static str = "secret";
    fn read(raw: &Raw) -> Result<Self, String> {
        raw.one().map(|text| Self(text.to_owned()))
    }
    fn shown(&self) -> String {
        "********".to_owned()
    }
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($variant,)* }

        impl ConfigValue for $name {
            const TYPE: &'static str = "word";
            fn read(raw: &Raw) -> Result<Self, String> {
                match raw.one()? {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("expected one of: {}", [$($word),*].join(", "))),
                }
            }
            fn shown(&self) -> String {
                match self { $(Self::$variant => $word.to_owned(),)* }
            }
        }
    };
}

words! {
    /// How log lines are written.
    LogFormat { Text = "text", Json = "json", }
}

words! {
    /// The oldest version of TLS that is spoken.
    TlsVersion { Tls12 = "1.2", Tls13 = "1.3", }
}
