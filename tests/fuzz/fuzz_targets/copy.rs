//! COPY data decodes to the same rows or to an error however it is cut. Of several errors, which one is told depends on the
//! cuts: a chunk's end is looked for before its rows are read.
#![no_main]

use lakegate::encode::copy::{ChunkDecoder, Format, Options, RECORD_BYTES_MAX, Splitter};
use lakegate::encode::input::InputContext;
use lakegate::encode::types::PgType;
use lakegate::error::Result;
use libfuzzer_sys::fuzz_target;

fn read(options: &Options, data: &[u8], piece: usize) -> Result<usize> {
    let columns = [PgType::INT4, PgType::TEXT, PgType::NUMERIC, PgType::TIMESTAMPTZ];
    let columns = columns.iter().enumerate().map(|(at, ty)| (format!("c{at}"), *ty)).collect();
    let mut splitter = Splitter::with_sizes(options, 1, RECORD_BYTES_MAX).named("COPY t");
    let decoder =
        ChunkDecoder::new("COPY t", options.clone(), columns, InputContext::utc(chrono::DateTime::UNIX_EPOCH));
    let mut rows = 0;
    for bytes in data.chunks(piece) {
        if let Some(chunk) = splitter.feed(bytes)? {
            rows += decoder.decode(&chunk)?.batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
        }
    }
    if let Some(chunk) = splitter.finish()? {
        rows += decoder.decode(&chunk)?.batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    }
    Ok(rows)
}

fuzz_target!(|data: &[u8]| {
    let [format, piece, data @ ..] = data else { return };
    let format = [Format::Text, Format::Csv, Format::Binary][usize::from(format % 3)];
    let options = Options::defaults(format);
    let cut = read(&options, data, usize::from(*piece) + 1);
    let whole = read(&options, data, data.len().max(1));
    match (cut, whole) {
        (Ok(cut), Ok(whole)) => assert_eq!(cut, whole),
        (Err(_), Err(_)) => {}
        (cut, whole) => panic!("in pieces {cut:?}, whole {whole:?}"),
    }
});
