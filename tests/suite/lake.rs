//! `tests/sql/lake/`: what only Lakegate speaks.

use crate::files::{below, check_all};
use crate::server::Server;
use crate::slt::{Target, run_file};
use crate::sql_driver::Mode;

async fn run(mode: Mode) {
    let server = Server::start(&[]);
    let target = Target::new(server.address(), "lakegate", "lakegate", mode);
    check_all(below("tests/sql/lake", "slt"), |file| run_file(file, target.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simple() {
    run(Mode::Simple).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended() {
    if !crate::files::updating() {
        run(Mode::Extended).await;
    }
}
