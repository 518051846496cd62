//! PostgreSQL's key words and where each of them may stand as a name (appendix C of its manual).

/// What a word may be besides a key word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Not a key word at all.
    Plain,
    Unreserved,
    /// May name a column or table, not a function or type.
    ColumnName,
    /// May name a function or type, not a column.
    FunctionOrType,
    Reserved,
}

const COLUMN_NAME: &str = " between bigint bit boolean char character coalesce dec decimal exists extract float greatest \
grouping inout int integer interval least national nchar none normalize nullif numeric out overlay position precision real \
row setof smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists \
xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

const FUNCTION_OR_TYPE: &str = " authorization binary collation concurrently cross current_schema freeze full ilike inner \
is isnull join left like natural notnull outer overlaps right similar tablesample verbose ";

const RESERVED: &str = " all analyse analyze and any array as asc asymmetric both case cast check collate column constraint \
create current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc \
distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral leading \
limit localtime localtimestamp not null offset on only or order placing primary references returning select session_user \
some symmetric table then to trailing true union unique user using variadic when where window with ";

const UNRESERVED: &str = " day filter hour minute month over second varying within without year ";

/// Key words that need AS before them when they label a column.
const NOT_BARE: &str = " char character precision array as create except fetch for from grant group having intersect into \
limit offset on order returning to union where window with isnull notnull overlaps day filter hour minute month over second \
varying within without year ";

fn holds(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry == word)
}

/// The class of a folded, unquoted word. Unreserved key words are names everywhere, so most of them count as plain.
pub(crate) fn class_of(word: &str) -> Class {
    if holds(RESERVED, word) {
        Class::Reserved
    } else if holds(FUNCTION_OR_TYPE, word) {
        Class::FunctionOrType
    } else if holds(COLUMN_NAME, word) {
        Class::ColumnName
    } else if holds(UNRESERVED, word) {
        Class::Unreserved
    } else {
        Class::Plain
    }
}

/// Whether the word may label a column without AS.
pub(crate) fn is_bare_label(word: &str) -> bool {
    !holds(NOT_BARE, word)
}
