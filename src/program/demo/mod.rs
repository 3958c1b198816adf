//! `demo`: ninety days of a small company, so that every part of the system has something to show.
//!
//! Into a database where `setup` ran and nobody has written yet: three AI agents and a human team are registered
//! ([`cast`]), their events ([`facts`]) are made from a fixed seed ([`generate`]) and loaded by COPY as a producer
//! would ([`load`]), what is due is refreshed, labels that came late are applied and refreshed again; samples are
//! reviewed ([`reviews`]); then last month is closed and late money comes ([`books`]). Eval runs with a planted
//! regression are audited, and the alert delivered to an endpoint of the demo's own ([`audit`]). A second run finds its
//! data and adds nothing. A database with somebody else's events is left alone.

pub mod audit;
pub mod books;
pub mod cast;
pub mod facts;
pub mod generate;
pub mod load;
pub mod reviews;

use std::io::IsTerminal;

use crate::say;
use anyhow::{Result, bail};
use chrono::{DateTime, Utc};

use crate::program::connect::{Database, config::Server, extension};
use crate::program::page::tiles;
use crate::program::scheduler::{clock::SystemClock, jobs, run};
use crate::program::{format, page, shutdown::Stop};

/// Runs the demo: data, refresh, tiles; then the page and the scheduler until Ctrl-C when at a terminal.
pub async fn run(server: &Server, address: &str) -> Result<()> {
    let mut database = Database::open(server).await?;
    let outcome = show(&mut database, server).await;
    database.close().await;
    outcome?;
    let is_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    if is_ci || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    let listener = match page::listen(server, address).await {
        Ok(listener) => listener,
        Err(_) => page::listen(server, "127.0.0.1:0").await?,
    };
    say!("");
    say!(
        "The page: http://{}/ (Ctrl-C ends it; agents are refreshed meanwhile)",
        listener.local_addr()?
    );
    let stop = Stop::on_signals()?;
    tokio::try_join!(
        page::serve(server.clone(), listener, stop.clone()),
        run::run(server, &SystemClock, stop)
    )?;
    Ok(())
}

async fn show(database: &mut Database, server: &Server) -> Result<()> {
    extension::check(database, server).await?;
    if has_data(database, server).await? {
        say!("The demo's events are here already.");
        report(&jobs::once(database).await?)?;
    } else {
        let now: DateTime<Utc> = database.query_one("SELECT now()", &[]).await?.try_get(0)?;
        let company = generate::company(now);
        load::load(database, &company).await?;
        books::bring_money(database).await?;
        audit::find(database, now).await?;
        report(&jobs::once(database).await?)?;
        let late = load::apply_late_labels(database, &company.late_labels).await?;
        say!("{late} labels came late");
        let agents: Vec<String> = cast::AGENTS
            .iter()
            .map(|agent| agent.agent_id.to_owned())
            .collect();
        report(&jobs::refresh(database, &agents, true).await?)?;
        reviews::review(database).await?;
        report(&jobs::refresh(database, &agents, true).await?)?;
        books::close_last_month(database).await?;
        report(&jobs::refresh(database, &agents, true).await?)?;
        audit::answer(database).await?;
    }
    say!("");
    print_tiles(database).await?;
    books::print(database).await
}

/// Whether the demo's data is here. Fails when somebody else's is.
async fn has_data(database: &Database, server: &Server) -> Result<bool> {
    let ids: Vec<&str> = cast::AGENTS.iter().map(|agent| agent.agent_id).collect();
    let row = database
        .query_one(
            "SELECT EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id = ANY ($1)),
                    EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id <> ALL ($1))
                    OR EXISTS (SELECT FROM agent_metrics.agent_events e WHERE e.agent_id <> ALL ($1))",
            &[&ids],
        )
        .await?;
    let (is_here, has_others): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if has_others && !is_here {
        bail!(
            "database \"{}\" has agents or events of its own, and the demo would mix with them; \
             name an empty database in DATABASE_URL and run agent-metrics setup there",
            server.database()
        );
    }
    Ok(is_here)
}

fn report(round: &jobs::Round) -> Result<()> {
    for refreshed in &round.refreshed {
        say!("refreshed {refreshed}");
    }
    if let Some((agent, words)) = round.failed.first() {
        bail!("{agent} could not be refreshed: {words}");
    }
    Ok(())
}

async fn print_tiles(database: &mut Database) -> Result<()> {
    let agents = tiles::look(database).await?;
    for tile in agents.iter().flat_map(|agent| &agent.tiles) {
        say!("{}", format::tile(tile));
    }
    Ok(())
}
