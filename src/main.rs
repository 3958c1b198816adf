//! The `agent-metrics` command: reads the command line, calls the program's rooms, says in one line what failed.

use std::process::ExitCode;

use agent_metrics::program::arguments::{Arguments, Command};
use agent_metrics::program::commands::{doctor, rebuild, status, verify};
use agent_metrics::program::connect::{Database, config::Server, extension, writable};
use agent_metrics::program::scheduler::{clock::SystemClock, jobs, run};
use agent_metrics::program::{
    archive, collect, demo, error, ingest, init, page, shutdown::Stop, text,
};
use agent_metrics::say;
use anyhow::Result;
use clap::Parser;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    say_what_goes_on(arguments.verbose);
    let url = arguments.database_url.filter(|url| !url.is_empty());
    let server = match Server::read(url.as_deref(), |name| std::env::var(name).ok()) {
        Ok(server) => server,
        Err(error) => return failure(&error, None, arguments.verbose),
    };
    match execute(arguments.command, &server).await {
        Ok(code) => code,
        Err(error) => failure(&error, Some(&server), arguments.verbose),
    }
}

/// The log: from RUST_LOG, else what one wants to know, with --verbose also what is done in between.
fn say_what_goes_on(verbose: bool) {
    let usual = if verbose {
        "info,agent_metrics=debug"
    } else {
        "info"
    };
    let chosen = std::env::var("RUST_LOG").unwrap_or_default();
    let levels = chosen
        .parse::<Targets>()
        .ok()
        .filter(|_| !chosen.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(false)
        .with_writer(text::Log::default);
    tracing_subscriber::registry()
        .with(lines)
        .with(levels.or_else(|| usual.parse().ok()))
        .init();
}

fn failure(error: &anyhow::Error, server: Option<&Server>, verbose: bool) -> ExitCode {
    eprintln!("agent-metrics: {}", error::one_line(error, server));
    if verbose {
        for line in error::details(error) {
            eprintln!("  {line}");
        }
    }
    ExitCode::FAILURE
}

/// Runs one command. An error is said in one line; a command that found something wrong has said so itself.
async fn execute(command: Command, server: &Server) -> Result<ExitCode> {
    match command {
        Command::Run { listen, collect } => {
            let stop = Stop::on_signals()?;
            let page = show_page(server, listen, &stop).await?;
            let options = collect::Options::default();
            // a variable that is empty is none
            let collect = collect.filter(|address| !address.is_empty());
            let collector = take_spans(server, collect, options, &stop).await?;
            tokio::try_join!(page, collector, run::run(server, &SystemClock, stop))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Collect { listen, memory } => {
            let options = collect::Options {
                memory: usize::from(memory) * 1024 * 1024,
            };
            let stop = Stop::on_signals()?;
            take_spans(server, Some(listen), options, &stop)
                .await?
                .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { listen } => {
            let stop = Stop::on_signals()?;
            show_page(server, Some(listen), &stop).await?.await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { listen } => demo::run(server, &listen).await.map(|()| ExitCode::SUCCESS),
        Command::Init(wishes) => {
            in_session(server, async |database| {
                writable::check(database, server, false).await?;
                init::run(database, server, *wishes).await
            })
            .await
        }
        Command::Ingest { paths } => {
            let mut database = Database::open(server).await?;
            let outcome = async {
                may_write(&database, server).await?;
                ingest::run(&mut database, &paths).await
            };
            let outcome = outcome.await;
            database.close().await;
            Ok(if outcome? {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Archive { folder } => {
            in_session(server, async |database| {
                may_write(database, server).await?;
                archive::archive(database, &folder).await
            })
            .await
        }
        Command::Restore { file } => {
            in_session(server, async |database| {
                may_write(database, server).await?;
                archive::restore(database, &file).await
            })
            .await
        }
        command => {
            let database = Database::open(server).await?;
            let outcome = ask(command, &database, server).await;
            database.close().await;
            outcome
        }
    }
}

/// Listens for those who want to see the page, if there is an address; what comes back serves it.
async fn show_page(
    server: &Server,
    address: Option<String>,
    stop: &Stop,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let listener = match address {
        None => None,
        Some(address) => Some(page::listen(server, &address).await?),
    };
    if let Some(listener) = &listener {
        tracing::info!("the page is at http://{}/", listener.local_addr()?);
    }
    let (server, stop) = (server.clone(), stop.clone());
    Ok(async move {
        match listener {
            None => Ok(()),
            Some(listener) => page::serve(server, listener, stop).await,
        }
    })
}

/// Listens for exporters, if there is an address; what comes back takes what they send.
async fn take_spans(
    server: &Server,
    address: Option<String>,
    options: collect::Options,
    stop: &Stop,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let collector = match address {
        None => None,
        Some(address) => Some(collect::listen(server, &address).await?),
    };
    if let Some(collector) = &collector {
        tracing::info!("exporters send to http://{}", collector.address()?);
    }
    let (server, stop) = (server.clone(), stop.clone());
    Ok(async move {
        match collector {
            None => Ok(()),
            Some(collector) => collect::serve(server, collector, options, stop).await,
        }
    })
}

/// One session for work that needs all of it; it is closed whatever came of the work.
async fn in_session<T>(
    server: &Server,
    work: impl AsyncFnOnce(&mut Database) -> Result<T>,
) -> Result<ExitCode> {
    let mut database = Database::open(server).await?;
    let outcome = work(&mut database).await;
    database.close().await;
    outcome.map(|_| ExitCode::SUCCESS)
}

/// Fails with one line where the database does not fit, or nothing can be written.
async fn may_write(database: &Database, server: &Server) -> Result<()> {
    extension::check(database, server).await?;
    writable::check(database, server, false).await
}

/// The commands that need one session and end by themselves.
async fn ask(command: Command, database: &Database, server: &Server) -> Result<ExitCode> {
    match command {
        Command::Doctor => {}
        Command::Setup => writable::check(database, server, false).await?,
        Command::Status | Command::Verify { .. } => extension::check(database, server).await?,
        _ => may_write(database, server).await?,
    }
    let found_something = match command {
        Command::Setup => {
            say!("{}", extension::setup(database, server).await?);
            false
        }
        Command::Status => {
            status::print(database).await?;
            false
        }
        Command::Once => {
            let round = jobs::once(database).await?;
            if round.refreshed.is_empty() && round.failed.is_empty() {
                say!("{}", jobs::idle(database).await?);
            }
            said(&round)
        }
        Command::Refresh { agent } => {
            let agents = match agent {
                Some(agent) => {
                    jobs::check_agent(database, &agent).await?;
                    vec![agent]
                }
                None => jobs::all(database).await?,
            };
            said(&jobs::refresh(database, &agents, true).await?)
        }
        Command::Verify { agent } => {
            if let Some(agent) = &agent {
                jobs::check_agent(database, agent).await?;
            }
            verify::print(database, agent.as_deref()).await? > 0
        }
        Command::Rebuild { agent, from, to } => {
            let agents = match agent {
                Some(agent) => {
                    jobs::check_agent(database, &agent).await?;
                    vec![agent]
                }
                None => jobs::all(database).await?,
            };
            let span = rebuild::Span {
                from: from.as_deref(),
                to: to.as_deref(),
            };
            !rebuild::rebuild(database, &agents, span, Stop::on_signals()?).await?
        }
        Command::Doctor => doctor::print(database, server).await? > 0,
        Command::Run { .. }
        | Command::Collect { .. }
        | Command::Ingest { .. }
        | Command::Serve { .. }
        | Command::Demo { .. }
        | Command::Init(_)
        | Command::Archive { .. }
        | Command::Restore { .. } => false,
    };
    Ok(if found_something {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints what a round did, one line an agent, and returns whether one failed.
fn said(round: &jobs::Round) -> bool {
    for refreshed in &round.refreshed {
        say!("refreshed {refreshed}");
    }
    for (agent, words) in &round.failed {
        eprintln!(
            "agent-metrics: could not refresh {}: {}",
            text::shown(agent),
            text::shown(words)
        );
    }
    for agent in &round.left {
        eprintln!(
            "agent-metrics: did not try to refresh {}: one agent after the other waited for a lock",
            text::shown(agent)
        );
    }
    !round.failed.is_empty() || !round.left.is_empty()
}
