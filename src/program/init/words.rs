//! What words mean: outcome labels of the turns, and kinds of the CRM's events. Each is mapped before anything counts;
//! what a word means is never guessed, since a wrong guess is a wrong number.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::ask::Person;
use super::notice;
use super::script::{Script, literal};

/// A word and how many rows have it.
pub type Word = (String, i64);

/// Reads rows of a word and its count.
pub async fn count(script: &Script<'_>, query: &str) -> Result<Vec<Word>> {
    let rows = script.look(query).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Words that may be meant, each with what it says.
async fn known(script: &Script<'_>, query: &str) -> Result<BTreeMap<String, String>> {
    let rows = script.look(query).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// More words than this are no labels and no kinds.
const MOST: usize = 100;

/// Pairs of a flag: `WORD=MEANING`.
fn pairs<'a>(flag: &str, given: &'a [String]) -> Result<BTreeMap<&'a str, &'a str>> {
    given
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some(pair) => Ok(pair),
            None => bail!("{flag} {pair} has no =: {flag} WORD=MEANING"),
        })
        .collect()
}

/// Asks for each word that nobody knows what it means, or takes it from the flag.
fn decide(
    flag: &str,
    what: &str,
    words: &[Word],
    known: &BTreeMap<String, String>,
    meanings: &BTreeMap<String, String>,
    given: &[String],
    person: &Person,
) -> Result<Vec<(String, String)>> {
    let given = pairs(flag, given)?;
    ensure!(
        words.len() <= MOST,
        "there are {} of what is taken for a {what}, such as \"{}\", and it is no more than {MOST} words that a {what} \
         is of: leave the column out, or name another, with --map or --crm-map",
        words.len(),
        words.first().map_or("", |(word, _)| word)
    );
    let (mut decided, mut open) = (Vec::new(), Vec::new());
    for (word, rows) in words {
        if let Some(meaning) = known.get(word) {
            notice(&format!("  {word:<20} {rows:>9} rows  {meaning}"));
            continue;
        }
        let meaning = match given.get(word.as_str()) {
            Some(meaning) => (*meaning).to_owned(),
            None => {
                let items: Vec<String> = meanings
                    .iter()
                    .map(|(name, says)| format!("{name}: {says}"))
                    .collect();
                match person.choice(&format!("{what} \"{word}\" ({rows} rows) means"), &items)? {
                    Some(place) => meanings.keys().nth(place).cloned().unwrap_or_default(),
                    None => {
                        open.push(format!("{flag} '{word}=...'"));
                        continue;
                    }
                }
            }
        };
        ensure!(
            meanings.contains_key(&meaning),
            "{flag} {word}={meaning}: \"{meaning}\" is no meaning; there are: {}",
            meanings.keys().cloned().collect::<Vec<_>>().join(", ")
        );
        notice(&format!("  {word:<20} {rows:>9} rows  {meaning}"));
        decided.push((word.clone(), meaning));
    }
    ensure!(
        open.is_empty(),
        "nobody knows what these mean, and what has no meaning is in no rate: give {}; each means one of: {}",
        open.join(" "),
        meanings.keys().cloned().collect::<Vec<_>>().join(", ")
    );
    Ok(decided)
}

/// Maps outcome labels: each counts as one that is known does.
pub async fn map_labels(
    script: &Script<'_>,
    words: &[Word],
    given: &[String],
    person: &Person,
) -> Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    let labels = known(
        script,
        "SELECT o.label, o.description FROM agent_metrics.outcomes o",
    )
    .await?;
    notice("labels, and what each counts as:");
    let decided = decide("--label", "label", words, &labels, &labels, given, person)?;
    if decided.is_empty() {
        return Ok(());
    }
    // Whatever an outcome can count as: columns that come later too.
    let rows = script
        .look(
            "SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = 'agent_metrics.outcomes'::regclass AND a.attname LIKE 'is\\_%' AND NOT a.attisdropped
             ORDER BY a.attnum",
        )
        .await?;
    let flags: Vec<String> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    script.title("What the labels count as");
    let values: Vec<String> = decided
        .iter()
        .map(|(word, as_one)| format!("({}, {})", literal(word), literal(as_one)))
        .collect();
    script
        .run(&format!(
            "INSERT INTO agent_metrics.outcomes (label, {flags}, description)\n\
             SELECT w.label, o.{of_other}, o.description\n\
             FROM (VALUES {}) w (label, means)\n\
             JOIN agent_metrics.outcomes o ON o.label = w.means\nON CONFLICT DO NOTHING",
            values.join(", "),
            flags = flags.join(", "),
            of_other = flags.join(", o."),
        ))
        .await
}

/// Maps kinds of the CRM's events.
pub async fn map_kinds(
    script: &Script<'_>,
    words: &[Word],
    given: &[String],
    person: &Person,
) -> Result<()> {
    let kinds = known(
        script,
        "SELECT k.kind, k.meaning FROM agent_metrics.event_kinds k",
    )
    .await?;
    // What is no outcome has the words of the kind that ships under its name.
    let meanings = known(
        script,
        "SELECT o.label, o.description FROM agent_metrics.outcomes o
         UNION ALL
         SELECT m.meaning, coalesce(k.description, 'It counts for nothing, on purpose.')
         FROM unnest(agent_metrics_internal.event_meanings()) AS m (meaning)
         LEFT JOIN agent_metrics.event_kinds k ON k.kind = m.meaning AND k.meaning = m.meaning",
    )
    .await?;
    notice("kinds of events, and what each means:");
    let decided = decide(
        "--event",
        "kind of event",
        words,
        &kinds,
        &meanings,
        given,
        person,
    )?;
    if decided.is_empty() {
        return Ok(());
    }
    script.title("What the CRM's words mean");
    let values: Vec<String> = decided
        .iter()
        .map(|(kind, meaning)| format!("({}, {})", literal(kind), literal(meaning)))
        .collect();
    script
        .run(&format!(
            "INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES\n    {}\nON CONFLICT DO NOTHING",
            values.join(",\n    ")
        ))
        .await
}
