//! The pages as HTML. Maud escapes every value that it is given.

use maud::{Markup, html};

use super::frame::frame;
use super::{drift, spark};
use crate::program::format;
use crate::program::page::tiles::{Agent, Failing, Tile};

/// The one page: alerts, a line an agent, then its tiles.
pub fn overview(agents: &[Agent], recent: &[drift::Alert], now: &str) -> Markup {
    let title = "Agent performance";
    frame(
        title,
        html! {
            header {
                h1 { (title) }
                p.soft { "The last 30 full days of every AI agent, as of " (now) "." }
            }
            (drift::alerts(recent))
            @if agents.is_empty() {
                p.note {
                    "No AI agent is registered yet. Begin with "
                    code { "SELECT agent_metrics.register_agent('support-bot', 'support', 'Head of Support');" }
                }
            } @else {
                (summary(agents))
                @for agent in agents { (section(agent)) }
                p.note {
                    "A rate breaches or passes only when its whole 95% interval lies on one side \
                     of its threshold; until "
                    "then it is inconclusive. Conversations without an outcome are pending and in no rate. Dashed: the "
                    "threshold. Red dots: days on its wrong side."
                }
            }
        },
    )
}

/// The conversations that count against one tile.
pub fn failing(tile: &Tile, conversations: &[Failing], limit: i64) -> Markup {
    let title = format!("{}: {}", tile.display_name, format::metric(&tile.metric));
    let count = conversations.len();
    frame(
        &title,
        html! {
            header {
                p { a href="/" { "\u{2190} Agent performance" } }
                h1 { (title) }
                p {
                    (verdict(&tile.verdict)) " " (format::value(tile.value, &tile.unit)) " against "
                    (format::threshold(tile.threshold, &tile.direction, &tile.unit))
                    @if let Some(owner) = &tile.owner { ", owned by " (owner) }
                }
                @if let Some(definition) = &tile.definition { p.soft { (definition) } }
            }
            @if conversations.is_empty() {
                p.note { "No conversation counts against it." }
            } @else {
                p.note {
                    @if count as i64 == limit { "The newest " (count) " conversations that count against it." }
                    @else if count == 1 { "One conversation counts against it." }
                    @else { (count) " conversations count against it, newest first." }
                }
                div.scroll {
                    table {
                        thead {
                            tr {
                                th { "Conversation" } th { "Began" } th { "Outcome" } th { "Why it counts" }
                                th.number { "Turns" } th.number { "Cost" }
                            }
                        }
                        tbody {
                            @for one in conversations {
                                tr data-conversation=(one.conversation_id) {
                                    td { (one.conversation_id) }
                                    td { (format::moment(one.started_at.as_deref())) }
                                    td { (one.outcome_label.as_deref().unwrap_or("\u{2013}")) }
                                    td.wrap { (one.reason.as_deref().unwrap_or("\u{2013}")) }
                                    td.number { (one.turns) }
                                    td.number { (format::value(one.cost_usd, "usd")) }
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// A page with nothing but words.
pub fn message(title: &str, text: &str) -> Markup {
    frame(
        title,
        html! {
            header {
                p { a href="/" { "\u{2190} Agent performance" } }
                h1 { (title) }
                p.soft { (text) }
            }
        },
    )
}

fn summary(agents: &[Agent]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "Agent" }
                        th { "Capability" } th { "Economics" } th { "Outcome" } th { "Trust" }
                        th { "Refreshed" }
                    }
                }
                tbody {
                    @for agent in agents {
                        tr data-agent-line=(agent.agent_id) {
                            td { a href=(format!("#{}", anchor(&agent.agent_id))) { (agent.display_name) } }
                            @for class in ["capability", "economics", "outcome", "trust"] {
                                td {
                                    @for tile in agent.tiles.iter().filter(|tile| tile.metric_class == class) {
                                        span.(name(&tile.verdict)) title=(format::verdict(&tile.verdict)) {
                                            span.mark aria-hidden="true" { (mark(&tile.verdict)) }
                                            (format::verdict(&tile.verdict))
                                        }
                                        @if tile.value.is_some() { " " (format::value(tile.value, &tile.unit)) }
                                    }
                                }
                            }
                            td { (freshness(agent)) }
                        }
                    }
                }
            }
        }
    }
}

fn section(agent: &Agent) -> Markup {
    html! {
        section.agent id=(anchor(&agent.agent_id)) {
            header {
                h2 { (agent.display_name) }
                p.soft {
                    @if agent.display_name != agent.agent_id { (agent.agent_id) ", " }
                    (agent.agent_kind)
                }
                p.fresh.soft { (freshness(agent)) }
            }
            div.tiles {
                @for tile in &agent.tiles { (card(tile)) }
            }
        }
    }
}

fn card(tile: &Tile) -> Markup {
    let has_days = tile.spark.iter().any(|day| day.value.is_some());
    html! {
        article.tile data-agent=(tile.agent_id) data-metric=(tile.metric) data-verdict=(tile.verdict)
            data-value=(tile.value_text.as_deref().unwrap_or_default()) {
            div.top {
                span.class { (tile.metric_class) }
                (verdict(&tile.verdict))
            }
            h3 title=[tile.definition.as_deref()] { (format::metric(&tile.metric)) }
            p.value.none[tile.value.is_none()] { (format::value(tile.value, &tile.unit)) }
            p.target { (format::threshold(tile.threshold, &tile.direction, &tile.unit)) }
            figure {
                @if has_days { (spark::svg(tile)) } @else { div.empty { "No data in 30 days" } }
                @if let (Some(first), Some(last)) = (tile.spark.first(), tile.spark.last()) {
                    figcaption {
                        span { (first.day.format("%-d %b")) }
                        span { (last.day.format("%-d %b")) }
                    }
                }
            }
            dl {
                dt { "Previous 30 days" }
                dd {
                    (format::value(tile.previous, &tile.unit))
                    @match tile.has_improved() {
                        Some(true) => { " " span.better { "better now" } }
                        Some(false) => { " " span.worse { "worse now" } }
                        None => {}
                    }
                }
                @if let (Some(low), Some(high)) = (tile.ci_low, tile.ci_high) {
                    dt { "95% interval" }
                    dd { (format::value(Some(low), &tile.unit)) " to " (format::value(Some(high), &tile.unit)) }
                }
                @if let (Some(numerator), Some(denominator)) = (&tile.numerator, &tile.denominator) {
                    dt { "Counted" }
                    dd { (counted(numerator, denominator, &tile.unit)) }
                }
                @if let Some(pending) = tile.pending.filter(|pending| *pending > 0) {
                    dt { "Pending" }
                    dd { (format::decimals(pending as f64, 0)) }
                }
                @if let Some(needed) = tile.needed {
                    dt { "To settle it" }
                    dd { (format::decimals(needed as f64, 0)) " more" }
                }
                @if tile.benchmark.is_some() {
                    dt { "Benchmark" }
                    dd {
                        (format::value(tile.benchmark, &tile.unit))
                        @if tile.is_benchmark_verified != Some(true) {
                            small.unverified title="nobody has checked it against its source" { " not verified" }
                        }
                    }
                }
                dt { "Owner" }
                dd { (tile.owner.as_deref().unwrap_or("nobody")) }
            }
            footer {
                a href=(format!("/agents/{}/{}", format::encoded(&tile.agent_id), format::encoded(&tile.metric))) {
                    "Failing conversations"
                }
            }
        }
    }
}

fn verdict(verdict: &str) -> Markup {
    html! {
        span.verdict.(name(verdict)) {
            span.mark aria-hidden="true" { (mark(verdict)) }
            (format::verdict(verdict))
        }
    }
}

fn freshness(agent: &Agent) -> Markup {
    let Some(fresh) = &agent.freshness else {
        return html! { "\u{2013}" };
    };
    html! {
        span title=(format!("{}; cadence {}", format::moment(fresh.refreshed_at.as_deref()), fresh.cadence)) {
            @match (&fresh.refreshed_at, fresh.lag_seconds) {
                (Some(_), Some(lag)) => { (format::lag(lag)) " ago" }
                _ => "never",
            }
        }
        @if fresh.is_stale { " " span.stale { "stale" } }
    }
}

/// The class of a verdict: only the four that the style knows.
fn name(verdict: &str) -> &'static str {
    match verdict {
        "pass" => "pass",
        "breach" => "breach",
        "inconclusive" => "inconclusive",
        _ => "no_data",
    }
}

/// A sign beside the word, so that colour is not alone.
fn mark(verdict: &str) -> &'static str {
    match name(verdict) {
        "pass" => "\u{2713}",
        "breach" => "\u{2715}",
        "inconclusive" => "\u{2248}",
        _ => "\u{25cb}",
    }
}

/// A count or an amount as a person reads it.
fn amount(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) => format::decimals(number, if number.fract() == 0.0 { 0 } else { 2 }),
        Err(_) => text.to_owned(),
    }
}

/// Numerator and denominator in words: a share is `7 of 9`, money is spread over units.
fn counted(numerator: &str, denominator: &str, unit: &str) -> String {
    match (unit, numerator.parse::<f64>()) {
        ("usd", Ok(dollars)) => format!(
            "${} over {}",
            format::decimals(dollars, 2),
            amount(denominator)
        ),
        _ => format!("{} of {}", amount(numerator), amount(denominator)),
    }
}

/// An id for a link inside the page.
fn anchor(agent_id: &str) -> String {
    format!("agent-{}", format::encoded(agent_id).replace('%', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_escaped() {
        let page = message("<b>", "\"&<script>").into_string();
        assert!(page.contains("<h1>&lt;b&gt;</h1>") && page.contains("&quot;&amp;&lt;script&gt;"));
        assert!(!page.contains("<script>"));
    }
}
