//! Any bytes are a message, a startup packet or an error.
#![no_main]

use bytes::Bytes;
use lakegate::protocol::frontend::Frame;
use lakegate::protocol::startup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((tag, body)) = data.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    let _ = startup::decode(body.clone());
    let _ = Frame { tag: *tag, body }.decode();
});
