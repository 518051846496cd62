//! Where csv records end: at a line end outside quotes. `\.` alone on a line ends the data, as in PostgreSQL 15.

use memchr::{memchr, memchr2_iter, memrchr};

use super::{Cut, Newline, Pending, count, newline_at};
use crate::error::Result;

#[derive(Debug)]
pub(super) struct Scanner {
    quote: u8,
    /// `None` when the quote escapes itself: then the number of quotes alone tells what is inside.
    escape: Option<u8>,
    pub(super) newline: Newline,
    state: State,
}

/// Where in a record the byte at `Pending::scanned` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    in_quote: bool,
    after_escape: bool,
}

impl Scanner {
    pub(super) fn new(quote: u8, escape: u8) -> Self {
        let escape = (escape != quote).then_some(escape);
        Self { quote, escape, newline: Newline::Unknown, state: State::default() }
    }

    /// The end of the last whole record; at the end of the data, everything.
    pub(super) fn cut(&mut self, pending: &mut Pending, at_end: bool) -> Result<Cut> {
        if self.newline == Newline::Unknown && !self.find_newline(pending, at_end) && !at_end {
            return Ok(Cut::None);
        }
        let bytes: &[u8] = &pending.bytes;
        // A marker of which only a part had arrived may begin three bytes before the new ones.
        if let Some(end) = self.end_marker(bytes, pending.scanned.saturating_sub(3)) {
            return Ok(Cut::End(end));
        }
        if at_end {
            return Ok(if bytes.is_empty() { Cut::None } else { Cut::At(bytes.len()) });
        }
        let unseen = bytes.get(pending.scanned..).unwrap_or_default();
        let (last, state) = match self.escape {
            None => last_by_parity(unseen, self.quote, self.newline.last_byte(), self.state),
            Some(escape) => last_by_walk(unseen, self.quote, escape, self.newline.last_byte(), self.state),
        };
        let cut = last.map_or(Cut::None, |last| Cut::At(pending.scanned + last + 1));
        self.state = state;
        pending.scanned = bytes.len();
        Ok(cut)
    }

    /// Finds the style of the first line end outside quotes: over the first record only, byte by byte.
    fn find_newline(&mut self, pending: &mut Pending, at_end: bool) -> bool {
        for at in pending.scanned..pending.bytes.len() {
            let Some(byte) = pending.bytes.get(at).copied() else { break };
            if !self.state.in_quote && matches!(byte, b'\r' | b'\n') {
                self.newline = newline_at(&pending.bytes, at, at_end).unwrap_or_default();
                let found = self.newline != Newline::Unknown;
                // With the style known the fast scan begins anew; without it this byte is looked at again.
                pending.scanned = if found { 0 } else { at };
                self.state = State::default();
                return found;
            }
            step(&mut self.state, byte, self.quote, self.escape);
        }
        pending.scanned = pending.bytes.len();
        false
    }

    /// Where `\.` stands alone on a line outside quotes, from `start` on.
    fn end_marker(&self, bytes: &[u8], start: usize) -> Option<usize> {
        let unseen = bytes.get(start..)?;
        memchr(b'\\', unseen)?;
        memchr::memmem::find_iter(unseen, b"\\.")
            .map(|at| at + start)
            .filter(|at| *at == 0 || bytes.get(at - 1) == Some(&self.newline.last_byte()))
            .filter(|at| self.ends_line(bytes, at + 2))
            .find(|at| !self.is_quoted(bytes, *at))
    }

    fn ends_line(&self, bytes: &[u8], at: usize) -> bool {
        match (self.newline, bytes.get(at)) {
            (_, None) => false,
            (Newline::Lf | Newline::Unknown, Some(byte)) => *byte == b'\n',
            (Newline::Cr, Some(byte)) => *byte == b'\r',
            (Newline::CrLf, Some(byte)) => *byte == b'\r' && bytes.get(at + 1) == Some(&b'\n'),
        }
    }

    fn is_quoted(&self, bytes: &[u8], at: usize) -> bool {
        let before = bytes.get(..at).unwrap_or_default();
        match self.escape {
            None => count(self.quote, before) % 2 == 1,
            Some(escape) => last_by_walk(before, self.quote, escape, b'\n', State::default()).1.in_quote,
        }
    }
}

fn step(state: &mut State, byte: u8, quote: u8, escape: Option<u8>) {
    let is_escape = escape == Some(byte);
    if state.in_quote && is_escape {
        state.after_escape = !state.after_escape;
    }
    if byte == quote && !state.after_escape {
        state.in_quote = !state.in_quote;
    }
    if !is_escape {
        state.after_escape = false;
    }
}

/// The last line end outside quotes when quotes escape themselves: inside is where an odd number of quotes came before.
fn last_by_parity(bytes: &[u8], quote: u8, line_end: u8, state: State) -> (Option<usize>, State) {
    let odd = |bytes: &[u8]| count(quote, bytes) % 2 == 1;
    let at_end = state.in_quote != odd(bytes);
    let mut in_quote = at_end;
    let mut rest = bytes;
    while let Some(at) = memrchr(line_end, rest) {
        let (before, after) = rest.split_at(at);
        in_quote ^= odd(after);
        if !in_quote {
            return (Some(at), State { in_quote: at_end, after_escape: false });
        }
        rest = before;
    }
    (None, State { in_quote: at_end, after_escape: false })
}

/// The same when the escape is another byte: a walk over the quotes, escapes and line ends.
fn last_by_walk(bytes: &[u8], quote: u8, escape: u8, line_end: u8, mut state: State) -> (Option<usize>, State) {
    let mut last = None;
    // The byte before these may have been an escape.
    let mut after_special = 0;
    let ends = memchr::memchr_iter(line_end, bytes);
    let specials = memchr2_iter(quote, escape, bytes);
    for at in merge(ends, specials) {
        // Any byte between two special ones ends an escape.
        if after_special != at {
            state.after_escape = false;
        }
        let Some(byte) = bytes.get(at).copied() else { break };
        step(&mut state, byte, quote, Some(escape));
        if byte == line_end && !state.in_quote {
            last = Some(at);
        }
        after_special = at + 1;
    }
    if after_special != bytes.len() {
        state.after_escape = false;
    }
    (last, state)
}

/// Two rising sequences as one.
fn merge(left: impl Iterator<Item = usize>, right: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l < r => left.next(),
        (Some(_), None) => left.next(),
        (_, Some(_)) => right.next(),
        (None, None) => None,
    })
}
