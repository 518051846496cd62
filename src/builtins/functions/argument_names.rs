//! Names of the arguments of the functions that are called by them: `make_interval(days => 10)`.

/// The name of an argument, and the constant that stands for it when it is left out.
pub type Argument = (&'static str, Option<&'static str>);

/// The arguments in order, or none for a function whose arguments have no names.
pub fn of(function: &str) -> Option<&'static [Argument]> {
    Some(match function {
        "make_interval" => &[
            ("years", Some("0")),
            ("months", Some("0")),
            ("weeks", Some("0")),
            ("days", Some("0")),
            ("hours", Some("0")),
            ("mins", Some("0")),
            ("secs", Some("0")),
        ],
        "make_date" => &[("year", None), ("month", None), ("day", None)],
        "make_time" => &[("hour", None), ("min", None), ("sec", None)],
        "make_timestamp" | "make_timestamptz" => {
            &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None)]
        }
        "jsonb_set" => &[("jsonb_in", None), ("path", None), ("replacement", None), ("create_if_missing", Some("true"))],
        "jsonb_insert" => &[("jsonb_in", None), ("path", None), ("replacement", None), ("insert_after", Some("false"))],
        _ => return None,
    })
}
