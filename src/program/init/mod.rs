//! `init`: from an empty database to four tiles, by questions or by flags.
//!
//! Everything up to the first refresh is one transaction: the extension and its tables, the agent, its turns, what its
//! labels and the CRM's words mean, a channel. So what is not understood stops it, and nothing was done; with
//! `--preview` it is undone when it was shown. Every step is SQL ([`script`]), which goes to standard output; a second
//! run finds what is there and adds what is new.

mod ask;
mod crm;
mod fields;
mod moments;
mod relation;
mod script;
mod source;
mod turns;
mod words;

use anyhow::{Result, bail, ensure};

use self::ask::Person;
use self::script::{Script, literal};
use self::source::{Shape, Source};
use crate::program::arguments::Wishes;
use crate::program::connect::{Database, config::Server, extension};
use crate::program::page::tiles;
use crate::program::scheduler::jobs;
use crate::program::{format, text};

/// Who the turns are of.
struct Agent {
    id: String,
    kind: String,
    owner: String,
    zone: String,
}

/// Runs it.
pub async fn run(database: &mut Database, server: &Server, wishes: Wishes) -> Result<()> {
    let person = Person::at_terminal(wishes.no_questions || wishes.preview);
    let script = Script::new(database);
    script.run("BEGIN").await?;
    let agent = match prepare(&script, database, server, &wishes, &person).await {
        Ok(agent) if !wishes.preview => agent,
        outcome => {
            script.print("ROLLBACK");
            // Nothing of it stays; a session that is lost has undone it.
            let _ = database.batch_execute("ROLLBACK").await;
            if outcome.is_ok() {
                notice("this was a preview: nothing of it was kept; without --preview it is done");
            }
            return outcome.map(|_| ());
        }
    };
    script.title("All of it, or nothing");
    script.run("COMMIT").await?;
    script.title("The first refresh; from now on agent-metrics run does it at the agent's cadence");
    script.print(&format!(
        "SELECT * FROM agent_metrics.refresh({})",
        literal(&agent)
    ));
    let agents = [agent];
    let spinner = text::spinner("the first refresh");
    let round = jobs::refresh(database, &agents, true).await;
    spinner.finish_and_clear();
    let round = round?;
    for refreshed in &round.refreshed {
        notice(&format!("refreshed {refreshed}"));
    }
    if let Some((agent, words)) = round.failed.first() {
        bail!("{agent} could not be refreshed: {words}");
    }
    script.title("Its four tiles");
    script.print(&format!(
        "SELECT metric, value_30d, ci_low, ci_high, threshold, verdict, owner\n\
         FROM agent_kpi.cfo_tiles WHERE agent_id = {} ORDER BY position",
        literal(&agents[0])
    ));
    let found = tiles::look(database).await?;
    for tile in found
        .iter()
        .filter(|of| of.agent_id == agents[0])
        .flat_map(|of| &of.tiles)
    {
        notice(&format::tile(tile));
    }
    notice(
        "next: agent-metrics run --listen 127.0.0.1:8080 refreshes it and shows http://127.0.0.1:8080/",
    );
    notice("      agent-metrics doctor says what is missing");
    Ok(())
}

/// All that comes before the first refresh, in the transaction that is open.
async fn prepare(
    script: &Script<'_>,
    database: &Database,
    server: &Server,
    wishes: &Wishes,
    person: &Person,
) -> Result<String> {
    set_up(script, database, server).await?;
    script.title("Times that are compared, shown or made of text are in UTC here");
    script.run("SET LOCAL timezone = 'UTC'").await?;
    let mut agent = who(script, wishes, person).await?;
    let from = person.text(
        wishes.from.clone(),
        "--from",
        "where the turns are (a CSV or JSON lines file, a table)",
        None,
    )?;
    let source = Source::open(script, &from, &wishes.encoding).await?;
    match source.shape {
        Shape::Columns => {
            let (mut reading, form_without_zone) =
                turns::Reading::find(script, &source, &agent.id, wishes).await?;
            if let Some(form) = form_without_zone {
                let question =
                    format!("the zone of times that name none ({form}), such as Europe/Berlin");
                let usual = (agent.zone != "UTC").then_some(agent.zone.as_str());
                let zone =
                    person.text(wishes.time_zone.clone(), "--time-zone", &question, usual)?;
                check_zone(script, &zone).await?;
                reading.set_zone(&zone);
                agent.zone = zone;
            }
            register(script, &agent).await?;
            if let Some(labels) = reading.labels() {
                let labels = words::count(script, &labels).await?;
                words::map_labels(script, &labels, &wishes.label, person).await?;
            }
            ensure!(person.agrees("store these turns?")?, "nothing was done");
            reading.store(script).await?;
        }
        Shape::Events => {
            register(script, &agent).await?;
            ingest(script, &source, &agent, wishes, person).await?;
        }
    }
    if let Some(table) = person.perhaps(
        wishes.crm.clone(),
        "a table of the business (CRM, tickets), such as crm.tickets",
    )? {
        crm::attach(script, &table, wishes, person).await?;
    }
    let channel = "where alerts go, such as slack=AGENT_METRICS_SLACK_URL";
    if let Some(channel) = person.perhaps(wishes.channel.clone(), channel)? {
        add_channel(script, &channel).await?;
    }
    Ok(agent.id)
}

/// The extension and its tables, unless they are there: only their owner may make them.
async fn set_up(script: &Script<'_>, database: &Database, server: &Server) -> Result<()> {
    let installed = extension::Installed::look(database).await?;
    if installed.complaint(server.database()).is_none() {
        return Ok(());
    }
    script.title("The extension, its tables and views");
    script.print("CREATE EXTENSION IF NOT EXISTS agent_metrics");
    script.print("SELECT agent_metrics.setup()");
    let said = extension::setup(database, server).await?;
    notice(&said);
    Ok(())
}

/// Who the agent is: from the flags, else by asking.
async fn who(script: &Script<'_>, wishes: &Wishes, person: &Person) -> Result<Agent> {
    let id = person.text(
        wishes.agent.clone(),
        "--agent",
        "the agent's id, as its turns name it",
        None,
    )?;
    let rows = script
        .look(&format!(
            "SELECT a.kind, a.owner, a.time_zone FROM agent_metrics.agents a WHERE a.agent_id = {}",
            literal(&id)
        ))
        .await?;
    let (mut kind, mut owner, mut zone) = (None, None, "UTC".to_owned());
    if let Some(row) = rows.first() {
        (kind, owner, zone) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    }
    let kinds = script
        .look("SELECT k.kind, k.description FROM agent_metrics.agent_kinds k ORDER BY 1")
        .await?;
    let kinds: Vec<(String, String)> = kinds
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_>>()?;
    let kind = match wishes.kind.clone().or(kind) {
        Some(kind) => kind,
        None => {
            let items: Vec<String> = kinds
                .iter()
                .map(|(kind, says)| format!("{kind}: {says}"))
                .collect();
            match person.choice("its kind", &items)? {
                Some(place) => kinds[place].0.clone(),
                None => bail!("the agent's kind is not said: give --kind"),
            }
        }
    };
    let known: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    ensure!(
        known.contains(&kind.as_str()),
        "--kind {kind}: there is no such kind of agent; there are: {}",
        known.join(", ")
    );
    let owner = match wishes.owner.clone().or(owner) {
        Some(owner) => owner,
        None => person.text(
            None,
            "--owner",
            "who answers for its thresholds (a person, role or team)",
            None,
        )?,
    };
    if let Some(given) = &wishes.time_zone {
        check_zone(script, given).await?;
        zone.clone_from(given);
    }
    Ok(Agent {
        id,
        kind,
        owner,
        zone,
    })
}

async fn check_zone(script: &Script<'_>, zone: &str) -> Result<()> {
    let known = script
        .look(&format!(
            "SELECT FROM pg_timezone_names z WHERE z.name = {} LIMIT 1",
            literal(zone)
        ))
        .await?;
    ensure!(
        !known.is_empty(),
        "--time-zone {zone}: the server knows no such zone; a name such as Europe/Berlin is meant"
    );
    Ok(())
}

async fn register(script: &Script<'_>, agent: &Agent) -> Result<()> {
    script.title("The agent, its kind, and who answers for it");
    script
        .row(&format!(
            "SELECT agent_metrics.register_agent({}, {}, {}, time_zone => {})",
            literal(&agent.id),
            literal(&agent.kind),
            literal(&agent.owner),
            literal(&agent.zone)
        ))
        .await?;
    Ok(())
}

/// Whole events: they say themselves what is what.
async fn ingest(
    script: &Script<'_>,
    source: &Source,
    agent: &Agent,
    wishes: &Wishes,
    person: &Person,
) -> Result<()> {
    script.title("The turns. What cannot be stored is kept in quarantine, with the reason");
    let row = script
        .row(&format!(
            "SELECT sum(i.stored)::bigint, sum(i.repeated)::bigint, sum(i.quarantined)::bigint\n\
             FROM {} CROSS JOIN LATERAL agent_metrics.ingest_events(s.line) i",
            source.relation
        ))
        .await?;
    let count = |place| {
        row.try_get::<_, Option<i64>>(place)
            .map(Option::unwrap_or_default)
    };
    notice(&format!(
        "{}: {} turns are stored, {} were here before, {} are in quarantine",
        source.title,
        count(0)?,
        count(1)?,
        count(2)?
    ));
    let id = literal(&agent.id);
    let found = script
        .look(&format!(
            "SELECT e.agent_id FROM agent_metrics.agent_events e
             GROUP BY 1 ORDER BY e.agent_id <> {id}, count(*) DESC LIMIT 20"
        ))
        .await?;
    let found: Vec<String> = found
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    ensure!(
        found.first().is_some_and(|first| *first == agent.id),
        "no turn of {} is of {}; there are turns of: {}. Give one of them as --agent",
        source.title,
        agent.id,
        found.join(", ")
    );
    let labels = format!(
        "SELECT e.outcome_label, count(*) FROM agent_metrics.agent_events e
         WHERE e.agent_id = {id} AND e.outcome_label IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    );
    let labels = words::count(script, &labels).await?;
    words::map_labels(script, &labels, &wishes.label, person).await
}

/// A channel for alerts. Its address is the program's to know: here is the name of the variable that has it.
async fn add_channel(script: &Script<'_>, channel: &str) -> Result<()> {
    let Some((kind, variable)) = channel.split_once('=') else {
        bail!("--channel {channel}: KIND=VARIABLE is meant, such as slack=AGENT_METRICS_SLACK_URL");
    };
    ensure!(
        ["slack", "webhook"].contains(&kind),
        "--channel {channel}: there is no channel of kind {kind}; slack and webhook there are"
    );
    script.title("Where alerts go");
    script
        .count(&format!(
            "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)\nVALUES ({}, {}, {})\n\
             ON CONFLICT DO NOTHING",
            literal(kind),
            literal(kind),
            literal(variable)
        ))
        .await?;
    if std::env::var_os(variable).is_none() {
        notice(&format!(
            "{variable} is not set here: give it to the program that runs, and alerts arrive"
        ));
    }
    Ok(())
}

/// A line for the person.
fn notice(words: &str) {
    eprintln!("{}", text::shown(words));
}
