//! The truth of a data set, computed from its files in plain Rust: it calls nothing of the extension and nothing of
//! `src`. `fixtures/sample.rs` holds it against the files of truth that other tools wrote, so both
//! are right or neither.

use std::collections::{BTreeMap, BTreeSet};

use super::fixtures::{Row, rows};

/// Labels that are a success.
const SUCCESSES: [&str; 4] = ["success", "booked", "resolved", "completed"];

/// Two-sided 95 %.
const Z: f64 = 1.959963984540054;

/// The rows of a truth file; None where the data are not.
pub fn computed(dataset: &str, file: &str) -> Option<Vec<Row>> {
    let of = |name: &str| rows(&format!("{dataset}/{name}"));
    let turns = || of("agent_events.csv");
    let latencies = || of("latencies.csv");
    Some(match file {
        "truth_by_agent_day.csv" => {
            let turns = turns()?;
            let days = first_days(&turns);
            by_group(&turns, "conversation_day", |turn| {
                days[&conversation(turn)].clone()
            })
        }
        "truth_by_agent_version.csv" => by_group(&turns()?, "agent_version", |turn| {
            turn["agent_version"].clone()
        }),
        "truth_tool_calls.csv" => tool_calls(&turns()?),
        "truth_business_by_day.csv" => business_by_day(&of("business_events.csv")?),
        // a real file says of itself what its groups are
        "truth_quantiles.csv" if dataset == "llmperf" => {
            quantiles_of(&latencies()?, "agent_version")
        }
        "truth_quantiles.csv" => quantiles_of(&latencies()?, "service"),
        "truth_runs.csv" => runs(&of("eval_results.csv")?),
        "truth_mcnemar.csv" => mcnemar(&of("eval_results.csv")?),
        _ => panic!("nobody computes {file}"),
    })
}

fn number(text: &str) -> Option<f64> {
    (!text.is_empty()).then(|| text.parse().unwrap_or_else(|_| panic!("{text}")))
}

fn text(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}

fn conversation(turn: &Row) -> (String, String) {
    (turn["agent"].clone(), turn["conversation_id"].clone())
}

/// The day of each conversation's first turn; "all" where turns have no time.
fn first_days(turns: &[Row]) -> BTreeMap<(String, String), String> {
    let mut days = BTreeMap::new();
    for turn in turns {
        let day = turn["event_ts"].get(..10).unwrap_or("all");
        let first = days
            .entry(conversation(turn))
            .or_insert_with(|| day.to_owned());
        if day < first.as_str() {
            day.clone_into(first);
        }
    }
    days
}

/// Adds the Wilson bounds of a share.
fn share(row: &mut Row, hits: usize, of: usize, name: &str) {
    let (hits, of) = (hits as f64, of as f64);
    let bounds = ratio(hits, of).map(|p| {
        let centre = p + Z * Z / (2.0 * of);
        let half = Z * (p * (1.0 - p) / of + Z * Z / (4.0 * of * of)).sqrt();
        let below = 1.0 + Z * Z / of;
        ((centre - half) / below, (centre + half) / below)
    });
    row.insert(name.into(), text(ratio(hits, of)));
    row.insert("wilson_lo".into(), text(bounds.map(|(low, _)| low)));
    row.insert("wilson_hi".into(), text(bounds.map(|(_, high)| high)));
}

/// Adds count, mean and percentiles of some values: the nearest rank, and with interpolation between two.
fn quantiles(row: &mut Row, prefix: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    row.insert(format!("{prefix}_n"), count.to_string());
    let mean = ratio(values.iter().sum(), count as f64);
    row.insert(format!("{prefix}_mean"), text(mean));
    for percent in [50, 75, 90, 95, 99] {
        // whole numbers, so that no rank is off by the last bit of a product
        let nearest = (count * percent).div_ceil(100).max(1) - 1;
        row.insert(
            format!("{prefix}_p{percent}_nearest"),
            text(values.get(nearest).copied()),
        );
        let linear = (count > 0).then(|| {
            let (whole, part) = ((count - 1) * percent / 100, (count - 1) * percent % 100);
            let (low, high) = (values[whole], values[(whole + 1).min(count - 1)]);
            low + (high - low) * part as f64 / 100.0
        });
        row.insert(format!("{prefix}_p{percent}_linear"), text(linear));
    }
}

/// The figures of turns and their conversations, by agent and another group.
fn by_group(turns: &[Row], column: &str, group: impl Fn(&Row) -> String) -> Vec<Row> {
    let mut groups = BTreeMap::<(String, String), Vec<&Row>>::new();
    for turn in turns {
        let key = (turn["agent"].clone(), group(turn));
        groups.entry(key).or_default().push(turn);
    }
    groups
        .into_iter()
        .map(|((agent, group), turns)| {
            let mut row = Row::from([("agent".into(), agent), (column.into(), group)]);
            figures(&mut row, &turns);
            row
        })
        .collect()
}

fn figures(row: &mut Row, turns: &[&Row]) {
    let distinct = |column: &str| {
        turns
            .iter()
            .map(|turn| turn[column].as_str())
            .filter(|value| !value.is_empty())
            .collect::<BTreeSet<_>>()
            .len()
    };
    let sum = |column: &str| -> f64 { turns.iter().filter_map(|turn| number(&turn[column])).sum() };
    let labels: BTreeMap<&str, &str> = turns
        .iter()
        .filter(|turn| !turn["outcome_label"].is_empty())
        .map(|turn| {
            (
                turn["conversation_id"].as_str(),
                turn["outcome_label"].as_str(),
            )
        })
        .collect();
    let successes = labels
        .values()
        .filter(|label| SUCCESSES.contains(label))
        .count();
    let calls: Vec<usize> = turns.iter().map(|turn| tools(turn).len()).collect();
    let (conversations, cost) = (distinct("conversation_id"), sum("cost_usd"));
    // no cost is known of any turn: then there is no cost of a success
    let cost_per_success = ratio(cost, successes as f64).filter(|_| cost > 0.0);
    for (name, value) in [
        ("turns", turns.len()),
        ("conversations", conversations),
        ("users", distinct("user_id")),
        ("labelled", labels.len()),
        ("successes", successes),
        ("tool_calls", calls.iter().sum()),
        (
            "turns_with_tools",
            calls.iter().filter(|calls| **calls > 0).count(),
        ),
        (
            "business_events",
            turns
                .iter()
                .filter(|turn| !turn["business_event_id"].is_empty())
                .count(),
        ),
    ] {
        row.insert(name.into(), value.to_string());
    }
    for (name, value) in [
        ("tokens_in", Some(sum("token_usage_input"))),
        ("tokens_out", Some(sum("token_usage_output"))),
        ("cost_usd", Some(cost)),
        ("cost_per_success", cost_per_success),
        ("cost_per_conversation", ratio(cost, conversations as f64)),
    ] {
        row.insert(name.into(), text(value));
    }
    share(row, successes, labels.len(), "success_rate");
    let latencies = turns.iter().filter_map(|turn| number(&turn["latency_ms"]));
    quantiles(row, "latency", latencies.collect());
}

fn tools(turn: &Row) -> Vec<String> {
    serde_json::from_str(&turn["tools_called"]).unwrap()
}

fn counted(keys: impl Iterator<Item = (String, String)>, names: [&str; 3]) -> Vec<Row> {
    let mut counts = BTreeMap::<(String, String), u32>::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    let row = |((a, b), count): ((String, String), u32)| {
        Row::from([
            (names[0].into(), a),
            (names[1].into(), b),
            (names[2].into(), count.to_string()),
        ])
    };
    counts.into_iter().map(row).collect()
}

fn tool_calls(turns: &[Row]) -> Vec<Row> {
    let calls = turns.iter().flat_map(|turn| {
        tools(turn)
            .into_iter()
            .map(|tool| (turn["agent"].clone(), tool))
    });
    counted(calls, ["agent", "tool", "calls"])
}

fn business_by_day(events: &[Row]) -> Vec<Row> {
    let days = events.iter().map(|event| {
        let day = event["occurred_at"].get(..10).unwrap_or("all");
        (event["event_type"].clone(), day.to_owned())
    });
    counted(days, ["event_type", "day", "events"])
}

/// Percentiles of four measures, by a group; what ended in an error is left out.
fn quantiles_of(requests: &[Row], column: &str) -> Vec<Row> {
    let mut groups = BTreeMap::<String, Vec<&Row>>::new();
    for request in requests {
        if request.get("ok").is_none_or(|ok| ok != "0") {
            let group = request[column].clone();
            groups.entry(group).or_default().push(request);
        }
    }
    let mut rows = Vec::new();
    for (group, requests) in groups {
        let mut row = Row::from([
            (column.into(), group),
            ("rows".into(), requests.len().to_string()),
        ]);
        for measure in [
            "latency_ms",
            "ttft_ms",
            "token_usage_input",
            "token_usage_output",
        ] {
            let values = requests
                .iter()
                .filter_map(|request| number(request.get(measure)?));
            quantiles(&mut row, measure, values.collect());
        }
        rows.push(row);
    }
    rows
}

/// Results that were graded, by run.
fn graded(results: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut runs = BTreeMap::<&str, Vec<&Row>>::new();
    for result in results.iter().filter(|result| !result["passed"].is_empty()) {
        runs.entry(&result["run_id"]).or_default().push(result);
    }
    runs
}

fn passed(result: &Row) -> bool {
    number(&result["passed"]) == Some(1.0)
}

fn runs(results: &[Row]) -> Vec<Row> {
    let row = |(run, results): (&str, Vec<&Row>)| {
        let hits = results.iter().filter(|result| passed(result)).count();
        let cost: f64 = results
            .iter()
            .filter_map(|result| number(&result["cost_usd"]))
            .sum();
        let mut row = Row::from([
            ("run_id".into(), run.to_owned()),
            ("cases".into(), results.len().to_string()),
            ("passed".into(), hits.to_string()),
            ("cost_usd".into(), cost.to_string()),
            (
                "cost_per_pass".into(),
                text(ratio(cost, hits as f64).filter(|_| cost > 0.0)),
            ),
        ]);
        share(&mut row, hits, results.len(), "pass_rate");
        let latencies = results
            .iter()
            .filter_map(|result| number(&result["latency_ms"]));
        quantiles(&mut row, "latency", latencies.collect());
        row
    };
    graded(results).into_iter().map(row).collect()
}

/// Each run against each later one, case by case.
fn mcnemar(results: &[Row]) -> Vec<Row> {
    let runs: Vec<(&str, BTreeMap<&str, bool>)> = graded(results)
        .into_iter()
        .map(|(run, results)| {
            let verdicts = results
                .iter()
                .map(|result| (result["case_id"].as_str(), passed(result)));
            (run, verdicts.collect())
        })
        .collect();
    let mut rows = Vec::new();
    for (index, (base, old)) in runs.iter().enumerate() {
        for (new, now) in &runs[index + 1..] {
            let pairs: Vec<(bool, bool)> = old
                .iter()
                .filter_map(|(case, old)| Some((*old, *now.get(case)?)))
                .collect();
            let count = |wanted: fn(&(bool, bool)) -> bool| {
                pairs.iter().filter(|pair| wanted(pair)).count()
            };
            let (broken, mended) = (
                count(|pair| pair.0 && !pair.1),
                count(|pair| !pair.0 && pair.1),
            );
            let (exact, mid) = sign_test(broken, mended);
            let (base_pass, new_pass) = (count(|pair| pair.0), count(|pair| pair.1));
            let points = 100.0 * (new_pass as f64 - base_pass as f64) / pairs.len() as f64;
            rows.push(Row::from(
                [
                    ("base", (*base).to_owned()),
                    ("new", (*new).to_owned()),
                    ("cases", pairs.len().to_string()),
                    ("base_pass", base_pass.to_string()),
                    ("new_pass", new_pass.to_string()),
                    ("diff_pp", points.to_string()),
                    ("regressed", broken.to_string()),
                    ("fixed", mended.to_string()),
                    ("mcnemar_exact_p", exact.to_string()),
                    ("mcnemar_midp", mid.to_string()),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            ));
        }
    }
    rows
}

/// McNemar's exact p and its mid-p: how likely a split as uneven as this one is with a fair coin; the mid-p counts half
/// of those that are exactly as uneven.
fn sign_test(broken: usize, mended: usize) -> (f64, f64) {
    let (n, fewer) = (broken + mended, broken.min(mended));
    // (n choose k) / 2^n, from one k to the next
    let (mut probability, mut tail) = (0.5f64.powi(n as i32), 0.0);
    for k in 0..=fewer {
        if k > 0 {
            probability *= (n + 1 - k) as f64 / k as f64;
        }
        tail += probability;
    }
    let exact = (2.0 * tail).min(1.0);
    let mid = if broken == mended {
        1.0 - probability / 2.0 // as uneven as this one is only this one
    } else {
        2.0 * tail - probability
    };
    (exact, mid)
}
