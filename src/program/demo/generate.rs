//! The demo's events, made from a fixed seed: the same company on every machine, ending now.
//!
//! In it on purpose: weekdays and hours, latencies with a heavy tail, labels on the last turn, some of them late, some
//! misspelt, some missing; a week in which the support bot gets slower and worse; a day on which the ops agent did
//! not run; business events that name their conversation, and others that a turn names.

use chrono::{DateTime, Datelike, Duration, NaiveTime, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Poisson};

use super::cast::{AGENTS, Agent, Hours, Work};
use super::facts::{BusinessEvent, Company, LateLabel, Turn};

const DAYS: i64 = 90;
const SEED: u64 = 20_260_101;
/// Dollars a million input and output tokens cost.
const TOKEN_PRICES: (f64, f64) = (2.5, 12.5);
/// Share of the labels that come hours or days after their conversation.
const LATE_SHARE: f64 = 0.04;
/// Share of the conversations that never get one.
const UNLABELLED_SHARE: f64 = 0.012;

/// Ninety days of the company, ending at a moment.
pub fn company(now: DateTime<Utc>) -> Company {
    let mut company = Company::default();
    for (stream, agent) in (0_u64..).zip(AGENTS) {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        random.set_stream(stream);
        let mut teller = Teller {
            agent,
            now,
            random,
            told: 0,
            company: &mut company,
        };
        for days_back in (0..=DAYS).rev() {
            teller.day(days_back);
        }
    }
    company
}

/// Tells the story of one agent.
struct Teller<'a> {
    agent: &'static Agent,
    now: DateTime<Utc>,
    random: ChaCha8Rng,
    told: u32,
    company: &'a mut Company,
}

impl Teller<'_> {
    fn day(&mut self, days_back: i64) {
        let day = (self.now - Duration::days(days_back)).date_naive();
        let midnight = day.and_time(NaiveTime::MIN).and_utc();
        let share = if day.weekday().number_from_monday() > 5 {
            self.agent.weekend
        } else {
            1.0
        };
        let count = self.poisson(self.agent.conversations * share);
        for _ in 0..count {
            let start =
                midnight + Duration::milliseconds((self.hour_of_day() * 3_600_000.0) as i64);
            self.told += 1;
            if self.agent.missing_day != Some(days_back) && start < self.now {
                self.conversation(start, days_back <= 7);
            }
        }
    }

    fn conversation(&mut self, start: DateTime<Utc>, is_last_week: bool) {
        let agent = self.agent;
        let conversation_id = format!("{}-{:06}", agent.prefix, self.told);
        let user_id = format!(
            "user-{}-{}",
            agent.prefix,
            self.random.random_range(0..40_000)
        );
        let intent = agent
            .intents
            .get(self.random.random_range(0..agent.intents.len()))
            .copied()
            .unwrap_or("other");
        let success = if is_last_week {
            agent.success.1
        } else {
            agent.success.0
        };
        let slowdown = if is_last_week { agent.slowdown } else { 1.0 };
        let first = self.company.turns.len();
        let mut at = start;
        for turn_index in 0..=self.poisson(agent.more_turns) {
            if at >= self.now {
                break;
            }
            let turn = self.turn(
                at,
                &conversation_id,
                &user_id,
                intent,
                turn_index,
                slowdown,
                is_last_week,
            );
            at += Duration::milliseconds(turn.latency_ms as i64) + self.thinking_time();
            self.company.turns.push(turn);
        }
        let is_over = at < self.now;
        if is_over && self.company.turns.len() > first {
            self.ending(&conversation_id, at, success);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn turn(
        &mut self,
        occurred_at: DateTime<Utc>,
        conversation_id: &str,
        user_id: &str,
        intent: &'static str,
        turn_index: i32,
        slowdown: f64,
        is_last_week: bool,
    ) -> Turn {
        let agent = self.agent;
        let (median, spread) = agent.latency;
        let mut latency_ms = self.log_normal(median, spread) * slowdown;
        if self.random.random_bool(0.01) {
            latency_ms *= self.random.random_range(3.0..12.0);
        }
        let tokens = agent.tokens.map(|(input, output)| {
            // A conversation carries its history along.
            let input = self.log_normal(input, 0.35) * (1.0 + 0.12 * f64::from(turn_index));
            (input as i64, self.log_normal(output, 0.6) as i64)
        });
        let cost_usd = match tokens {
            Some((input, output)) => {
                (input as f64 * TOKEN_PRICES.0 + output as f64 * TOKEN_PRICES.1) / 1e6
            }
            None => self.log_normal(agent.turn_cost, 0.4),
        };
        Turn {
            agent_id: agent.agent_id,
            occurred_at,
            conversation_id: conversation_id.to_owned(),
            user_id: user_id.to_owned(),
            intent,
            tools_called: self.tools(),
            latency_ms: (latency_ms * 10.0).round() / 10.0,
            tokens,
            cost_usd,
            outcome_label: None,
            business_event_id: None,
            turn_index,
            model: agent.model,
            agent_version: if is_last_week && agent.slowdown > 1.0 {
                "2.4.0"
            } else {
                "2.3.1"
            },
        }
    }

    /// Labels the last turn told, and lets the business have its say.
    fn ending(&mut self, conversation_id: &str, at: DateTime<Utc>, success: f64) {
        let succeeds = self.random.random_bool(success);
        let is_rare = self.random.random_range(0.0..1.0);
        let label = match self.agent.work {
            Work::Tickets => self.ticket(conversation_id, at, succeeds),
            Work::Leads => self.lead(conversation_id, at, succeeds),
            Work::Tasks => self.task(conversation_id, at, succeeds),
        };
        // A typo is kept and listed; an unlabelled conversation is pending.
        let label = match is_rare {
            rare if rare < UNLABELLED_SHARE => return,
            rare if rare < UNLABELLED_SHARE + 0.0012 => match label {
                "resolved" => "resovled",
                "completed" => "complete",
                other => other,
            },
            _ => label,
        };
        let is_late = self.random.random_bool(LATE_SHARE);
        let Some(last) = self.company.turns.last_mut() else {
            return;
        };
        if is_late {
            self.company.late_labels.push(LateLabel {
                agent_id: self.agent.agent_id,
                occurred_at: last.occurred_at,
                conversation_id: conversation_id.to_owned(),
                label,
            });
        } else {
            last.outcome_label = Some(label);
        }
    }

    fn ticket(&mut self, conversation_id: &str, at: DateTime<Utc>, succeeds: bool) -> &'static str {
        let touched = self.random.random_bool(if succeeds {
            self.agent.human_touch
        } else {
            0.6
        });
        if touched {
            self.business_event("human_touch", at, 0.5, Some(conversation_id), None);
        }
        if succeeds {
            if self.random.random_bool(0.25) {
                self.business_event("ticket_resolved", at, 20.0, Some(conversation_id), None);
            }
            return "resolved";
        }
        match self.random.random_range(0..10) {
            0..5 => {
                self.business_event("ticket_escalated", at, 1.0, Some(conversation_id), None);
                "escalated"
            }
            5..8 => "failure",
            _ => "abandoned",
        }
    }

    fn lead(&mut self, conversation_id: &str, at: DateTime<Utc>, succeeds: bool) -> &'static str {
        if !succeeds {
            return if self.random.random_bool(0.5) {
                "abandoned"
            } else {
                "info_only"
            };
        }
        match self.random.random_range(0.0..1.0) {
            chance if chance < 0.24 => {
                // One half of the CRM's events name their conversation; the other half are named by a turn.
                if self.random.random_bool(0.5) {
                    self.business_event("lead_qualified", at, 40.0, Some(conversation_id), None);
                } else {
                    let id = self.business_event("lead_qualified", at, 40.0, None, None);
                    if let Some(last) = self.company.turns.last_mut() {
                        last.business_event_id = Some(id);
                    }
                }
                if self.random.random_bool(0.35) {
                    let amount = (self.log_normal(2_400.0, 0.6) * 100.0).round() / 100.0;
                    self.business_event(
                        "booking_completed",
                        at,
                        90.0,
                        Some(conversation_id),
                        Some(amount),
                    );
                }
            }
            chance if chance < 0.26 => {
                self.business_event("lead_disqualified", at, 40.0, Some(conversation_id), None);
            }
            _ => {}
        }
        "success"
    }

    fn task(&mut self, conversation_id: &str, at: DateTime<Utc>, succeeds: bool) -> &'static str {
        if self.random.random_bool(self.agent.human_touch) {
            self.business_event("human_touch", at, 2.0, Some(conversation_id), None);
        }
        if succeeds { "completed" } else { "failure" }
    }

    /// Writes a business event that comes some hours later, but not in the future, and returns its id.
    fn business_event(
        &mut self,
        kind: &'static str,
        at: DateTime<Utc>,
        hours: f64,
        conversation_id: Option<&str>,
        amount_usd: Option<f64>,
    ) -> String {
        let after = self.random.random_range(0.0..hours) * 3600.0;
        let business_event_id = format!("crm-{:06}", self.company.business_events.len() + 1);
        self.company.business_events.push(BusinessEvent {
            business_event_id: business_event_id.clone(),
            kind,
            occurred_at: (at + Duration::seconds(after as i64)).min(self.now),
            conversation_id: conversation_id.map(str::to_owned),
            amount_usd,
        });
        business_event_id
    }

    fn tools(&mut self) -> Option<String> {
        let tools = self.agent.tools;
        if tools.is_empty() || self.random.random_bool(0.4) {
            return None;
        }
        let tool = tools
            .get(self.random.random_range(0..tools.len()))
            .copied()
            .unwrap_or_default();
        let ok = self.random.random_bool(0.97);
        Some(format!(r#"[{{"name": "{tool}", "ok": {ok}}}]"#))
    }

    /// An hour of the day, such as 13.25, by the shape of the agent's day.
    fn hour_of_day(&mut self) -> f64 {
        loop {
            let hour: f64 = self.random.random_range(0.0..24.0);
            let weight = match self.agent.hours {
                Hours::Customers => 0.15 + 0.85 * bell(hour, 14.0, 4.5),
                Hours::Office => 0.02 + 0.98 * bell(hour, 13.5, 2.8),
                Hours::Batches => {
                    0.10 + 0.90 * bell(hour, 3.0, 1.8).max(0.5 * bell(hour, 18.0, 2.0))
                }
            };
            if self.random.random_bool(weight.clamp(0.0, 1.0)) {
                return hour;
            }
        }
    }

    fn thinking_time(&mut self) -> Duration {
        Duration::milliseconds((self.log_normal(25.0, 0.8) * 1000.0) as i64)
    }

    fn poisson(&mut self, mean: f64) -> i32 {
        Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(&mut self.random)) as i32
    }

    fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        LogNormal::new(median.max(f64::MIN_POSITIVE).ln(), spread)
            .map_or(median, |normal| normal.sample(&mut self.random))
    }
}

fn bell(hour: f64, middle: f64, width: f64) -> f64 {
    (-((hour - middle) / width).powi(2) / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-05-20T15:30:00Z")
            .unwrap()
            .to_utc()
    }

    #[test]
    fn the_company_is_the_same_every_time_and_of_the_right_size() {
        let company = company(now());
        assert!(company == super::company(now()));
        assert!(
            (100_000..160_000).contains(&company.turns.len()),
            "{} turns",
            company.turns.len()
        );
        assert!(
            company.late_labels.len() > 500,
            "{} late labels",
            company.late_labels.len()
        );
        let named_by_turns = company
            .turns
            .iter()
            .filter(|turn| turn.business_event_id.is_some())
            .count();
        assert!(named_by_turns > 200, "{named_by_turns}");
    }

    #[test]
    fn nothing_lies_in_the_future_and_a_label_is_on_the_last_turn() {
        let company = company(now());
        let first = now() - Duration::days(DAYS + 1);
        assert!(
            company
                .turns
                .iter()
                .all(|turn| (first..now()).contains(&turn.occurred_at))
        );
        assert!(
            company
                .business_events
                .iter()
                .all(|event| event.occurred_at <= now())
        );
        let mut last: HashMap<&str, &Turn> = HashMap::new();
        for turn in &company.turns {
            last.entry(&turn.conversation_id)
                .and_modify(|t| {
                    if turn.turn_index > t.turn_index {
                        *t = turn
                    }
                })
                .or_insert(turn);
        }
        assert!(
            company
                .turns
                .iter()
                .filter(|turn| turn.outcome_label.is_some())
                .all(|turn| last[turn.conversation_id.as_str()] == turn)
        );
        for late in &company.late_labels {
            let turn = last[late.conversation_id.as_str()];
            assert!(turn.outcome_label.is_none() && turn.occurred_at == late.occurred_at);
        }
    }

    #[test]
    fn the_ops_agent_misses_one_day() {
        let company = company(now());
        let days = |agent: &str| -> Vec<i64> {
            let back =
                |turn: &Turn| (now().date_naive() - turn.occurred_at.date_naive()).num_days();
            let seen: std::collections::BTreeSet<i64> = company
                .turns
                .iter()
                .filter(|turn| turn.agent_id == agent && turn.turn_index == 0)
                .map(back)
                .collect();
            (0..=DAYS).filter(|day| !seen.contains(day)).collect()
        };
        assert_eq!(days("ops-agent"), [12]);
        assert_eq!(days("support-bot"), [0_i64; 0]);
    }

    #[test]
    fn the_support_bot_gets_slower_and_worse_in_its_last_week() {
        let company = company(now());
        let week = now() - Duration::days(7);
        let bot = || {
            company
                .turns
                .iter()
                .filter(|turn| turn.agent_id == "support-bot")
        };
        let p95 = |is_last: bool| {
            let mut all: Vec<f64> = bot()
                .filter(|t| (t.occurred_at >= week) == is_last)
                .map(|t| t.latency_ms)
                .collect();
            all.sort_by(f64::total_cmp);
            all[all.len() * 95 / 100]
        };
        assert!(
            p95(false) < 3000.0 && p95(true) > 3000.0,
            "{} {}",
            p95(false),
            p95(true)
        );
        let success = |is_last: bool| {
            let labels: Vec<&str> = bot()
                .filter(|t| (t.occurred_at >= week) == is_last)
                .filter_map(|t| t.outcome_label)
                .collect();
            labels.iter().filter(|label| **label == "resolved").count() as f64 / labels.len() as f64
        };
        assert!(
            success(false) > 0.92 && success(true) < 0.90,
            "{} {}",
            success(false),
            success(true)
        );
    }
}
