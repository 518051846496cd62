//! The demo: the pipeline of `sql/demo`, embedded in the binary, loaded into an empty warehouse.

use std::path::Path;

use super::script::{self, Variables};
use super::session::{LocalSession, RunError};
use crate::error::{Error, Result, SqlState};

/// Scripts in the order they run.
const SCRIPTS: &[(&str, &str)] = &[
    ("1_schemas.sql", include_str!("../../sql/demo/1_schemas.sql")),
    ("2_ingest.sql", include_str!("../../sql/demo/2_ingest.sql")),
    ("3_process.sql", include_str!("../../sql/demo/3_process.sql")),
    ("4_analyse.sql", include_str!("../../sql/demo/4_analyse.sql")),
    ("5_predict.sql", include_str!("../../sql/demo/5_predict.sql")),
];

/// Queries worth trying, one a line after the comment.
const QUERIES: &str = include_str!("../../sql/demo/queries.sql");

/// Data files: the variable that names each in the scripts, and its content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("flights_2013_01", "csv.gz", include_bytes!("../../sql/demo/data/flights_2013_01.csv.gz")),
    ("flights_2013_02", "csv.gz", include_bytes!("../../sql/demo/data/flights_2013_02.csv.gz")),
    ("flights_2013_03", "csv.gz", include_bytes!("../../sql/demo/data/flights_2013_03.csv.gz")),
    ("weather_2013_q1", "csv.gz", include_bytes!("../../sql/demo/data/weather_2013_q1.csv.gz")),
    ("airlines", "csv", include_bytes!("../../sql/demo/data/airlines.csv")),
    ("airports", "csv", include_bytes!("../../sql/demo/data/airports.csv")),
    ("planes", "csv", include_bytes!("../../sql/demo/data/planes.csv")),
];

/// The last table that the scripts make: where it is, the pipeline is complete.
const LAST_MADE: (&str, &str) = ("analytics", "daily_expected");

/// Everything that the scripts make.
const MADE: &[(&str, &[&str])] = &[
    ("analytics", &["daily", "daily_by_airline", "daily_expected", "weekly_trend"]),
    ("processed", &["flights"]),
    ("raw", &["airlines", "airports", "airports_quarantine", "flights", "planes", "weather", "weather_quarantine"]),
];

/// Loads the pipeline unless it is there. What an interrupted run left behind is made anew; a warehouse with anything else
/// in it is refused, for nobody's tables may be dropped for a demo.
pub(super) async fn load(session: &mut LocalSession) -> Result<bool, RunError> {
    if session.has_relation(LAST_MADE.0, LAST_MADE.1) {
        return Ok(false);
    }
    let foreign = session.relations().into_iter().find(|(schema, name)| !is_ours(schema, name));
    if let Some((schema, name)) = foreign {
        let message = format!("the warehouse holds \"{schema}.{name}\", which is not the demo's");
        return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
            .with_hint("Give the demo an empty warehouse with --warehouse.")
            .into());
    }
    for (schema, _) in MADE {
        if session.has_schema(schema) {
            session.run_text(&format!("DROP SCHEMA {schema} CASCADE"), |_| {}).await?;
        }
    }
    let folder = tempfile_folder()?;
    let variables = unpack(folder.path())?;
    for (name, text) in SCRIPTS {
        tracing::info!(script = name, "running a script of the demo");
        session.run_text(&script::substitute(text, &variables), |_| {}).await?;
    }
    Ok(true)
}

fn is_ours(schema: &str, name: &str) -> bool {
    MADE.iter().any(|(own, names)| *own == schema && names.contains(&name))
}

/// The queries to print.
pub(super) fn queries() -> impl Iterator<Item = &'static str> {
    QUERIES.lines().filter(|line| !line.starts_with("--") && !line.trim().is_empty())
}

fn unpack(folder: &Path) -> Result<Variables, RunError> {
    let mut variables = Variables::new();
    for (name, extension, content) in FILES {
        let path = folder.join(format!("{name}.{extension}"));
        std::fs::write(&path, content).map_err(crate::error::Error::from)?;
        variables.insert((*name).to_owned(), path.to_string_lossy().into_owned());
    }
    Ok(variables)
}

/// A folder that goes when it is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "could not remove the demo's unpacked files");
        }
    }
}

fn tempfile_folder() -> Result<Folder, RunError> {
    let path = std::env::temp_dir().join(format!("lakegate-demo-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&path).map_err(crate::error::Error::from)?;
    Ok(Folder(path))
}
