//! The turns: which column is which field, shown with what it says, checked over all rows, then stored.

use anyhow::{Result, bail, ensure};

use crate::program::arguments::Wishes;

use super::fields::{self, FIELDS, Field, Kind, Mapped};
use super::script::{Script, literal};
use super::source::Source;
use super::{moments, notice};

const UUID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// Names of a column that says whose turn it is.
const AGENT: &[&str] = &["agentid", "agent", "agentname", "bot", "botid", "botname"];

/// How a source's rows become turns.
pub struct Reading {
    agent: String,
    mapped: Vec<Mapped>,
    /// What a row has to be to be this agent's; empty: all are.
    filter: String,
    relation: String,
    identity: String,
    title: String,
    rows: i64,
}

impl Reading {
    /// Finds out how the rows are to be read, says it, and fails where a row says something else.
    pub async fn find(
        script: &Script<'_>,
        source: &Source,
        agent: &str,
        wishes: &Wishes,
    ) -> Result<(Self, Option<String>)> {
        let mut reading = Self {
            agent: agent.to_owned(),
            mapped: choose(source, wishes)?,
            filter: String::new(),
            relation: source.relation.clone(),
            identity: source.identity.clone(),
            title: source.title.clone(),
            rows: 0,
        };
        reading.filter = of_agent(script, source, agent, wishes).await?;
        let rows = script
            .look(&format!(
                "SELECT count(*) FROM {}{}",
                reading.relation, reading.filter
            ))
            .await?;
        reading.rows = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        ensure!(reading.rows > 0, "{} has no row", source.title);
        for required in &FIELDS[..2] {
            ensure!(
                reading.of(required.name).is_some(),
                "which column of {} is {}? Give --map {}=COLUMN; it has: {}",
                source.title,
                required.name,
                required.name,
                source.columns.join(", ")
            );
        }
        let mut words = String::new();
        let mut needs_zone = false;
        if let Some(place) = reading
            .mapped
            .iter()
            .position(|mapped| mapped.field.kind == Kind::Moment)
        {
            let found = moments::find(
                script,
                &reading.relation,
                &reading.mapped[place],
                wishes.time_format.as_deref(),
            )
            .await?;
            (words, needs_zone) = (found.words, found.needs_zone);
            reading.mapped[place].moment = found.sql;
        }
        reading.look(script).await?;
        reading.show(script, source, &words).await?;
        Ok((reading, needs_zone.then_some(words)))
    }

    /// Says in which zone moments are that name none.
    pub fn set_zone(&mut self, zone: &str) {
        for mapped in &mut self.mapped {
            if mapped.field.kind == Kind::Moment {
                mapped.moment = format!("({}) AT TIME ZONE {}", mapped.moment, literal(zone));
            }
        }
    }

    /// The column of a field.
    pub fn of(&self, field: &str) -> Option<&Mapped> {
        self.mapped.iter().find(|mapped| mapped.field.name == field)
    }

    /// Checks every row, and finds what the values say: ids that are uuids, what divides tools.
    async fn look(&mut self, script: &Script<'_>) -> Result<()> {
        let mut asked = Vec::new();
        for mapped in &self.mapped {
            let text = mapped.trimmed();
            asked.push(match (mapped.field.kind, mapped.pattern()) {
                (_, Some((pattern, _))) => {
                    let bad = format!("{text} !~* {}", literal(pattern));
                    format!(
                        "count(*) FILTER (WHERE {bad}) || ' ' || min({text}) FILTER (WHERE {bad})"
                    )
                }
                (Kind::Id, _) => format!("bool_and({text} ~* {})::text", literal(UUID)),
                (Kind::Tools, _) => format!(
                    "CASE WHEN bool_or({text} LIKE '%|%') THEN '|'
                          WHEN bool_or({text} LIKE '%;%') THEN ';' ELSE ',' END"
                ),
                _ if is_required(mapped.field) => {
                    format!("nullif(count(*) FILTER (WHERE {text} IS NULL), 0)::text")
                }
                _ => "NULL::text".to_owned(),
            });
        }
        let rows = script
            .look(&format!(
                "SELECT {} FROM {}{}",
                asked.join(", "),
                self.relation,
                self.filter
            ))
            .await?;
        let Some(row) = rows.first() else {
            bail!("{} cannot be read", self.title)
        };
        for (place, mapped) in self.mapped.iter_mut().enumerate() {
            let Some(found) = row.try_get::<_, Option<String>>(place)? else {
                continue;
            };
            if let Some((_, meant)) = mapped.pattern() {
                let (count, example) = found.split_once(' ').unwrap_or((&found, ""));
                bail!(
                    "column \"{column}\" is taken for {field}, and in {count} of {rows} rows it is no {meant}, such as \
                     \"{example}\": mend the rows, or leave the column out with --map {field}=",
                    column = mapped.column,
                    field = mapped.field.name,
                    rows = self.rows,
                );
            }
            match mapped.field.kind {
                Kind::Id => mapped.is_uuid = found == "true",
                Kind::Tools => mapped.separator = found.chars().next().unwrap_or(','),
                _ => bail!(
                    "{found} of {} rows have no {} (column \"{}\"), and a turn needs one: mend them, or name another \
                     column with --map {}=COLUMN",
                    self.rows,
                    mapped.field.name,
                    mapped.column,
                    mapped.field.name
                ),
            }
        }
        self.add_cached(script).await
    }

    /// Input tokens are all of them here. Who counts those of the cache apart says so by his names, or by numbers that
    /// cannot be otherwise.
    async fn add_cached(&mut self, script: &Script<'_>) -> Result<()> {
        let (Some(input), Some(cached)) = (
            self.of("token_usage_input"),
            self.of("token_usage_cache_read"),
        ) else {
            return Ok(());
        };
        let (input, cached) = (input.clone(), cached.clone());
        let rows = script
            .look(&format!(
                "SELECT coalesce(bool_or({}::numeric > {}::numeric), false) FROM {}{}",
                cached.trimmed(),
                input.trimmed(),
                self.relation,
                self.filter
            ))
            .await?;
        let is_more: bool = rows.first().map_or(Ok(false), |row| row.try_get(0))?;
        if !is_more && !fields::is_cache_apart(&cached.column) {
            return Ok(());
        }
        let mut sum = input.trimmed();
        for part in [Some(&cached), self.of("token_usage_cache_write")]
            .into_iter()
            .flatten()
        {
            sum = format!(
                "({sum}::numeric + coalesce({}::numeric, 0))::text",
                part.trimmed()
            );
        }
        for mapped in self
            .mapped
            .iter_mut()
            .filter(|mapped| mapped.field.name == "token_usage_input")
        {
            mapped.text = sum.clone();
            mapped.column = format!("{}, with those of the cache", mapped.column);
        }
        Ok(())
    }

    /// Shows how each column is understood.
    async fn show(&self, script: &Script<'_>, source: &Source, form: &str) -> Result<()> {
        let firsts: Vec<String> = source
            .columns
            .iter()
            .map(|column| {
                let text = source.text(column)?;
                Ok(format!(
                    "(SELECT left({text}, 40) FROM {} WHERE {text} <> '' LIMIT 1)",
                    self.relation
                ))
            })
            .collect::<Result<_>>()?;
        let rows = script
            .look(&format!("SELECT ARRAY[{}]::text[]", firsts.join(", ")))
            .await?;
        let examples: Vec<Option<String>> =
            rows.first().map_or(Ok(Vec::new()), |row| row.try_get(0))?;
        notice(&format!("{}: {} rows", self.title, self.rows));
        let width = source
            .columns
            .iter()
            .map(|column| column.chars().count())
            .max()
            .unwrap_or(0)
            .min(40);
        for (column, example) in source.columns.iter().zip(examples) {
            let mapped = self.mapped.iter().find(|mapped| {
                source
                    .text(column)
                    .is_ok_and(|text| mapped.text.contains(text))
            });
            let meaning = match mapped {
                Some(mapped) if mapped.field.kind == Kind::Moment => {
                    format!("occurred_at ({form})")
                }
                Some(mapped) => mapped.field.name.to_owned(),
                None => "(left out)".to_owned(),
            };
            notice(&format!(
                "  {column:<width$}  {meaning:<28}  {}",
                example.unwrap_or_default()
            ));
        }
        let absent: Vec<&str> = [
            "model",
            "outcome_label",
            "latency_ms",
            "token_usage_input",
            "token_usage_output",
        ]
        .into_iter()
        .filter(|field| self.of(field).is_none())
        .collect();
        if self.of("cost_usd").is_none() {
            notice(
                "  no column is taken for cost_usd: turns are priced from agent_metrics.token_prices",
            );
        }
        if !absent.is_empty() {
            notice(&format!(
                "  no column is taken for {}; --map FIELD=COLUMN names one",
                absent.join(", ")
            ));
        }
        Ok(())
    }

    /// SQL of the labels and how often each occurs; None: no column has them.
    pub fn labels(&self) -> Option<String> {
        let label = self.of("outcome_label")?.trimmed();
        Some(format!(
            "SELECT {label}, count(*) FROM {}{} GROUP BY 1 HAVING {label} IS NOT NULL ORDER BY 2 DESC, 1",
            self.relation, self.filter
        ))
    }

    /// Stores the turns. A row that is here already is not stored again.
    pub async fn store(&self, script: &Script<'_>) -> Result<()> {
        let agent = literal(&self.agent);
        let mut names = vec!["agent_id"];
        let mut values = vec![agent.clone()];
        for mapped in &self.mapped {
            names.push(mapped.field.name);
            values.push(mapped.value(&agent));
        }
        if self.of("event_id").is_none() {
            names.push("event_id");
            values.push(format!("md5({agent} || '/' || {})::uuid", self.identity));
        }
        script.title(
            "The turns. Each has an id that comes from its row: run again, no turn is stored twice",
        );
        let stored = script
            .count(&format!(
                "INSERT INTO agent_metrics.agent_events (\n    {})\nSELECT {}\nFROM {}{}\nON CONFLICT DO NOTHING",
                names.join(", "),
                values.join(",\n       "),
                self.relation,
                self.filter
            ))
            .await?;
        let repeated = self.rows.saturating_sub(i64::try_from(stored)?);
        notice(&match repeated {
            0 => format!("{stored} turns are stored"),
            _ => format!(
                "{stored} turns are stored; {repeated} rows were stored before, or repeat another"
            ),
        });
        Ok(())
    }
}

fn is_required(field: &Field) -> bool {
    FIELDS[..2]
        .iter()
        .any(|required| required.name == field.name)
}

/// What --map says of a field, and for the others what the columns' names say.
fn choose(source: &Source, wishes: &Wishes) -> Result<Vec<Mapped>> {
    let mut given = Vec::new();
    for map in &wishes.map {
        let Some((field, column)) = map.split_once('=') else {
            bail!("--map {map} has no =: --map FIELD=COLUMN, or FIELD= to leave a field empty");
        };
        if field == "agent_id" {
            continue;
        }
        let Some(field) = fields::of_name(field) else {
            let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
            bail!(
                "--map {map}: a turn has no {field}; it has: agent_id, {}",
                known.join(", ")
            );
        };
        given.push((field, column));
    }
    let mut mapped: Vec<Mapped> = Vec::new();
    for field in FIELDS {
        let (column, unit) = match given.iter().find(|(of, _)| of.name == field.name) {
            Some((_, "")) => continue,
            Some((_, column)) => match column.rsplit_once(':') {
                Some((column, unit)) if field.kind == Kind::Duration => (column.to_owned(), unit),
                _ => ((*column).to_owned(), "ms"),
            },
            None => {
                let free: Vec<String> = source
                    .columns
                    .iter()
                    .filter(|column| {
                        !mapped.iter().any(|mapped| mapped.column == **column)
                            && !given.iter().any(|(_, given)| given == column)
                    })
                    .cloned()
                    .collect();
                match field.among(&free) {
                    Some(column) => (column.clone(), "ms"),
                    None => continue,
                }
            }
        };
        mapped.push(Mapped {
            field,
            text: source.text(&column)?.to_owned(),
            column,
            factor: match unit {
                "ms" => "",
                "s" => " * 1000",
                "us" => " / 1000",
                "ns" => " / 1000000",
                _ => bail!("--map latency_ms=...:{unit}: a unit is s, ms, us or ns"),
            },
            moment: String::new(),
            separator: ',',
            is_uuid: false,
        });
    }
    Ok(mapped)
}

/// Where a column says whose turn it is: which rows are this agent's.
async fn of_agent(
    script: &Script<'_>,
    source: &Source,
    agent: &str,
    wishes: &Wishes,
) -> Result<String> {
    let given = wishes
        .map
        .iter()
        .find_map(|map| map.strip_prefix("agent_id="));
    let column = match given {
        Some("") => return Ok(String::new()),
        Some(column) => column,
        None => match fields::best(AGENT, &source.columns) {
            Some(column) => column,
            None => return Ok(String::new()),
        },
    };
    let text = format!("btrim({})", source.text(column)?);
    let rows = script
        .look(&format!(
            "SELECT {text}, count(*) FROM {} GROUP BY 1 ORDER BY {text} IS DISTINCT FROM {}, 2 DESC LIMIT 20",
            source.relation,
            literal(agent)
        ))
        .await?;
    let named: Vec<String> = rows
        .iter()
        .map(|row| {
            row.try_get::<_, Option<String>>(0)
                .map(Option::unwrap_or_default)
        })
        .collect::<Result<_, _>>()?;
    ensure!(
        named.first().is_some_and(|first| first == agent),
        "column \"{column}\" says whose turn it is, and none is {agent}'s; it has: {}. Give one of them as --agent, or \
         --map agent_id= if all rows are {agent}'s",
        named.join(", ")
    );
    if named.len() > 1 {
        notice(&format!(
            "rows of others in column \"{column}\" are left: {}",
            named[1..].join(", ")
        ));
    }
    Ok(format!(" WHERE {text} = {}", literal(agent)))
}
