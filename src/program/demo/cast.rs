//! Who is in the demo: three AI agents and a human team, and how each of them works.

/// How the day of an agent looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hours {
    /// Customers, around the clock, most of them by day.
    Customers,
    /// An office: nine to six.
    Office,
    /// Batches at night.
    Batches,
}

/// What becomes of its conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Tickets: resolved, escalated, abandoned.
    Tickets,
    /// Leads: qualified by the CRM, booked, lost.
    Leads,
    /// Tasks: completed, with or without a human step.
    Tasks,
}

/// One agent or team.
#[derive(Debug)]
pub struct Agent {
    /// Its id in the events.
    pub agent_id: &'static str,
    /// Its name.
    pub display_name: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// The role that owns its thresholds.
    pub owner: &'static str,
    /// `ai` or `human`.
    pub actor: &'static str,
    /// Time zone of its cadence.
    pub time_zone: &'static str,
    /// Vertical for benchmarks.
    pub vertical: &'static str,
    /// The human team it is set beside.
    pub baseline: Option<&'static str>,
    /// Begins its conversation ids.
    pub prefix: &'static str,
    /// Conversations on a weekday.
    pub conversations: f64,
    /// Share of them on a day of the weekend.
    pub weekend: f64,
    /// How its day looks.
    pub hours: Hours,
    /// Mean turns after the first.
    pub more_turns: f64,
    /// Median latency of a turn in milliseconds, and the spread of its logarithm.
    pub latency: (f64, f64),
    /// Median input and output tokens of a turn; None: no model at work.
    pub tokens: Option<(f64, f64)>,
    /// Median cost of a turn in dollars, where no tokens say it.
    pub turn_cost: f64,
    /// Model that answers.
    pub model: Option<&'static str>,
    /// What becomes of its conversations.
    pub work: Work,
    /// Share that succeeds, and that share in the last week.
    pub success: (f64, f64),
    /// How much slower its turns are in the last week.
    pub slowdown: f64,
    /// Share of successes in which a human took part.
    pub human_touch: f64,
    /// Days back on which it had no events.
    pub missing_day: Option<i64>,
    /// What users want of it.
    pub intents: &'static [&'static str],
    /// Tools it calls.
    pub tools: &'static [&'static str],
}

/// The company.
pub const AGENTS: &[Agent] = &[
    Agent {
        agent_id: "ops-agent",
        display_name: "Ops agent",
        kind: "ops",
        owner: "Head of Operations",
        actor: "ai",
        time_zone: "UTC",
        vertical: "internal ops",
        baseline: None,
        prefix: "ops",
        conversations: 110.0,
        weekend: 0.6,
        hours: Hours::Batches,
        more_turns: 1.5,
        latency: (1500.0, 0.5),
        tokens: Some((7000.0, 500.0)),
        turn_cost: 0.0,
        model: Some("small-model-2"),
        work: Work::Tasks,
        success: (0.966, 0.966),
        slowdown: 1.0,
        human_touch: 0.12,
        missing_day: Some(12),
        intents: &[
            "reconcile_invoice",
            "update_inventory",
            "onboard_vendor",
            "close_ticket",
        ],
        tools: &["read_ledger", "post_entry", "query_erp", "send_mail"],
    },
    Agent {
        agent_id: "sales-agent",
        display_name: "Sales agent",
        kind: "sales",
        owner: "Head of Sales",
        actor: "ai",
        time_zone: "America/New_York",
        vertical: "SaaS sales",
        baseline: None,
        prefix: "sal",
        conversations: 75.0,
        weekend: 0.2,
        hours: Hours::Office,
        more_turns: 4.0,
        latency: (750.0, 0.55),
        tokens: Some((16_000.0, 1_300.0)),
        turn_cost: 0.0,
        model: Some("large-model-4"),
        work: Work::Leads,
        success: (0.925, 0.925),
        slowdown: 1.0,
        human_touch: 0.0,
        missing_day: None,
        intents: &[
            "pricing",
            "demo_request",
            "comparison",
            "integration",
            "contract",
        ],
        tools: &[
            "lookup_account",
            "check_calendar",
            "book_meeting",
            "send_quote",
        ],
    },
    Agent {
        agent_id: "support-bot",
        display_name: "Support bot",
        kind: "support",
        owner: "Head of Support",
        actor: "ai",
        time_zone: "Europe/Berlin",
        vertical: "SaaS support",
        baseline: Some("support-team"),
        prefix: "sup",
        conversations: 230.0,
        weekend: 0.5,
        hours: Hours::Customers,
        more_turns: 2.8,
        latency: (850.0, 0.6),
        tokens: Some((12_000.0, 1_300.0)),
        turn_cost: 0.0,
        model: Some("large-model-4"),
        work: Work::Tickets,
        success: (0.934, 0.78),
        slowdown: 1.7,
        human_touch: 0.45,
        missing_day: None,
        intents: &[
            "order_status",
            "refund",
            "password",
            "billing",
            "bug_report",
            "cancel",
        ],
        tools: &[
            "lookup_order",
            "search_articles",
            "issue_refund",
            "reset_password",
        ],
    },
    Agent {
        agent_id: "support-team",
        display_name: "Support team",
        kind: "support",
        owner: "Head of Support",
        actor: "human",
        time_zone: "Europe/Berlin",
        vertical: "SaaS support",
        baseline: None,
        prefix: "team",
        conversations: 70.0,
        weekend: 0.15,
        hours: Hours::Office,
        more_turns: 2.2,
        latency: (95_000.0, 0.8),
        tokens: None,
        turn_cost: 1.9,
        model: None,
        work: Work::Tickets,
        success: (0.948, 0.948),
        slowdown: 1.0,
        human_touch: 1.0,
        missing_day: None,
        intents: &["refund", "billing", "bug_report", "cancel", "complaint"],
        tools: &[],
    },
];
