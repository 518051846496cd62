//! Names in the notes of a training: wide tables have thousands of columns, and a note has a line.

/// Names that a note tells.
const TOLD_MAX: usize = 10;

/// `"a", "b"`, of many names the first ones and how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let told: Vec<String> = names.iter().take(TOLD_MAX).map(|name| format!("\"{}\"", name.as_ref())).collect();
    let more = names.len().saturating_sub(TOLD_MAX);
    let told = told.join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}
