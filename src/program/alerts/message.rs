//! What a message says: Slack's blocks for people, plain JSON for programs.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::program::format::{self, encoded};

/// Alerts that one Slack message shows one by one; Slack takes fifty blocks.
const SHOWN: usize = 20;
/// Slack takes 3,000 characters a block and 150 in a header.
const LONGEST: usize = 2_000;

/// An alert as `claim_alerts` hands it out.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// Its id.
    pub alert_id: String,
    /// drift, eval_missing, decision_due, decision_overdue, gap_widened, breach.
    pub kind: String,
    /// Agent.
    pub agent_id: String,
    /// Its name, as people know it.
    pub agent_name: Option<String>,
    /// first, reminder or deputy.
    pub stage: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// His Slack id.
    pub owner_slack_id: Option<String>,
    /// His deputy, when it is his turn.
    pub deputy: Option<String>,
    /// The deputy's Slack id.
    pub deputy_slack_id: Option<String>,
    /// Where people reach the page.
    pub page_url: Option<String>,
    /// What was found, in words.
    #[serde(default)]
    pub summary: String,
    /// Metric it is about.
    pub metric: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// Everything else that was found.
    #[serde(flatten)]
    pub found: Map<String, Value>,
}

/// One message: an alert, or a digest of several.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// By which the receiver knows that it has it already.
    pub message_id: &'a str,
    /// Channel it goes to.
    pub channel: &'a str,
    /// Alerts in it.
    pub alerts: &'a [Alert],
}

impl Message<'_> {
    /// For programs.
    pub fn json(&self) -> Value {
        let alerts: Vec<Value> = self.alerts.iter().map(Alert::json).collect();
        json!({ "message_id": self.message_id, "channel": self.channel, "alerts": alerts })
    }

    /// Slack's Block Kit.
    pub fn slack(&self) -> Value {
        let mut blocks = Vec::new();
        let text = match self.alerts {
            [alert] => {
                blocks.push(header(alert.title()));
                blocks.push(section(&format!(
                    "{}\n{}",
                    escaped(&alert.summary),
                    alert.who()
                )));
                let fields: Vec<Value> = alert
                    .figures()
                    .iter()
                    .map(|(name, value)| json!({ "type": "mrkdwn", "text": format!("*{name}*\n{}", escaped(value)) }))
                    .collect();
                if !fields.is_empty() {
                    blocks.push(json!({ "type": "section", "fields": fields }));
                }
                blocks.push(section(&format!(
                    "{}To acknowledge: `{}`",
                    alert.slack_links(),
                    escaped(&alert.acknowledge())
                )));
                alert.summary.clone()
            }
            alerts => {
                let title = format!("{} alerts about AI agents", alerts.len());
                blocks.push(header(title.clone()));
                for alert in alerts.iter().take(SHOWN) {
                    let words = format!(
                        "{}: {}\n{} {}",
                        escaped(&alert.title()),
                        escaped(&alert.summary),
                        alert.who(),
                        alert.slack_links()
                    );
                    blocks.push(section(&words));
                }
                if alerts.len() > SHOWN {
                    blocks.push(section(&format!(
                        "and {} more in agent_kpi.alerts",
                        alerts.len() - SHOWN
                    )));
                }
                title
            }
        };
        json!({ "text": escaped(&text), "blocks": blocks })
    }
}

impl Alert {
    fn name(&self) -> &str {
        self.agent_name.as_deref().unwrap_or(&self.agent_id)
    }

    fn title(&self) -> String {
        let what = match self.kind.as_str() {
            "drift" => "drift",
            "eval_missing" => "no eval run",
            "decision_due" => "keep or replace?",
            "decision_overdue" => "decision overdue",
            "gap_widened" => "self-report gap widened",
            "breach" => "threshold breached",
            other => other,
        };
        let stage = match self.stage.as_str() {
            "first" => "",
            _ => ", not acknowledged yet",
        };
        format!("{}: {what}{stage}", self.name())
    }

    /// Metric, value, interval, threshold, as far as there are any.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let unit = self.unit.as_deref().unwrap_or("count");
        let number = |name: &str| self.found.get(name).and_then(Value::as_f64);
        let value = |name: &str| number(name).map(|value| format::value(Some(value), unit));
        let mut figures = vec![("Agent", self.agent_id.clone())];
        if let Some(metric) = &self.metric {
            figures.push(("Metric", metric.clone()));
        }
        if let Some(value) = value("value") {
            figures.push(("Value", value));
        }
        if let Some(previous) = value("previous") {
            figures.push(("Before", previous));
        }
        if let (Some(low), Some(high)) = (value("ci_low"), value("ci_high")) {
            figures.push(("Interval", format!("{low} to {high}")));
        }
        if let (Some(low), Some(high)) = (number("change_low"), number("change_high")) {
            figures.push((
                "Change, 95% interval",
                format!("{:+.1} to {:+.1} points", low * 100.0, high * 100.0),
            ));
        }
        if let Some(threshold) = value("threshold") {
            figures.push(("Threshold", threshold));
        }
        if let Some(tolerance) = number("tolerance") {
            figures.push((
                "Tolerance",
                format!(
                    "{tolerance} {}",
                    if unit == "fraction" {
                        "points"
                    } else {
                        "per cent"
                    }
                ),
            ));
        }
        if let Some(cases) = self
            .found
            .get("broken_cases")
            .and_then(Value::as_array)
            .filter(|cases| !cases.is_empty())
        {
            let shown: Vec<&str> = cases.iter().filter_map(Value::as_str).take(10).collect();
            figures.push(("Broken cases", shown.join(", ")));
        }
        figures
    }

    /// Who is called.
    fn who(&self) -> String {
        let owner = mention(self.owner.as_deref(), self.owner_slack_id.as_deref());
        let deputy = mention(self.deputy.as_deref(), self.deputy_slack_id.as_deref());
        match (owner, deputy) {
            (Some(owner), Some(deputy)) => format!("Owner: {owner}; deputy: {deputy}"),
            (Some(owner), None) => format!("Owner: {owner}"),
            _ => "Owner: nobody".to_owned(),
        }
    }

    /// The page, and the conversations or cases behind the metric.
    fn links(&self) -> Vec<(&'static str, String)> {
        let Some(page) = self
            .page_url
            .as_deref()
            .map(|url| url.trim_end_matches('/'))
        else {
            return Vec::new();
        };
        let mut links = vec![("page", format!("{page}/"))];
        if let Some(metric) = &self.metric {
            let name = if self.kind == "drift" {
                "broken_cases"
            } else {
                "failing_conversations"
            };
            links.push((
                name,
                format!(
                    "{page}/agents/{}/{}",
                    encoded(&self.agent_id),
                    encoded(metric)
                ),
            ));
        }
        links
    }

    fn slack_links(&self) -> String {
        self.links()
            .iter()
            .map(|(name, url)| format!("<{}|{}> ", escaped(url), name.replace('_', " ")))
            .collect()
    }

    /// The call that acknowledges it.
    fn acknowledge(&self) -> String {
        let quoted = |text: &str| text.replace('\'', "''");
        match self.found.get("breach_id") {
            Some(Value::String(id)) => format!(
                "SELECT agent_metrics.acknowledge('{}', 'your name', 'note');",
                quoted(id)
            ),
            Some(id) => format!("SELECT agent_metrics.acknowledge({id}, 'your name', 'note');"),
            None => format!(
                "SELECT agent_metrics.acknowledge_alert('{}', 'your name');",
                quoted(&self.alert_id)
            ),
        }
    }

    fn json(&self) -> Value {
        let links: Map<String, Value> = self
            .links()
            .into_iter()
            .map(|(name, url)| (name.to_owned(), url.into()))
            .collect();
        let mut all = self.found.clone();
        let named = json!({
            "alert_id": self.alert_id, "kind": self.kind, "agent_id": self.agent_id, "agent_name": self.name(),
            "stage": self.stage, "owner": self.owner, "deputy": self.deputy, "summary": self.summary,
            "metric": self.metric, "unit": self.unit, "links": links, "acknowledge": self.acknowledge(),
        });
        if let Value::Object(named) = named {
            all.extend(named);
        }
        Value::Object(all)
    }
}

/// A Slack mention of a member or a group; the name where there is no id.
fn mention(name: Option<&str>, slack_id: Option<&str>) -> Option<String> {
    let is_id = |id: &&str| {
        !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    match slack_id.filter(is_id) {
        Some(id) if id.starts_with('S') => Some(format!("<!subteam^{id}>")),
        Some(id) => Some(format!("<@{id}>")),
        None => name.map(escaped),
    }
}

fn header(text: String) -> Value {
    let text: String = text.chars().take(150).collect();
    json!({ "type": "header", "text": { "type": "plain_text", "text": text } })
}

fn section(text: &str) -> Value {
    let text: String = text.chars().take(LONGEST).collect();
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// Slack's three control characters, so that no name or label becomes a mention or a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(more: Value) -> Alert {
        let mut all = json!({ "alert_id": "a-1", "kind": "drift", "agent_id": "bot 1", "stage": "first",
                              "owner": "Head <!channel> of Support", "summary": "eval_success_rate fell & <!here>",
                              "metric": "eval_success_rate", "unit": "fraction", "value": 0.875, "previous": 0.92,
                              "change_low": -0.084, "change_high": -0.005, "tolerance": 2, "broken_cases": ["c1", "c2"],
                              "page_url": "https://agents.example/" });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        serde_json::from_value(all).unwrap()
    }

    fn slack(alerts: &[Alert]) -> String {
        Message {
            message_id: "m",
            channel: "c",
            alerts,
        }
        .slack()
        .to_string()
    }

    #[test]
    fn a_message_names_all_and_mentions_only_the_owner() {
        let text = slack(&[alert(json!({ "owner_slack_id": "U123" }))]);
        for words in [
            "<@U123>",
            "87.5",
            "92.0",
            "-8.4 to -0.5 points",
            "c1, c2",
            "<https://agents.example/agents/bot%201/eval_success_rate|broken cases>",
            "acknowledge_alert('a-1'",
        ] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
        let text = slack(&[alert(json!({
            "owner_slack_id": "U1> <!channel", "kind": "breach", "breach_id": 7, "threshold": 0.9, "ci_low": 0.8,
            "ci_high": 0.9
        }))]);
        assert!(
            !text.contains("<!channel")
                && !text.contains("<!here")
                && text.contains("&lt;!here&gt;"),
            "{text}"
        );
        assert!(
            text.contains("agent_metrics.acknowledge(7") && text.contains("failing conversations"),
            "{text}"
        );
        assert!(
            slack(&[alert(
                json!({ "deputy": "D", "deputy_slack_id": "S9", "stage": "deputy" })
            )])
            .contains("<!subteam^S9>")
        );
    }

    #[test]
    fn a_digest_is_one_message_that_slack_takes() {
        let many = vec![alert(json!({})); 60];
        let message = Message {
            message_id: "m",
            channel: "c",
            alerts: &many,
        };
        assert!(message.slack()["blocks"].as_array().unwrap().len() <= 50);
        assert!(message.slack().to_string().contains("and 40 more"));
        assert_eq!(message.json()["alerts"].as_array().unwrap().len(), 60);
        assert_eq!(
            message.json()["alerts"][0]["links"]["page"],
            "https://agents.example/"
        );
    }
}
