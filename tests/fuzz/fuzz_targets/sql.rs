//! Any text is parsed or refused: no panic, no endless loop.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = lakegate::sql::parse(text);
});
