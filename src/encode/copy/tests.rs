use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Schema};
use datafusion::scalar::ScalarValue;
use proptest::prelude::*;

use super::*;
use crate::encode::TextStyle;
use crate::encode::input::InputContext;
use crate::encode::types::{OutputColumn, PgType, arrow_type, oid};
use crate::error::{Error, Result};

fn context() -> InputContext {
    InputContext::utc(chrono::DateTime::UNIX_EPOCH)
}

fn int_and_text() -> Vec<(String, PgType)> {
    vec![("a".to_owned(), PgType::INT4), ("b".to_owned(), PgType::TEXT)]
}

fn csv() -> Options {
    Options::defaults(Format::Csv)
}

/// Splits `data` into pieces of `piece` bytes and cuts at every record, then decodes.
fn read(options: &Options, columns: &[(String, PgType)], data: &[u8], piece: usize) -> Result<Vec<Decoded>> {
    let mut splitter = Splitter::with_sizes(options, 1, RECORD_BYTES_MAX).named("COPY t");
    let decoder = ChunkDecoder::new("COPY t", options.clone(), columns.to_vec(), context());
    let mut decoded = Vec::new();
    for bytes in data.chunks(piece.max(1)) {
        if let Some(chunk) = splitter.feed(bytes)? {
            decoded.push(decoder.decode(&chunk)?);
        }
    }
    if let Some(chunk) = splitter.finish()? {
        decoded.push(decoder.decode(&chunk)?);
    }
    Ok(decoded)
}

fn rows(decoded: &[Decoded]) -> Vec<(Option<i32>, Option<String>)> {
    let mut rows = Vec::new();
    for batch in decoded.iter().flat_map(|decoded| &decoded.batches) {
        let (a, b) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            rows.push((a.is_valid(row).then(|| a.value(row)), b.is_valid(row).then(|| b.value(row).to_owned())));
        }
    }
    rows
}

/// What reading gives, as one line; the same for every size of piece.
fn outcome(options: &Options, data: &[u8]) -> String {
    let describe = |piece: usize| match read(options, &int_and_text(), data, piece) {
        Ok(decoded) => {
            let show = |(a, b): (Option<i32>, Option<String>)| {
                let a = a.map_or("NULL".to_owned(), |a| a.to_string());
                format!("{a}|{}", b.map_or("NULL".to_owned(), |b| format!("{b:?}")))
            };
            rows(&decoded).into_iter().map(show).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("{} {} / {}", error.sqlstate().code(), error.message(), error.context().unwrap_or("")),
    };
    let whole = describe(data.len().max(1));
    for piece in 1..data.len() {
        assert_eq!(describe(piece), whole, "in pieces of {piece}: {:?}", String::from_utf8_lossy(data));
    }
    whole
}

/// The answers of PostgreSQL 15 to the same bytes.
#[test]
fn reads_as_postgresql_does() {
    let backslash = Options { escape: b'\\', ..csv() };
    let text = Options::default();
    let cases: &[(&Options, &[u8], &str)] = &[
        (&csv(), b"1,x\n2\n", "22P04 missing data for column \"b\" / COPY t, line 2: \"2\""),
        (&csv(), b"1,x\n2,y,z\n", "22P04 extra data after last expected column / COPY t, line 2: \"2,y,z\""),
        (&csv(), b"1,x\n2,\"y\n", "22P04 unterminated CSV quoted field / COPY t, line 3: \"2,\"y\n\""),
        (
            &csv(),
            b"1,\"a\nb\"\nx,\"c\nd\"\n",
            "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 4, column a: \"x\"",
        ),
        (&csv(), b"1,x\r\n2,y\n", "22P04 unquoted newline found in data / COPY t, line 2"),
        (&csv(), b"1,x\n2,y\r\n", "22P04 unquoted carriage return found in data / COPY t, line 2"),
        (&csv(), b"1,x\r2,y\n", "22P04 unquoted newline found in data / COPY t, line 2"),
        (&csv(), b"1,x\r\n2,\"y\r\nz\"\r\n", "1|\"x\" 2|\"y\\r\\nz\""),
        (&csv(), b"1,x\r2,y", "1|\"x\" 2|\"y\""),
        (&csv(), b"1,a\n\\.\n2,b\n", "1|\"a\""),
        (&csv(), b"1,a\n2,\"\n\\.\n\"\n", "1|\"a\" 2|\"\\n\\\\.\\n\""),
        (&csv(), b"1,a\n2,\\.\n3,b\n", "1|\"a\" 2|\"\\\\.\" 3|\"b\""),
        (&csv(), b"1,a\"b,c\"d\n", "1|\"ab,cd\""),
        (&csv(), b"1,\"\"\n2,\n,x\n", "1|\"\" 2|NULL NULL|\"x\""),
        (&csv(), b"1,\"a\"\"b\"\n", "1|\"a\\\"b\""),
        (&csv(), b"\n", "22P04 missing data for column \"b\" / COPY t, line 1: \"\""),
        (&csv(), b"1,x\n2,\xff\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY t, line 2"),
        (&csv(), b"1,a\0b\n", "22021 invalid byte sequence for encoding \"UTF8\": 0x00 / COPY t, line 1"),
        (&csv(), "1,ä\n2,日本\n".as_bytes(), "1|\"ä\" 2|\"日本\""),
        (&backslash, b"1,\"a\\\"b\"\n2,\"x\\\\\"\n3,a\\b\n", "1|\"a\\\"b\" 2|\"x\\\\\" 3|\"a\\\\b\""),
        (&text, b"1\tx\r\n2\ty\n", "22P04 literal newline found in data / COPY t, line 2"),
        (&text, b"1\tx\n2\ty\r\n", "22P04 literal carriage return found in data / COPY t, line 2"),
        (&text, b"1\ta\\\\\n2\tb\n", "1|\"a\\\\\" 2|\"b\""),
        (&text, b"1\ta\\nb\\x41\\101\\N\n\\N\t\\N\n", "1|\"a\\nbAAN\" NULL|NULL"),
        (
            &text,
            b"1\ta\\\nb\n2\tc\nx\td\n",
            "22P02 invalid input syntax for type integer: \"x\" / COPY t, line 3, column a: \"x\"",
        ),
        (&text, b"1\ta\n\\.\n2\tb\n", "1|\"a\""),
        (&text, b"1\ta\n\\.x\n2\tb\n", "22P04 end-of-copy marker corrupt / COPY t, line 2"),
        (&text, b"1\ta\n\\.", "22P04 end-of-copy marker corrupt / COPY t, line 2"),
        (
            &text,
            b"1\ta\r\n\\.\n2\tb\n",
            "22P04 end-of-copy marker does not match previous newline style / COPY t, line 2",
        ),
        (
            &text,
            b"1\tx\\377\n",
            "22021 invalid byte sequence for encoding \"UTF8\": 0xff / COPY t, line 1: \"1\tx\\377\"",
        ),
        (&text, b"\n", "22P02 invalid input syntax for type integer: \"\" / COPY t, line 1, column a: \"\""),
    ];
    for (options, data, expected) in cases {
        assert_eq!(&outcome(options, data), expected, "{:?}", String::from_utf8_lossy(data));
    }
}

#[test]
fn forced_nulls_look_at_quotes() {
    let force_null = Options { force_null: vec![1], ..csv() };
    let force_not_null = Options { force_not_null: vec![1], ..csv() };
    let na = Options { null: "NA".to_owned(), ..csv() };
    assert_eq!(outcome(&force_null, b"1,\"\"\n2,\n"), "1|NULL 2|NULL");
    assert_eq!(outcome(&force_not_null, b"1,\"\"\n2,\n"), "1|\"\" 2|\"\"");
    assert_eq!(outcome(&na, b"NA,NA\n1,\"NA\"\n"), "NULL|NULL 1|\"NA\"");
}

#[test]
fn header_is_skipped_or_compared() {
    let present = Options { header: Header::Present, ..csv() };
    let matched = Options { header: Header::Match, ..csv() };
    assert_eq!(outcome(&present, b"no,\"mat\nter\"\n1,x\n"), "1|\"x\"");
    assert_eq!(outcome(&matched, b"a,b\n1,x\n"), "1|\"x\"");
    assert_eq!(
        outcome(&matched, b"a,c\n1,x\n"),
        "22P04 column name mismatch in header line field 2: got \"c\", expected \"b\" / COPY t, line 1: \"a,c\""
    );
    assert_eq!(
        outcome(&matched, b"a\n1,x\n"),
        "22P04 wrong number of fields in header line: got 1, expected 2 / COPY t, line 1: \"a\""
    );
    assert_eq!(
        outcome(&matched, b"a,\n1,x\n"),
        "22P04 column name mismatch in header line field 2: got null value (\"\"), expected \"b\" / COPY t, line 1: \"a,\""
    );
}

#[test]
fn ignored_errors_are_counted_and_told() -> Result<()> {
    let options = Options { on_error: OnError::Ignore, ..csv() };
    let decoded = read(&options, &int_and_text(), b"1,x\nz,y\n3,w\n", 100)?;
    assert_eq!(rows(&decoded), vec![(Some(1), Some("x".to_owned())), (Some(3), Some("w".to_owned()))]);
    let rejects: Vec<_> = decoded.iter().flat_map(|decoded| &decoded.rejects).collect();
    assert_eq!(decoded.iter().map(|decoded| decoded.rejected).sum::<u64>(), 1);
    assert_eq!((rejects[0].line, rejects[0].column.as_str(), rejects[0].text.as_deref()), (2, "a", Some("z")));
    Ok(())
}

#[test]
fn the_earliest_row_errs_first_then_the_leftmost_column() {
    let columns = vec![("a".to_owned(), PgType::INT4), ("b".to_owned(), PgType::INT4)];
    let context_of = |data: &[u8]| match read(&csv(), &columns, data, 100) {
        Err(error) => error.context().unwrap_or_default().to_owned(),
        Ok(_) => String::new(),
    };
    assert_eq!(context_of(b"1,2\n3,x\ny,4\n"), "COPY t, line 2, column b: \"x\"");
    assert_eq!(context_of(b"1,2\ny,x\n"), "COPY t, line 2, column a: \"y\"");
    assert_eq!(context_of(b"y\n"), "COPY t, line 1, column a: \"y\"");
}

#[test]
fn a_decoded_row_still_knows_its_line() {
    let mut data = String::from("a,b\n");
    for row in 0..20_000 {
        data.push_str(if row % 3 == 0 { "x,\"two\nlines\"\n" } else { "1,y\n" });
    }
    let options = Options { on_error: OnError::Ignore, header: Header::Present, ..csv() };
    let decoder = ChunkDecoder::new("COPY t", options.clone(), int_and_text(), context());
    let mut splitter = Splitter::new(&options);
    let fed = splitter.feed(data.as_bytes()).unwrap();
    let chunk = match fed {
        Some(chunk) => chunk,
        None => splitter.finish().unwrap().unwrap(),
    };
    assert_eq!(decoder.decode(&chunk).unwrap().batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 13_333);
    // Of the kept rows, 0 and 1 stand behind one of two lines.
    assert_eq!(decoder.context_of(&chunk, 0).as_deref(), Some("COPY t, line 4: \"1,y\""));
    assert_eq!(decoder.context_of(&chunk, 1).as_deref(), Some("COPY t, line 5: \"1,y\""));
    assert_eq!(decoder.context_of(&chunk, 2).as_deref(), Some("COPY t, line 8: \"1,y\""));
    assert_eq!(decoder.context_of(&chunk, 13_332).as_deref(), Some("COPY t, line 26668: \"1,y\""));
    assert_eq!(decoder.context_of(&chunk, 13_333), None);
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let mut splitter = Splitter::with_sizes(&csv(), 16, 64);
    let fed = (0..100).try_for_each(|_| splitter.feed(b"1,\"aaaa").map(|_| ()));
    assert_eq!(fed.map_err(|error| error.sqlstate().code()), Err("54000"));
}

#[test]
fn binary_frames_are_checked() {
    let options = Options::defaults(Format::Binary);
    let message = |data: &[u8]| match read(&options, &int_and_text(), data, 3) {
        Err(error) => format!("{} {}", error.message(), error.context().unwrap_or("-")),
        Ok(decoded) => format!("{:?}", rows(&decoded)),
    };
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let with = |tail: &[u8]| [head.as_slice(), tail].concat();
    assert_eq!(message(b"PGCOPX"), "COPY file signature not recognized -");
    assert_eq!(message(b""), "COPY file signature not recognized -");
    assert_eq!(message(&with(b"\xff\xff")), "[]");
    assert_eq!(message(&with(b"\xff\xffx")), "received copy data after EOF marker -");
    assert_eq!(message(&with(b"\0\x03")), "row field count is 3, expected 2 COPY t, line 1");
    assert_eq!(message(&with(b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01z\xff\xff")), "[(Some(7), Some(\"z\"))]");
    assert_eq!(message(&with(b"\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff")), "[(Some(7), None)]");
    assert_eq!(
        message(&with(b"\0\x02\0\0\0\x05\0\0\0\x07\0\xff\xff\xff\xff")),
        "incorrect binary data format COPY t, line 1, column a"
    );
    assert_eq!(message(&with(b"\0\x02\0\0\0\x04\0\0")), "unexpected EOF in COPY data COPY t, line 1");
}

#[test]
fn options_are_refused_in_postgresql_words() {
    let csv = || RequestedOptions { format: Some(Format::Csv), ..RequestedOptions::default() };
    let text = RequestedOptions::default;
    let binary = || RequestedOptions { format: Some(Format::Binary), ..RequestedOptions::default() };
    let some = |text: &str| Some(text.to_owned());
    let reading: Vec<(RequestedOptions, &str)> = vec![
        (
            RequestedOptions { delimiter: some("ab"), ..text() },
            "0A000 COPY delimiter must be a single one-byte character",
        ),
        (RequestedOptions { delimiter: some("a"), ..text() }, "22023 COPY delimiter cannot be \"a\""),
        (
            RequestedOptions { delimiter: some("\n"), ..csv() },
            "22023 COPY delimiter cannot be newline or carriage return",
        ),
        (RequestedOptions { delimiter: some(","), ..binary() }, "42601 cannot specify DELIMITER in BINARY mode"),
        (RequestedOptions { null: some("x"), ..binary() }, "42601 cannot specify NULL in BINARY mode"),
        (RequestedOptions { header: Some(Header::Present), ..binary() }, "0A000 cannot specify HEADER in BINARY mode"),
        (RequestedOptions { quote: some("x"), ..text() }, "0A000 COPY quote available only in CSV mode"),
        (RequestedOptions { escape: some("x"), ..text() }, "0A000 COPY escape available only in CSV mode"),
        (RequestedOptions { quote: some("xx"), ..csv() }, "0A000 COPY quote must be a single one-byte character"),
        (RequestedOptions { quote: some(","), ..csv() }, "22023 COPY delimiter and quote must be different"),
        (RequestedOptions { force_null: vec![0], ..text() }, "0A000 COPY force null available only in CSV mode"),
        (
            RequestedOptions { null: some("a,b"), ..csv() },
            "0A000 COPY delimiter must not appear in the NULL specification",
        ),
        (
            RequestedOptions { null: some("a\"b"), ..csv() },
            "0A000 CSV quote character must not appear in the NULL specification",
        ),
        (
            RequestedOptions { force_quote: Some(ForceQuote::All), ..csv() },
            "0A000 COPY force quote only available using COPY TO",
        ),
        (
            RequestedOptions { encoding: some("nix"), ..csv() },
            "22023 argument to option \"encoding\" must be a valid encoding name",
        ),
    ];
    let told = |error: Error| format!("{} {}", error.sqlstate().code(), error.message());
    for (requested, expected) in reading {
        assert_eq!(Options::for_reading(requested).map_err(told), Err(expected.to_owned()));
    }
    let matched = RequestedOptions { header: Some(Header::Match), ..csv() };
    assert_eq!(
        Options::for_writing(matched).map_err(told),
        Err("0A000 cannot use \"match\" with HEADER in COPY TO".to_owned())
    );
}

fn columns_of(types: &[PgType]) -> Vec<(String, PgType)> {
    types.iter().enumerate().map(|(at, ty)| (format!("c{at}"), *ty)).collect()
}

fn batch_of(columns: &[(String, PgType)], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, ty)| arrow::datatypes::Field::new(name, arrow_type(*ty), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("arrays of the carriers")
}

fn encoded(options: &Options, columns: &[(String, PgType)], batch: &RecordBatch, bytes_max: usize) -> Vec<u8> {
    let output = columns.iter().map(|(name, ty)| OutputColumn::new(name, *ty)).collect();
    let mut encoder = Encoder::new(options.clone(), output, TextStyle::default());
    let mut out = Vec::new();
    encoder.header(&mut out).expect("a header");
    let mut row = 0;
    while row < batch.num_rows() {
        let mut piece = Vec::new();
        row += encoder.encode(batch, row, bytes_max, &mut piece).expect("rows");
        out.extend_from_slice(&piece);
    }
    encoder.finish(&mut out).expect("a trailer");
    out
}

/// The messages of a framed COPY, each as its content.
fn messages(options: Options, batch: &RecordBatch, bytes_max: usize) -> Vec<Vec<u8>> {
    let output = vec![OutputColumn::new("ä", PgType::TEXT)];
    let mut encoder = Encoder::new(options, output, TextStyle::default()).framed();
    let mut out = Vec::new();
    encoder.header(&mut out).expect("a header");
    let mut row = 0;
    while row < batch.num_rows() {
        row += encoder.encode(batch, row, bytes_max, &mut out).expect("rows");
    }
    encoder.finish(&mut out).expect("a trailer");
    let mut rest = out.as_slice();
    let mut messages = Vec::new();
    while let [b'd', a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        messages.push(after[..length].to_vec());
        rest = &after[length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    messages
}

/// The messages of PostgreSQL 15 for the same rows.
#[test]
fn each_row_is_a_message_of_its_own() {
    let columns = vec![("ä".to_owned(), PgType::TEXT)];
    let texts = |texts: &[&str]| batch_of(&columns, vec![Arc::new(arrow::array::StringArray::from(texts.to_vec()))]);
    let batch = texts(&["x", "é", ""]);
    let header = Options { header: Header::Present, ..csv() };
    let latin = Options { encoding: Encoding::Latin1, ..header.clone() };
    let binary = Options::defaults(Format::Binary);
    let signature = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".as_slice();
    for bytes_max in [1, 20, 100_000] {
        assert_eq!(messages(Options::default(), &batch, bytes_max), [b"x\n".as_slice(), "é\n".as_bytes(), b"\n"]);
        assert_eq!(
            messages(header.clone(), &batch, bytes_max),
            ["ä\n".as_bytes(), b"x\n", "é\n".as_bytes(), b"\"\"\n"]
        );
        assert_eq!(messages(latin.clone(), &batch, bytes_max), [b"\xe4\n".as_slice(), b"x\n", b"\xe9\n", b"\"\"\n"]);
        let first = [signature, b"\0\x01\0\0\0\x01x"].concat();
        let expected = [first.as_slice(), b"\0\x01\0\0\0\x02\xc3\xa9", b"\0\x01\0\0\0\0", b"\xff\xff"];
        assert_eq!(messages(binary.clone(), &batch, bytes_max), expected);
    }
    assert_eq!(messages(binary, &texts(&[]), 1), [[signature, b"\xff\xff"].concat()]);
    assert!(messages(csv(), &texts(&[]), 1).is_empty());
}

#[test]
fn writes_as_postgresql_does() {
    let columns = columns_of(&[PgType::INT4, PgType::TEXT, PgType::TEXT]);
    let arrays = |b: &[Option<&str>], c: &[Option<&str>]| -> RecordBatch {
        let a: ArrayRef = Arc::new(arrow::array::Int32Array::from_iter_values(0..b.len() as i32));
        let text = |values: &[Option<&str>]| -> ArrayRef { Arc::new(arrow::array::StringArray::from(values.to_vec())) };
        batch_of(&columns, vec![a, text(b), text(c)])
    };
    let batch = arrays(&[Some("a\tb\n\\c\r\u{8}"), Some("a,b"), Some("")], &[None, Some("x\"y"), Some("\\.")]);
    let text = String::from_utf8(encoded(&Options::default(), &columns, &batch, 1)).expect("utf-8");
    assert_eq!(text, "0\ta\\tb\\n\\\\c\\r\\b\t\\N\n1\ta,b\tx\"y\n2\t\t\\\\.\n");
    let csv_options = Options { header: Header::Present, ..csv() };
    let csv = String::from_utf8(encoded(&csv_options, &columns, &batch, 1 << 20)).expect("utf-8");
    assert_eq!(csv, "c0,c1,c2\n0,\"a\tb\n\\c\r\u{8}\",\n1,\"a,b\",\"x\"\"y\"\n2,\"\",\\.\n");
    let forced = Options { force_quote: ForceQuote::All, ..self::csv() };
    assert!(encoded(&forced, &columns, &batch, 1).ends_with(b"\"2\",\"\",\"\\.\"\n"));
}

fn text_value() -> impl Strategy<Value = Option<String>> {
    let piece = prop_oneof![
        Just("\\".to_owned()),
        Just("\\.".to_owned()),
        Just("\\N".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\t".to_owned()),
        Just(",".to_owned()),
        Just("|".to_owned()),
        Just("é".to_owned()),
        Just("日本".to_owned()),
        Just("NULL".to_owned()),
        "[a-z0-9 ]{0,6}",
    ];
    proptest::option::weighted(0.8, proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat()))
}

type Row = (Option<i32>, Option<String>, Option<i64>, Option<String>, Option<bool>, Option<i32>);

fn formats() -> Vec<Options> {
    vec![
        Options::default(),
        Options { delimiter: b'|', ..Options::default() },
        Options { header: Header::Match, ..Options::default() },
        csv(),
        Options { delimiter: b'|', escape: b'\\', null: "NULL".to_owned(), ..csv() },
        Options { quote: b'\'', header: Header::Match, ..csv() },
        Options { force_quote: ForceQuote::All, delimiter: b'\t', ..csv() },
        Options::defaults(Format::Binary),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_back(
        values in proptest::collection::vec(
            (any::<Option<i32>>(), text_value(), any::<Option<i64>>(), text_value(), any::<Option<bool>>(), any::<Option<i32>>()),
            1..20,
        ),
        piece in 1_usize..40,
    ) {
        let numeric = PgType::numeric(20, 4);
        let types = [PgType::INT4, PgType::TEXT, numeric, PgType::TEXT, PgType::BOOL, PgType::DATE, PgType::TIMESTAMP, PgType::of(1009)];
        let columns = columns_of(&types);
        let scalars = |at: usize| -> ArrayRef {
            let scalar = |value: &Row| match at {
                0 => ScalarValue::Int32(value.0),
                1 => ScalarValue::Utf8(value.1.clone()),
                2 => ScalarValue::Decimal128(value.2.map(i128::from), 20, 4),
                3 => ScalarValue::Utf8(value.3.clone()),
                4 => ScalarValue::Boolean(value.4),
                5 => ScalarValue::Date32(value.5.map(|day| day % 500_000)),
                6 => ScalarValue::TimestampMicrosecond(value.2.map(|micros| micros % 60_000_000_000_000_000), None),
                _ => {
                    let items = vec![ScalarValue::Utf8(value.1.clone()), ScalarValue::Utf8(value.3.clone())];
                    ScalarValue::List(ScalarValue::new_list_nullable(&items, &arrow::datatypes::DataType::Utf8))
                }
            };
            ScalarValue::iter_to_array(values.iter().map(scalar)).expect("one type")
        };
        let batch = batch_of(&columns, (0..types.len()).map(scalars).collect());
        for options in formats() {
            let bytes = encoded(&options, &columns, &batch, 100);
            let decoded = read(&options, &columns, &bytes, piece);
            prop_assert!(decoded.is_ok(), "{:?}: {:?}\n{}", options, decoded.err(), String::from_utf8_lossy(&bytes));
            let batches: Vec<_> = decoded.into_iter().flatten().flat_map(|decoded| decoded.batches).collect();
            let schema = batches[0].schema();
            let whole = arrow::compute::concat_batches(&schema, &batches).expect("one schema");
            prop_assert_eq!(whole.columns(), batch.columns(), "{:?}\n{}", options, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn random_bytes_never_panic(
        data in proptest::collection::vec(
            prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b'\\'), Just(b'.'), Just(b'\t'), Just(b'1'), any::<u8>()],
            0..200,
        ),
        piece in 1_usize..30,
    ) {
        for options in formats() {
            let whole = read(&options, &int_and_text(), &data, data.len().max(1)).map(|decoded| rows(&decoded));
            let pieces = read(&options, &int_and_text(), &data, piece).map(|decoded| rows(&decoded));
            // Errors may differ only in which of several is met first; rows may not.
            if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
                prop_assert_eq!(whole, pieces);
            }
            prop_assert_eq!(whole.is_ok(), pieces.is_ok(), "{:?} {:?} {:?}", options, whole, pieces);
            let framed = [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".as_slice(), &data].concat();
            let _any = read(&Options::defaults(Format::Binary), &int_and_text(), &framed, piece);
        }
    }
}

#[test]
fn values_of_every_type_go_through_binary() {
    let cases: &[(PgType, &[&str])] = &[
        (
            PgType::numeric(38, 10),
            &["0", "1", "-1", "0.0000000001", "12345678.9", "-9999.9999", "10000", "99990000.0001"],
        ),
        (PgType::numeric(10, 0), &["0", "7", "10000", "1234567890"]),
        (PgType::UUID, &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        (PgType::JSONB, &["{\"a\": 1}"]),
        (PgType::INTERVAL, &["1 year 2 mons 3 days 04:05:06.7", "-1 days"]),
        (PgType::TIMESTAMPTZ, &["2020-01-02 03:04:05.678+00", "infinity"]),
        (PgType::DATE, &["1999-12-31", "-infinity"]),
        (PgType::TIME, &["23:59:59.5"]),
        (PgType::FLOAT4, &["1.5", "NaN"]),
        (PgType::BYTEA, &["\\x00ff"]),
        (PgType::with_typmod(oid::BPCHAR, 9), &["abc"]),
        (PgType::of(1007), &["{1,NULL,3}", "{4}"]),
    ];
    for (ty, texts) in cases {
        let columns = columns_of(&[*ty]);
        let mut builder = ColumnBuilder::new(*ty, 0);
        for text in *texts {
            builder.append_text(Some(text), &context()).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let batch = batch_of(&columns, vec![builder.finish().expect("a column")]);
        let options = Options::defaults(Format::Binary);
        let bytes = encoded(&options, &columns, &batch, 1000);
        let decoded = read(&options, &columns, &bytes, 1000).unwrap_or_else(|error| panic!("{texts:?}: {error:?}"));
        let batches: Vec<_> = decoded.into_iter().flat_map(|decoded| decoded.batches).collect();
        let whole = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema");
        assert_eq!(whole.column(0), batch.column(0), "{texts:?}");
    }
}

#[test]
fn latin1_goes_both_ways() -> Result<()> {
    let options = Options { encoding: Encoding::Latin1, ..csv() };
    assert_eq!(outcome(&options, b"1,\xe9\n"), "1|\"é\"");
    let columns = columns_of(&[PgType::TEXT]);
    let text = |text: &str| batch_of(&columns, vec![Arc::new(arrow::array::StringArray::from(vec![text]))]);
    assert_eq!(encoded(&options, &columns, &text("é"), 10), b"\xe9\n");
    let mut encoder = Encoder::new(options, vec![OutputColumn::new("c", PgType::TEXT)], TextStyle::default());
    let error = encoder.encode(&text("日"), 0, 10, &mut Vec::new()).expect_err("no such character");
    assert_eq!(error.sqlstate().code(), "22P05");
    Ok(())
}
