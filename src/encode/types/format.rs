//! The text of a type and back: PostgreSQL's `format_type` and its grammar of type names.

use super::info::{type_info, type_named};
use super::{PgType, array_of, element_of, oid};

/// The type as PostgreSQL's `format_type(oid, typmod)` prints it.
pub fn format_type(ty: PgType) -> String {
    if let Some(element) = element_of(ty.oid).filter(|_| !matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR)) {
        return format!("{}[]", format_type(PgType { oid: element, typmod: ty.typmod }));
    }
    let typmod = ty.typmod;
    let with = |before: &str, after: &str| {
        if typmod < 0 { format!("{before}{after}") } else { format!("{before}({typmod}){after}") }
    };
    match ty.oid {
        0 => "-".to_owned(),
        oid::BOOL => "boolean".to_owned(),
        oid::CHAR => "\"char\"".to_owned(),
        oid::INT2 => "smallint".to_owned(),
        oid::INT4 => "integer".to_owned(),
        oid::INT8 => "bigint".to_owned(),
        oid::FLOAT4 => "real".to_owned(),
        oid::FLOAT8 => "double precision".to_owned(),
        oid::ANY => "\"any\"".to_owned(),
        oid::NUMERIC => match ty.precision_scale() {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".to_owned(),
        },
        oid::VARCHAR if typmod > 4 => format!("character varying({})", typmod - 4),
        oid::VARCHAR => "character varying".to_owned(),
        oid::BPCHAR if typmod > 4 => format!("character({})", typmod - 4),
        oid::BPCHAR if typmod >= 0 => "character".to_owned(),
        oid::TIME => with("time", " without time zone"),
        oid::TIMETZ => with("time", " with time zone"),
        oid::TIMESTAMP => with("timestamp", " without time zone"),
        oid::TIMESTAMPTZ => with("timestamp", " with time zone"),
        oid::INTERVAL => format_interval(typmod),
        other => match type_info(other) {
            Some(info) if info.typelem != 0 && info.typcategory == 'A' && info.name.starts_with('_') => {
                format!("{}[]", format_type(PgType { oid: info.typelem, typmod }))
            }
            Some(info) => info.name.to_owned(),
            None => "???".to_owned(),
        },
    }
}

/// The type's name in error messages and as `regtype`: PostgreSQL's `format_type` without a modifier, which tells
/// `character` from the `bpchar` that has none.
pub fn type_words(type_oid: u32) -> String {
    match (type_oid, element_of(type_oid)) {
        (oid::BPCHAR, _) => "character".to_owned(),
        (_, Some(oid::BPCHAR)) => "character[]".to_owned(),
        _ => format_type(PgType::of(type_oid)),
    }
}

/// (mask, text) of the fields that an interval may be restricted to.
const INTERVAL_FIELDS: &[(i32, &str)] = &[
    (1 << 2, "year"),
    (1 << 1, "month"),
    (1 << 3, "day"),
    (1 << 10, "hour"),
    (1 << 11, "minute"),
    (1 << 12, "second"),
    (1 << 2 | 1 << 1, "year to month"),
    (1 << 3 | 1 << 10, "day to hour"),
    (1 << 3 | 1 << 10 | 1 << 11, "day to minute"),
    (1 << 3 | 1 << 10 | 1 << 11 | 1 << 12, "day to second"),
    (1 << 10 | 1 << 11, "hour to minute"),
    (1 << 10 | 1 << 11 | 1 << 12, "hour to second"),
    (1 << 11 | 1 << 12, "minute to second"),
];

const INTERVAL_FULL_RANGE: i32 = 0x7fff;
const INTERVAL_FULL_PRECISION: i32 = 0xffff;

fn format_interval(typmod: i32) -> String {
    if typmod < 0 {
        return "interval".to_owned();
    }
    let (mask, precision) = ((typmod >> 16) & INTERVAL_FULL_RANGE, typmod & INTERVAL_FULL_PRECISION);
    let fields = INTERVAL_FIELDS.iter().find(|(known, _)| *known == mask).map(|(_, text)| *text);
    let precision = if precision == INTERVAL_FULL_PRECISION { String::new() } else { format!("({precision})") };
    match fields {
        Some(fields) => format!("interval {fields}{precision}"),
        None => format!("interval{precision}"),
    }
}

/// PostgreSQL's encoding of an interval's fields and precision; `None` for fields that do not exist.
pub fn interval_typmod(fields: Option<&str>, precision: Option<i32>) -> Option<i32> {
    let mask = match fields {
        None => INTERVAL_FULL_RANGE,
        Some(fields) => INTERVAL_FIELDS.iter().find(|(_, text)| *text == fields)?.0,
    };
    if fields.is_none() && precision.is_none() {
        return Some(-1);
    }
    Some((mask << 16) | precision.map_or(INTERVAL_FULL_PRECISION, |precision| precision.clamp(0, 6)))
}

/// The type that a text names, with any of PostgreSQL's aliases; `None` when there is no such type or its modifier is
/// out of PostgreSQL's limits. Letters may have any case outside double quotes.
pub fn parse_type(text: &str) -> Option<PgType> {
    let mut words = Words::new(text)?;
    let base = words.base()?;
    let base = if base.oid == 0 { return None } else { base };
    let is_array = words.array_suffix()?;
    if !words.rest.is_empty() {
        return None;
    }
    if !is_array {
        return Some(base);
    }
    let element = if element_of(base.oid).is_some_and(|_| !matches!(base.oid, oid::INT2VECTOR | oid::OIDVECTOR)) {
        return Some(base);
    } else {
        base
    };
    let array =
        array_of(element.oid).or_else(|| type_info(element.oid).map(|info| info.typarray).filter(|of| *of != 0))?;
    Some(PgType { oid: array, typmod: element.typmod })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A word in lower case.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    Number(i32),
    Symbol(char),
}

struct Words {
    /// What is not yet read, the next last.
    rest: Vec<Token>,
}

impl Words {
    fn new(text: &str) -> Option<Self> {
        let mut rest = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(first) = characters.next() {
            if first.is_whitespace() {
                continue;
            }
            if first == '"' {
                let quoted: String = characters.by_ref().take_while(|character| *character != '"').collect();
                rest.push(Token::Quoted(quoted));
            } else if first.is_alphabetic() || first == '_' {
                let mut word = first.to_lowercase().to_string();
                while let Some(next) = characters.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    word.extend(next.to_lowercase());
                }
                rest.push(Token::Word(word));
            } else if first.is_ascii_digit() || first == '-' {
                let mut number = first.to_string();
                while let Some(next) = characters.next_if(char::is_ascii_digit) {
                    number.push(next);
                }
                rest.push(Token::Number(number.parse().ok()?));
            } else {
                rest.push(Token::Symbol(first));
            }
        }
        rest.reverse();
        Some(Self { rest })
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.rest.last(), Some(Token::Word(word)) if word == wanted);
        if found {
            self.rest.pop();
        }
        found
    }

    fn take_symbol(&mut self, wanted: char) -> bool {
        let found = self.rest.last() == Some(&Token::Symbol(wanted));
        if found {
            self.rest.pop();
        }
        found
    }

    fn take_number(&mut self) -> Option<i32> {
        match self.rest.last() {
            Some(Token::Number(number)) => {
                let number = *number;
                self.rest.pop();
                Some(number)
            }
            _ => None,
        }
    }

    /// `(n)` or `(n, m)`; the outer `None` is a syntax error.
    fn modifiers(&mut self) -> Option<Vec<i32>> {
        let mut numbers = Vec::new();
        if !self.take_symbol('(') {
            return Some(numbers);
        }
        loop {
            numbers.push(self.take_number()?);
            if self.take_symbol(')') {
                return Some(numbers);
            }
            if !self.take_symbol(',') {
                return None;
            }
        }
    }

    /// `[]`, `[3]`, `[][]`, `array`, `array[4]`: whether there is one.
    fn array_suffix(&mut self) -> Option<bool> {
        let mut is_array = self.take_word("array");
        while self.take_symbol('[') {
            self.take_number();
            if !self.take_symbol(']') {
                return None;
            }
            is_array = true;
        }
        Some(is_array)
    }

    fn base(&mut self) -> Option<PgType> {
        match self.rest.pop()? {
            Token::Quoted(name) => self.after_schema(name, true),
            Token::Word(name) => {
                if self.rest.last() == Some(&Token::Symbol('.')) {
                    return self.after_schema(name, false);
                }
                self.builtin(&name)
            }
            Token::Number(_) | Token::Symbol(_) => None,
        }
    }

    /// After a first name: `pg_catalog.int4`, or a quoted name itself.
    fn after_schema(&mut self, first: String, quoted: bool) -> Option<PgType> {
        if !self.take_symbol('.') {
            return if quoted { self.named(&first) } else { self.builtin(&first) };
        }
        if first != "pg_catalog" {
            return None;
        }
        match self.rest.pop()? {
            Token::Word(name) | Token::Quoted(name) => self.named(&name),
            Token::Number(_) | Token::Symbol(_) => None,
        }
    }

    /// A name as `pg_type.typname` has it, with its modifier. Here `char` is the one-byte type.
    fn named(&mut self, name: &str) -> Option<PgType> {
        let info = type_named(name)?;
        let modifiers = self.modifiers()?;
        let element = element_of(info.oid).filter(|_| info.name.starts_with('_')).unwrap_or(info.oid);
        let typmod = match (element, modifiers.as_slice()) {
            (_, []) => -1,
            (oid::VARCHAR | oid::BPCHAR, [length]) => length_typmod(*length)?,
            (oid::NUMERIC, modifiers) => numeric_typmod(modifiers)?,
            (oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIMETZ, [precision]) => precision_typmod(*precision)?,
            (oid::INTERVAL, [precision]) => interval_typmod(None, Some(*precision).filter(|p| *p >= 0))?,
            _ => return None,
        };
        Some(PgType { oid: info.oid, typmod })
    }

    /// The spellings that PostgreSQL's grammar knows beside `typname`.
    fn builtin(&mut self, name: &str) -> Option<PgType> {
        let plain = |oid| Some(PgType::of(oid));
        match name {
            "int" | "integer" => plain(oid::INT4),
            "smallint" => plain(oid::INT2),
            "bigint" => plain(oid::INT8),
            "boolean" => plain(oid::BOOL),
            "real" => plain(oid::FLOAT4),
            "double" => {
                if self.take_word("precision") {
                    plain(oid::FLOAT8)
                } else {
                    None
                }
            }
            "float" => match self.modifiers()?.as_slice() {
                [] | [25..=53] => plain(oid::FLOAT8),
                [1..=24] => plain(oid::FLOAT4),
                _ => None,
            },
            "decimal" | "dec" | "numeric" => {
                let modifiers = self.modifiers()?;
                let typmod = if modifiers.is_empty() { -1 } else { numeric_typmod(&modifiers)? };
                Some(PgType::with_typmod(oid::NUMERIC, typmod))
            }
            "character" | "char" | "nchar" => self.character(),
            "national" => {
                if self.take_word("character") || self.take_word("char") {
                    self.character()
                } else {
                    None
                }
            }
            "varchar" => self.varying(),
            "time" => self.time(oid::TIME, oid::TIMETZ),
            "timestamp" => self.time(oid::TIMESTAMP, oid::TIMESTAMPTZ),
            "interval" => self.interval(),
            other => self.named(other),
        }
    }

    fn character(&mut self) -> Option<PgType> {
        if self.take_word("varying") {
            return self.varying();
        }
        match self.modifiers()?.as_slice() {
            [] => Some(PgType::with_typmod(oid::BPCHAR, 5)),
            [length] => Some(PgType::with_typmod(oid::BPCHAR, length_typmod(*length)?)),
            _ => None,
        }
    }

    fn varying(&mut self) -> Option<PgType> {
        match self.modifiers()?.as_slice() {
            [] => Some(PgType::VARCHAR),
            [length] => Some(PgType::with_typmod(oid::VARCHAR, length_typmod(*length)?)),
            _ => None,
        }
    }

    fn time(&mut self, without: u32, with: u32) -> Option<PgType> {
        let typmod = match self.modifiers()?.as_slice() {
            [] => -1,
            [precision] => precision_typmod(*precision)?,
            _ => return None,
        };
        let zoned = if self.take_word("with") {
            true
        } else if self.take_word("without") {
            false
        } else {
            return Some(PgType::with_typmod(without, typmod));
        };
        (self.take_word("time") && self.take_word("zone")).then_some(())?;
        Some(PgType::with_typmod(if zoned { with } else { without }, typmod))
    }

    fn interval(&mut self) -> Option<PgType> {
        let mut precision = self.modifiers()?;
        let mut fields = String::new();
        while let Some(Token::Word(word)) = self.rest.last() {
            if !matches!(word.as_str(), "year" | "month" | "day" | "hour" | "minute" | "second" | "to") {
                break;
            }
            if !fields.is_empty() {
                fields.push(' ');
            }
            fields.push_str(word);
            self.rest.pop();
        }
        if precision.is_empty() && fields.ends_with("second") {
            precision = self.modifiers()?;
        }
        let precision = match precision.as_slice() {
            [] => None,
            [precision] => Some(precision_typmod(*precision)?),
            _ => return None,
        };
        let fields = if fields.is_empty() { None } else { Some(fields.as_str()) };
        Some(PgType::with_typmod(oid::INTERVAL, interval_typmod(fields, precision)?))
    }
}

/// Longest `varchar(n)` (PostgreSQL's MaxAttrSize).
const LENGTH_MAX: i32 = 10_485_760;

fn length_typmod(length: i32) -> Option<i32> {
    (1..=LENGTH_MAX).contains(&length).then_some(length + 4)
}

/// A precision beyond 6 is taken for 6, as PostgreSQL does with a warning.
fn precision_typmod(precision: i32) -> Option<i32> {
    (precision >= 0).then_some(precision.min(6))
}

/// PostgreSQL allows 1000 digits; those beyond what a decimal carries are refused where columns and casts are made.
fn numeric_typmod(modifiers: &[i32]) -> Option<i32> {
    let (precision, scale) = match modifiers {
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return None,
    };
    if !(1..=1000).contains(&precision) || !(-1000..=1000).contains(&scale) {
        return None;
    }
    Some(((precision << 16) | (scale & 0x7ff)) + 4)
}
