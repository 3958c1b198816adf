//! The business's own table, whose rows are events: which column is what, and what its kinds mean.

use anyhow::{Result, bail, ensure};

use crate::program::arguments::Wishes;

use super::ask::Person;
use super::relation::Relation;
use super::script::{Script, literal, name};
use super::{fields, notice, words};

/// What an event has, and how others call it.
const PARTS: &[(&str, &[&str])] = &[
    (
        "business_event_id",
        &[
            "businesseventid",
            "id",
            "ticketid",
            "leadid",
            "dealid",
            "orderid",
            "key",
            "uuid",
        ],
    ),
    (
        "occurred_at",
        &[
            "occurredat",
            "solvedat",
            "resolvedat",
            "closedat",
            "completedat",
            "bookedat",
            "happenedat",
            "eventat",
            "timestamp",
            "updatedat",
            "createdat",
        ],
    ),
    (
        "kind",
        &[
            "kind",
            "eventkind",
            "status",
            "state",
            "stage",
            "eventtype",
            "type",
        ],
    ),
    (
        "conversation_id",
        &[
            "conversationid",
            "conversation",
            "chatsession",
            "sessionid",
            "session",
            "chatid",
            "chat",
            "threadid",
            "thread",
            "callid",
        ],
    ),
    (
        "customer_id",
        &[
            "customerid",
            "customer",
            "requesterid",
            "requester",
            "contactid",
            "accountid",
            "leadid",
        ],
    ),
    ("amount_usd", &["amountusd", "revenueusd", "valueusd"]),
];

/// Attaches a table, once its words are mapped. One that is attached already stays as it is.
pub async fn attach(
    script: &Script<'_>,
    table: &str,
    wishes: &Wishes,
    person: &Person,
) -> Result<()> {
    let Some(Relation {
        name: table,
        columns,
        local,
        key,
        ..
    }) = Relation::find(script, table).await?
    else {
        bail!("there is no table {table} in this database; give --crm schema.table");
    };
    let attached = script
        .look(&format!(
            "SELECT FROM agent_kpi.attached_tables t WHERE t.source = {}",
            literal(&table)
        ))
        .await?;
    if !attached.is_empty() {
        notice(&format!("{table} is attached already"));
        return Ok(());
    }
    let parts = choose(&table, &columns, &key, wishes)?;
    notice(&format!("{table}: rows are events of the business"));
    for (part, column) in &parts {
        let note = if *part == "occurred_at" && local.contains(column) {
            " (has no zone: read as UTC)"
        } else {
            ""
        };
        notice(&format!("  {column:<20}  {part}{note}"));
    }
    let column = |wanted: &str| {
        parts
            .iter()
            .find(|(part, _)| *part == wanted)
            .map(|(_, column)| name(column))
    };
    if let (Some(kind), Some(at)) = (column("kind"), column("occurred_at")) {
        let found = words::count(
            script,
            &format!(
                "SELECT t.{kind}::text, count(*) FROM {table} t WHERE t.{kind} IS NOT NULL AND t.{at} IS NOT NULL
                 GROUP BY 1 ORDER BY 2 DESC, 1"
            ),
        )
        .await?;
        words::map_kinds(script, &found, &wishes.event, person).await?;
    }
    script.title("The business's own table: its rows are followed from now on");
    let arguments: Vec<String> = parts
        .iter()
        .map(|(part, column)| format!("{part} => {}", literal(column)))
        .collect();
    let row = script
        .row(&format!(
            "SELECT source, mode, inserted FROM agent_metrics.attach_business_events({}, {})",
            literal(&table),
            arguments.join(", ")
        ))
        .await?;
    let (mode, inserted): (String, i64) = (row.try_get(1)?, row.try_get(2)?);
    let followed = if mode == "trigger" {
        "each write is noted"
    } else {
        "it is compared"
    };
    notice(&format!(
        "{inserted} events of {table} are here, and {followed} before each refresh"
    ));
    Ok(())
}

/// What --crm-map says of a part, and for the others what the columns' names say.
fn choose(
    table: &str,
    columns: &[String],
    key: &[String],
    wishes: &Wishes,
) -> Result<Vec<(&'static str, String)>> {
    for map in &wishes.crm_map {
        let known = map
            .split_once('=')
            .is_some_and(|(part, _)| PARTS.iter().any(|(known, _)| *known == part));
        ensure!(
            known,
            "--crm-map {map}: PART=COLUMN is meant, PART one of {}",
            all_parts()
        );
    }
    let mut parts = Vec::new();
    for (part, names) in PARTS {
        let given = wishes
            .crm_map
            .iter()
            .filter_map(|map| map.split_once('='))
            .find(|(of, _)| of == part);
        let column = match given {
            Some((_, "")) => continue,
            Some((_, column)) => Some(column.to_owned()),
            None if *part == "business_event_id" && key.len() == 1 => key.first().cloned(),
            None => {
                let free: Vec<String> = columns
                    .iter()
                    .filter(|column| !parts.iter().any(|(_, taken)| taken == *column))
                    .cloned()
                    .collect();
                fields::best(names, &free).cloned()
            }
        };
        match column {
            Some(column) => parts.push((*part, column)),
            None if ["business_event_id", "occurred_at", "kind"].contains(part) => bail!(
                "which column of {table} is {part}? Give --crm-map {part}=COLUMN; it has: {}",
                columns.join(", ")
            ),
            None => {}
        }
    }
    Ok(parts)
}

fn all_parts() -> String {
    let parts: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
    parts.join(", ")
}
