//! What the demo consists of: turns, business events, and labels that come late.

use chrono::{DateTime, Utc};

/// One turn, as a producer writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Agent.
    pub agent_id: &'static str,
    /// When the turn began.
    pub occurred_at: DateTime<Utc>,
    /// Conversation.
    pub conversation_id: String,
    /// User.
    pub user_id: String,
    /// What the user wanted.
    pub intent: &'static str,
    /// Tools called, as JSON.
    pub tools_called: Option<String>,
    /// Milliseconds.
    pub latency_ms: f64,
    /// Input and output tokens.
    pub tokens: Option<(i64, i64)>,
    /// Dollars.
    pub cost_usd: f64,
    /// Outcome, on the last turn.
    pub outcome_label: Option<&'static str>,
    /// Business event that the turn caused.
    pub business_event_id: Option<String>,
    /// Position in the conversation.
    pub turn_index: i32,
    /// Model that answered.
    pub model: Option<&'static str>,
    /// Version of the agent.
    pub agent_version: &'static str,
}

/// One business event.
#[derive(Debug, Clone, PartialEq)]
pub struct BusinessEvent {
    /// Its id.
    pub business_event_id: String,
    /// Its kind.
    pub kind: &'static str,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// Conversation it names; None: a turn names the event.
    pub conversation_id: Option<String>,
    /// Dollars.
    pub amount_usd: Option<f64>,
}

/// A label that comes after the first refresh.
#[derive(Debug, Clone, PartialEq)]
pub struct LateLabel {
    /// Agent.
    pub agent_id: &'static str,
    /// The turn that gets it.
    pub occurred_at: DateTime<Utc>,
    /// Its conversation.
    pub conversation_id: String,
    /// The label.
    pub label: &'static str,
}

/// Everything that happened.
#[derive(Debug, Default, PartialEq)]
pub struct Company {
    /// Turns of all agents.
    pub turns: Vec<Turn>,
    /// Business events.
    pub business_events: Vec<BusinessEvent>,
    /// Labels to apply after the first refresh.
    pub late_labels: Vec<LateLabel>,
}
