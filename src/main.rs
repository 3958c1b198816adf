//! The `agent-metrics` command: reads the command line, calls the program's rooms, says in one line what failed.

use std::process::ExitCode;

use agent_metrics::program::commands::{doctor, rebuild, status, verify};
use agent_metrics::program::connect::{Database, config::Server, extension, writable};
use agent_metrics::program::scheduler::{clock::SystemClock, jobs, run};
use agent_metrics::program::{archive, demo, error, init, page, shutdown::Stop, text};
use agent_metrics::say;
use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Measure the performance of AI agents inside PostgreSQL.
///
/// The agent_metrics extension keeps events, rollups and thresholds in your database. This program refreshes the
/// rollups when each agent's cadence says so, and shows the page. It keeps no state of its own: when it is off, the
/// numbers get stale and nothing else.
#[derive(Parser)]
// Wrapped at 80 columns wherever it is read, so that no example is broken: one that is pasted runs.
#[command(version, term_width = 80, after_help = CONNECTING, after_long_help = EXAMPLES)]
struct Arguments {
    /// Where the database is: postgresql://user@host:5432/database, or key=value pairs
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,

    /// Say more: what is done in between, and where in the database an error came from
    #[arg(long, short, global = true)]
    verbose: bool,

    #[command(subcommand)]
    command: Command,
}

const CONNECTING: &str = "Without a URL the variables PGHOST, PGPORT, PGUSER, PGPASSWORD, \
                          PGDATABASE and PGSSLMODE count.";

const EXAMPLES: &str = "\
Connecting:
  --database-url, else DATABASE_URL, else PGHOST, PGPORT, PGUSER, PGPASSWORD,
  PGDATABASE, PGSSLMODE, PGSSLROOTCERT. Keep the password in PGPASSWORD or
  DATABASE_URL: an argument can be read by everybody on the machine.
  TLS: sslmode=disable, prefer (the default), require, verify-ca, verify-full,
  in the URL or in PGSSLMODE. Roots are in sslrootcert, else in
  ~/.postgresql/root.crt; sslrootcert=system, with verify-full, takes the
  machine's.

Examples:
  First steps, with a database that you own:
    export DATABASE_URL='postgresql://me@db.example/warehouse'
    agent-metrics init
    agent-metrics run --listen 127.0.0.1:8080
  The same step by step:
    agent-metrics setup
    psql \"$DATABASE_URL\" -c \"SELECT agent_metrics.register_agent(
      'support-bot', 'support', 'Head of Support')\"
    agent-metrics refresh
  From cron or a Kubernetes job, in place of `run`:
    agent-metrics once
  What is going on, and what is wrong:
    agent-metrics status
    agent-metrics doctor
  Have a look at it all with made-up data, in an empty database:
    createdb try
    export DATABASE_URL=postgresql:///try
    agent-metrics setup
    agent-metrics demo

Exit status: 0 when all went well, 1 when something failed (one line on standard
error says what to do), 2 for a wrong command line. Log lines go to standard
error; --verbose shows more of them, and RUST_LOG chooses.";

const INIT_EXAMPLES: &str = "\
Examples:
  Be asked everything:
    agent-metrics init
  See how a log and a CRM's table are understood; nothing is kept:
    agent-metrics init --preview --agent support-bot --kind support \\
      --owner 'Head of Support' --from log.csv --time-zone Europe/Berlin \\
      --label SOLVED=resolved --label HANDOFF=escalated \\
      --crm crm.tickets --event solved=resolved --event open=nothing
  Without --preview the same is done; the SQL is kept with >init.sql";

#[derive(Subcommand)]
enum Command {
    /// From an empty database to four tiles, by questions or by flags
    ///
    /// Makes the extension, registers an agent, reads its turns from a file or a
    /// table, asks what its labels and the CRM's words mean, and refreshes.
    /// Every step is SQL, which goes to standard output: kept in a file it is
    /// the way to do it again. What flags leave open is asked at a terminal.
    #[command(after_long_help = INIT_EXAMPLES)]
    Init(Box<init::Wishes>),

    /// Make the extension, its tables and views in the database, or bring them up to date
    ///
    /// Runs CREATE EXTENSION agent_metrics (or ALTER EXTENSION ... UPDATE) and SELECT agent_metrics.setup(). Again and
    /// again is fine: it keeps your data and every edit of a shipped row. Tables belong to the user that runs it.
    Setup,

    /// Refresh every agent when its cadence says so, until stopped
    ///
    /// Several may run on one database: one leads, the others take over when it stops. Runs that were missed are caught
    /// up once. SIGTERM and SIGINT end it cleanly, exit status 0.
    Run {
        /// Show the page too, at this address
        #[arg(long, value_name = "ADDRESS", alias = "serve")]
        listen: Option<String>,
    },

    /// Refresh what is due now, then exit: for cron or a Kubernetes job
    Once,

    /// Show when each agent was refreshed, when it is due next, and whether a scheduler runs
    Status,

    /// Refresh one agent, or all of them, due or not
    Refresh {
        /// The agent; without it, all
        agent: Option<String>,
    },

    /// Recompute from raw events and print every stored number that differs
    ///
    /// No output and exit status 0 mean that the rollups are right; exit status 1, that they are not.
    Verify {
        /// The agent; without it, all
        agent: Option<String>,
    },

    /// Compute rollups again from the facts, day by day
    ///
    /// One agent and report day a transaction, with an estimate of what is left. Ctrl-C stops between two days: the
    /// rollups are right then, and the last line says how to go on.
    Rebuild {
        /// The agent; without it, all
        #[arg(long)]
        agent: Option<String>,
        /// First moment, such as 2026-01-01; without it, from the beginning
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Moment after the last; without it, to the end
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },

    /// Write months of turns that are no longer hot to Parquet files, and take them out of the database
    ///
    /// Months whose last day is older than the setting hot_days. Each file is read back, counted and compared before
    /// the table goes. No number changes: what the turns add up to stays. Stop it at any moment; the next run goes on.
    Archive {
        /// Where the files go; made if need be
        #[arg(long, value_name = "FOLDER", env = "AGENT_METRICS_ARCHIVE")]
        folder: std::path::PathBuf,
    },

    /// Bring the turns of an archive back into the database
    ///
    /// All or nothing, and nothing is counted twice. Those who asked to be erased are erased again.
    Restore {
        /// The file, as agent-metrics archive wrote it
        file: std::path::PathBuf,
    },

    /// Load ninety days of made-up events into an empty database, and show what becomes of them
    ///
    /// Refreshes, prints the tiles, and, at a terminal, serves the page until Ctrl-C. A second run adds nothing.
    Demo {
        /// Where to serve the page; another port when this one is taken
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: String,
    },

    /// Show the page: four tiles an agent, and the conversations behind them
    ///
    /// It reads schema agent_kpi and nothing else, so a role with SELECT agent_metrics.grant_access(role, 'reader')
    /// suffices. It has no login of its own: put it behind one before others can reach the address.
    Serve {
        /// Where to listen; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: String,
    },

    /// Say what is wrong, and how to mend it
    Doctor,
}

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
        Command::Run { listen } => {
            let stop = Stop::on_signals()?;
            match listen {
                None => run::run(server, &SystemClock, stop).await?,
                Some(address) => {
                    let listener = page::listen(server, &address).await?;
                    tracing::info!("the page is at http://{}/", listener.local_addr()?);
                    tokio::try_join!(
                        page::serve(server.clone(), listener, stop.clone()),
                        run::run(server, &SystemClock, stop)
                    )?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve { listen } => {
            let listener = page::listen(server, &listen).await?;
            tracing::info!("the page is at http://{}/", listener.local_addr()?);
            page::serve(server.clone(), listener, Stop::on_signals()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Demo { listen } => demo::run(server, &listen).await.map(|()| ExitCode::SUCCESS),
        Command::Init(wishes) => {
            let mut database = Database::open(server).await?;
            let outcome = match writable::check(&database, server, false).await {
                Ok(()) => init::run(&mut database, server, *wishes).await,
                Err(error) => Err(error),
            };
            database.close().await;
            outcome.map(|()| ExitCode::SUCCESS)
        }
        Command::Archive { folder } => {
            let mut database = Database::open(server).await?;
            let outcome = match may_write(&database, server).await {
                Ok(()) => archive::archive(&mut database, &folder).await,
                Err(error) => Err(error),
            };
            database.close().await;
            outcome.map(|_| ExitCode::SUCCESS)
        }
        Command::Restore { file } => {
            let mut database = Database::open(server).await?;
            let outcome = match may_write(&database, server).await {
                Ok(()) => archive::restore(&mut database, &file).await,
                Err(error) => Err(error),
            };
            database.close().await;
            outcome.map(|_| ExitCode::SUCCESS)
        }
        command => {
            let database = Database::open(server).await?;
            let outcome = ask(command, &database, server).await;
            database.close().await;
            outcome
        }
    }
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
                say!("nothing is due");
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
