//! Models beside those of scikit-learn and LightGBM: `tests/models/peers.py` trains both and compares.

use std::process::Command;

use crate::files::root;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn models_are_as_good_as_those_of_scikit_learn_and_lightgbm() {
    // Not installed: nothing to compare with.
    let Ok(venv) = std::env::var("LAKEGATE_TEST_VENV") else { return };
    let server = Server::start(&[]);
    let mut command = Command::new(format!("{venv}/bin/python"));
    command.arg(root().join("tests/models/peers.py"));
    command.env("PGHOST", server.address().ip().to_string()).env("PGPORT", server.address().port().to_string());
    command.env("PGUSER", "lakegate").env("PGDATABASE", "lakegate");
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    eprintln!("{said}");
    assert!(done.status.success(), "{told}\n{said}");
}
