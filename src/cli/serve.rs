//! `serve` and `demo`.

use super::session::LocalSession;
use super::{demo, print_line};
use crate::app::{App, Signals};
use crate::config::{Config, Flags};
use crate::error::{Error, Result};
use crate::observe::start_logging;

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(flags: Flags) -> Result<()> {
    let config = Config::load(&flags)?;
    start_logging(&config.log)?;
    let signals = Signals::listen()?;
    let app = App::start(&config).await?;
    announce(&app);
    app.run(signals).await
}

/// The same with the demo's pipeline.
pub(super) async fn demo(flags: Flags) -> Result<()> {
    let config = Config::load(&flags)?;
    start_logging(&config.log)?;
    let signals = Signals::listen()?;
    let app = App::start(&config).await?;
    let (user, database) = (config.server.superuser.as_str(), config.server.database.as_str());
    let mut session = LocalSession::open(app.service().clone(), user, database).await?;
    let loaded = Box::pin(demo::load(&mut session)).await.map_err(|failure| match failure.statement {
        Some((text, line)) => {
            let first = text.lines().next().unwrap_or_default().to_owned();
            Error::new(
                failure.error.sqlstate(),
                format!("the demo stopped at line {line}: {}", failure.error.message()),
            )
            .with_detail(first)
        }
        None => failure.error,
    })?;
    drop(session);
    announce(&app);
    print_line("");
    print_line(if loaded {
        "The flights that left New York in early 2013 are loaded."
    } else {
        "The demo's tables are there."
    });
    if let Some(address) = app.addresses().first() {
        print_line(&format!("Connect:  psql -h {} -p {} -U {user} {database}", address.ip(), address.port()));
    }
    print_line("Worth trying:");
    for query in demo::queries() {
        print_line(&format!("  {query}"));
    }
    app.run(signals).await
}

fn announce(app: &App) {
    for address in app.addresses() {
        print_line(&format!("listening on {address}"));
    }
}
