//! The command line of `agent-metrics`: what it takes and what its help says.
//!
//! It stands on clap alone, so that `packaging/manual` makes the man pages and completions of it without the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measure the performance of AI agents inside PostgreSQL.
///
/// The agent_metrics extension keeps events, rollups and thresholds in your database. This program refreshes the
/// rollups when each agent's cadence says so, and shows the page. It keeps no state of its own: when it is off, the
/// numbers get stale and nothing else.
#[derive(Parser)]
// Wrapped at 80 columns wherever it is read, so that no example is broken: one that is pasted runs.
#[command(name = "agent-metrics", version, term_width = 80, after_help = CONNECTING, after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Where the database is: postgresql://user@host:5432/database, or key=value pairs
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,

    /// Say more: what is done in between, and where in the database an error came from
    #[arg(long, short, global = true)]
    pub verbose: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
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

const COLLECT_EXAMPLES: &str = "\
Examples:
  On the machine where the agents run:
    agent-metrics collect
    export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318
  For others, behind a proxy with TLS:
    psql \"$DATABASE_URL\" -Atc \"SELECT agent_metrics.create_ingest_token('team')\"
    agent-metrics collect --listen 0.0.0.0:4318
    export OTEL_EXPORTER_OTLP_HEADERS='Authorization=Bearer agent_metrics_...'";

const INGEST_EXAMPLES: &str = "\
Examples:
  What a collector's file exporter has written, again and again:
    agent-metrics ingest /var/spool/otel
  An export, and what of it could not be stored:
    agent-metrics ingest turns.csv traces.jsonl.gz
    psql \"$DATABASE_URL\" -c 'SELECT * FROM agent_kpi.quarantine'";

/// What the program can be told to do.
#[derive(Subcommand)]
pub enum Command {
    /// From an empty database to four tiles, by questions or by flags
    ///
    /// Makes the extension, registers an agent, reads its turns from a file or a
    /// table, asks what its labels and the CRM's words mean, and refreshes.
    /// Every step is SQL, which goes to standard output: kept in a file it is
    /// the way to do it again. What flags leave open is asked at a terminal.
    #[command(after_long_help = INIT_EXAMPLES)]
    Init(Box<Wishes>),

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
        /// Take OTLP from exporters too, at this address: as agent-metrics collect
        #[arg(long, value_name = "ADDRESS", env = "AGENT_METRICS_COLLECT")]
        collect: Option<String>,
    },

    /// Take spans and log records of OpenTelemetry exporters (OTLP over HTTP), until stopped
    ///
    /// At /v1/traces and /v1/logs, as protobuf or JSON, plain, gzip or zstd. A request is answered 200 after the commit
    /// that holds it. What somebody said to a model, or a model to somebody, gets no further than this process. Without
    /// a token this machine alone may send; SELECT agent_metrics.create_ingest_token('name') makes one for others.
    #[command(after_long_help = COLLECT_EXAMPLES)]
    Collect {
        /// Where to listen; port 0 takes a free one
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4318")]
        listen: String,
        /// Megabytes of requests that may be in flight; more are told to come again
        #[arg(long, value_name = "MB", default_value_t = 128, value_parser = clap::value_parser!(u16).range(16..))]
        memory: u16,
    },

    /// Store the events of files and folders, each once
    ///
    /// JSON lines, a JSON list or document, OTLP, CSV with columns of agent_events; plain, gzip or zstd. A second run
    /// goes on where the last one ended, also in a file that has grown. What is no JSON is kept in quarantine with its
    /// place, without what somebody said in it, and stops nothing. A folder is read with those in it, by name.
    #[command(after_long_help = INGEST_EXAMPLES)]
    Ingest {
        /// Files and folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
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
        folder: PathBuf,
    },

    /// Bring the turns of an archive back into the database
    ///
    /// All or nothing, and nothing is counted twice. Those who asked to be erased are erased again.
    Restore {
        /// The file, as agent-metrics archive wrote it
        file: PathBuf,
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

/// What the flags say; what they leave open is asked.
#[derive(Debug, Args)]
pub struct Wishes {
    /// The agent's id, as its turns name it
    #[arg(long)]
    pub agent: Option<String>,
    /// support, sales or ops: sets cadence, unit of work and thresholds
    #[arg(long)]
    pub kind: Option<String>,
    /// Who answers for the agent's thresholds: a person, role or team
    #[arg(long)]
    pub owner: Option<String>,
    /// Zone of the agent's days, and of times that name none
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Where the turns are: a CSV file, a file of JSON lines (OTLP too), or schema.table
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<String>,
    /// Which column is what, where its name does not say; FIELD= leaves it out; latency_ms=COLUMN:s is in seconds
    #[arg(long, value_name = "FIELD=COLUMN")]
    pub map: Vec<String>,
    /// How times are written, as to_timestamp() of PostgreSQL has it
    #[arg(long, value_name = "PATTERN")]
    pub time_format: Option<String>,
    /// Encoding of the file, such as WIN1252
    #[arg(long, value_name = "NAME", default_value = "UTF8")]
    pub encoding: String,
    /// A label of the turns that counts as one that is known: HANDOFF=escalated
    #[arg(long, value_name = "LABEL=OUTCOME")]
    pub label: Vec<String>,
    /// A table of the business, whose rows say what became of a conversation
    #[arg(long, value_name = "TABLE")]
    pub crm: Option<String>,
    /// Which of its columns is what, where its name does not say
    #[arg(long, value_name = "PART=COLUMN")]
    pub crm_map: Vec<String>,
    /// What a kind of its events means: solved=resolved, note=nothing
    #[arg(long, value_name = "KIND=MEANING")]
    pub event: Vec<String>,
    /// Where alerts go: slack or webhook, and the environment variable with the address
    #[arg(long, value_name = "KIND=VARIABLE")]
    pub channel: Option<String>,
    /// Ask nothing: what is missing is an error that names its flag
    #[arg(long)]
    pub no_questions: bool,
    /// Show how all is understood, and undo it
    #[arg(long)]
    pub preview: bool,
}
