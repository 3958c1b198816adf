//! The aggregate `sum_turns(...)`: what turns add up to, by conversation, by bucket and by half hour, in one pass.
//!
//! A refresh reads what is new once. Three aggregates with GROUP BY would read it three times and hash each row's
//! texts as often; one that groups inside reads each row once. What it says is what `sum_conversations`,
//! `compute_live_turns` and `compute_spans` say in SQL of the same turns: `verify()` holds one against the other.
//! Here is what takes turns in; [`rows`] is what gives the sums out.

mod rows;

use crate::extension::abi::{Amount, Call, PgVec, sql_functions};
use crate::extension::error::SqlError;
use crate::extension::index::Index;
use crate::extension::sketch_aggregates::{self, SketchState};
use crate::extension::turns::{SOURCES, TOKENS_MAX, array_length};
use crate::extension::zones;
use crate::measures::usage::is_amount;
use crate::measures::zone::Level;
use pgrx::pg_sys::{Datum, MemoryContext};

/// Half an hour, by which spans are gathered and drawn out, in microseconds.
const HALF_HOUR: i64 = 1_800_000_000;
/// The longest a turn can last, in milliseconds: a day.
const LONGEST: f64 = 86_400_000.0;
/// No position in a list.
const NONE: u32 = u32::MAX;

/// Where a text lies in [`TurnSums::texts`].
#[derive(Clone, Copy)]
struct Text {
    start: usize,
    length: usize,
}

/// An outcome that a source said on a turn; of several the latest counts, as `latest()` has it.
struct Label {
    at: i64,
    position: Option<i32>,
    id: [u8; 16],
    value: Text,
}

struct Conversation {
    agent: usize,
    id: Text,
    is_new: bool,
    started_at: i64,
    ended_at: i64,
    turns: i64,
    token_turns: i64,
    tokens: i64,
    cost: Amount,
    user: Option<Text>,
    /// Positions in `labels`, by source.
    labels: [u32; SOURCES.len()],
    /// Position in `business_events` of the last one named.
    business_event: u32,
}

struct Bucket {
    agent: usize,
    start: i64,
    turns: i64,
    token_turns: i64,
    tokens_input: i64,
    tokens_output: i64,
    cost_turns: i64,
    tool_calls: i64,
    error_turns: i64,
    cost: Amount,
    latency: SketchState,
}

/// Turns that began within one half hour.
#[derive(Clone, Copy)]
struct Span {
    agent: usize,
    half_hour: i64,
    from: i64,
    to: i64,
    longest: i64,
}

/// The aggregate's state.
struct TurnSums {
    context: MemoryContext,
    texts: PgVec<u8>,
    agents: PgVec<Text>,
    agents_index: Index,
    conversations: PgVec<Conversation>,
    conversations_index: Index,
    labels: PgVec<Label>,
    /// A business event that a turn names, and the position of the one before it.
    business_events: PgVec<(Text, u32)>,
    buckets: PgVec<Bucket>,
    buckets_index: Index,
    spans: PgVec<Span>,
    spans_index: Index,
}

fn text(texts: &[u8], place: Text) -> &[u8] {
    texts
        .get(place.start..place.start + place.length)
        .unwrap_or_default()
}

fn keep(texts: &mut PgVec<u8>, value: &[u8]) -> Text {
    let start = texts.len();
    texts.extend(value);
    Text {
        start,
        length: value.len(),
    }
}

/// Positions of the arguments; the state is 0.
mod argument {
    pub const AGENT: usize = 1;
    pub const BUCKET_SECONDS: usize = 2;
    pub const TIME_ZONE: usize = 3;
    pub const CONVERSATION: usize = 4;
    pub const OCCURRED_AT: usize = 5;
    pub const USER: usize = 6;
    pub const LABEL: usize = 7;
    pub const SOURCE: usize = 8;
    pub const TURN_INDEX: usize = 9;
    pub const EVENT: usize = 10;
    pub const BUSINESS_EVENT: usize = 11;
    pub const TOKENS_INPUT: usize = 12;
    pub const TOKENS_OUTPUT: usize = 13;
    pub const COST: usize = 14;
    pub const LATENCY: usize = 15;
    pub const TOOLS: usize = 16;
    pub const HAS_ERROR: usize = 17;
    pub const IS_FOREIGN: usize = 18;
}

impl TurnSums {
    fn new(context: MemoryContext) -> Self {
        Self {
            context,
            texts: PgVec::new(context),
            agents: PgVec::new(context),
            agents_index: Index::new(context),
            conversations: PgVec::new(context),
            conversations_index: Index::new(context),
            labels: PgVec::new(context),
            business_events: PgVec::new(context),
            buckets: PgVec::new(context),
            buckets_index: Index::new(context),
            spans: PgVec::new(context),
            spans_index: Index::new(context),
        }
    }

    fn add(&mut self, call: &Call) -> Result<(), SqlError> {
        let agent = self.agent(call.bytes(argument::AGENT));
        self.add_to_conversation(call, agent);
        if !call.boolean(argument::IS_FOREIGN) {
            self.add_to_bucket(call, agent)?;
        }
        self.add_to_span(call, agent);
        Ok(())
    }

    fn agent(&mut self, id: &[u8]) -> usize {
        let (texts, agents) = (&self.texts, &self.agents);
        let (position, is_known) = self.agents_index.position(id, |position| {
            agents
                .get(position)
                .is_some_and(|agent| text(texts, *agent) == id)
        });
        if !is_known {
            let id = keep(&mut self.texts, id);
            self.agents.push(id);
        }
        position
    }

    fn add_to_conversation(&mut self, call: &Call, agent: usize) {
        let id = call.bytes(argument::CONVERSATION);
        let at = call.int8(argument::OCCURRED_AT);
        let (texts, conversations) = (&self.texts, &self.conversations);
        let (position, is_known) = self.conversations_index.position((agent, id), |position| {
            conversations.get(position).is_some_and(|conversation| {
                conversation.agent == agent && text(texts, conversation.id) == id
            })
        });
        if !is_known {
            let id = keep(&mut self.texts, id);
            self.conversations.push(Conversation {
                agent,
                id,
                is_new: true,
                started_at: at,
                ended_at: at,
                turns: 0,
                token_turns: 0,
                tokens: 0,
                cost: Amount::NONE,
                user: None,
                labels: [NONE; SOURCES.len()],
                business_event: NONE,
            });
        }
        let Some(conversation) = self.conversations.get_mut(position) else {
            return;
        };
        conversation.is_new &= !call.boolean(argument::IS_FOREIGN);
        conversation.started_at = conversation.started_at.min(at);
        conversation.ended_at = conversation.ended_at.max(at);
        conversation.turns += 1;
        let (input, output) = tokens(call);
        if input.is_some() || output.is_some() {
            conversation.token_turns += 1;
            conversation.tokens += input.unwrap_or(0) + output.unwrap_or(0);
        }
        if has_cost(call) {
            conversation.cost.add(call, argument::COST, self.context);
        }
        if !call.is_null(argument::USER) {
            let user = call.bytes(argument::USER);
            if conversation
                .user
                .is_none_or(|known| user < text(&self.texts, known))
            {
                conversation.user = Some(keep(&mut self.texts, user));
            }
        }
        if !call.is_null(argument::BUSINESS_EVENT) {
            let id = keep(&mut self.texts, call.bytes(argument::BUSINESS_EVENT));
            let before = conversation.business_event;
            conversation.business_event = self.business_events.len() as u32;
            self.business_events.push((id, before));
        }
        if call.is_null(argument::LABEL) {
            return;
        }
        let source = call.bytes(argument::SOURCE);
        let Some(said) = SOURCES
            .iter()
            .position(|known| *known == source)
            .and_then(|source| conversation.labels.get_mut(source))
        else {
            return;
        };
        let rank = (
            at,
            (!call.is_null(argument::TURN_INDEX)).then(|| call.int4(argument::TURN_INDEX)),
            call.uuid(argument::EVENT),
        );
        let known = self.labels.get_mut(*said as usize);
        if known
            .as_ref()
            .is_some_and(|known| rank <= (known.at, known.position, known.id))
        {
            return;
        }
        let label = Label {
            at: rank.0,
            position: rank.1,
            id: rank.2,
            value: keep(&mut self.texts, call.bytes(argument::LABEL)),
        };
        match known {
            Some(known) => *known = label,
            None => {
                *said = self.labels.len() as u32;
                self.labels.push(label);
            }
        }
    }

    fn add_to_bucket(&mut self, call: &Call, agent: usize) -> Result<(), SqlError> {
        let start = Self::bucket_start(call)?;
        let buckets = &self.buckets;
        let (position, is_known) = self.buckets_index.position((agent, start), |position| {
            buckets
                .get(position)
                .is_some_and(|bucket| bucket.agent == agent && bucket.start == start)
        });
        if !is_known {
            self.buckets.push(Bucket {
                agent,
                start,
                turns: 0,
                token_turns: 0,
                tokens_input: 0,
                tokens_output: 0,
                cost_turns: 0,
                tool_calls: 0,
                error_turns: 0,
                cost: Amount::NONE,
                latency: sketch_aggregates::empty(self.context),
            });
        }
        let Some(bucket) = self.buckets.get_mut(position) else {
            return Ok(());
        };
        bucket.turns += 1;
        let (input, output) = tokens(call);
        bucket.token_turns += i64::from(input.is_some() || output.is_some());
        bucket.tokens_input += input.unwrap_or(0);
        bucket.tokens_output += output.unwrap_or(0);
        if has_cost(call) {
            bucket.cost_turns += 1;
            bucket.cost.add(call, argument::COST, self.context);
        }
        if !call.is_null(argument::TOOLS) {
            bucket.tool_calls += i64::from(array_length(call.bytes(argument::TOOLS)));
        }
        bucket.error_turns += i64::from(call.boolean(argument::HAS_ERROR));
        if let Some(latency) = latency(call) {
            bucket.latency.add(latency)?;
        }
        Ok(())
    }

    /// The finest bucket that the turn lies in, as `finest_bucket()` has it.
    fn bucket_start(call: &Call) -> Result<i64, SqlError> {
        let at = call.int8(argument::OCCURRED_AT);
        let level = if call.int4(argument::BUCKET_SECONDS) == 300 {
            Level::Fine
        } else {
            Level::Hour
        };
        zones::in_zone(call.bytes(argument::TIME_ZONE), |zone| {
            zone.start(at, level)
        })
    }

    fn add_to_span(&mut self, call: &Call, agent: usize) {
        let from = call.int8(argument::OCCURRED_AT);
        // As the server multiplies an interval of a millisecond.
        let longest = (latency(call).unwrap_or(0.0).min(LONGEST) * 1000.0).round_ties_even() as i64;
        let to = from.saturating_add(longest).saturating_add(HALF_HOUR);
        let half_hour = from.div_euclid(HALF_HOUR);
        let spans = &self.spans;
        let (position, is_known) = self.spans_index.position((agent, half_hour), |position| {
            spans
                .get(position)
                .is_some_and(|span| span.agent == agent && span.half_hour == half_hour)
        });
        match self.spans.get_mut(position).filter(|_| is_known) {
            Some(span) => {
                span.from = span.from.min(from);
                span.to = span.to.max(to);
                span.longest = span.longest.max(longest);
            }
            None => self.spans.push(Span {
                agent,
                half_hour,
                from,
                to,
                longest,
            }),
        }
    }
}

// A turn of a partition that somebody loaded and attached has passed no trigger: what cannot be is taken for not known,
// as possible_latency() and its like have it in SQL.

fn tokens(call: &Call) -> (Option<i64>, Option<i64>) {
    let one = |position| {
        (!call.is_null(position))
            .then(|| call.int8(position))
            .filter(|tokens| (0..=TOKENS_MAX).contains(tokens))
    };
    (one(argument::TOKENS_INPUT), one(argument::TOKENS_OUTPUT))
}

fn latency(call: &Call) -> Option<f64> {
    (!call.is_null(argument::LATENCY))
        .then(|| call.float8(argument::LATENCY))
        .filter(|latency| latency.is_finite() && *latency >= 0.0)
}

fn has_cost(call: &Call) -> bool {
    !call.is_null(argument::COST) && is_amount(call.bytes(argument::COST))
}

sql_functions! {
    /// A turn for sum_turns(). Agent, bucket, conversation, time, id and flags are never NULL.
    fn turn_sums_accumulate(call) {
        let (datum, sums) = match call.state::<TurnSums>(0) {
            Some(sums) => (Datum::from(std::ptr::from_mut(sums)), sums),
            None => call.new_state(TurnSums::new)?,
        };
        if [argument::AGENT, argument::BUCKET_SECONDS,
            argument::TIME_ZONE, argument::CONVERSATION, argument::OCCURRED_AT, argument::SOURCE, argument::EVENT]
            .iter()
            .all(|position| !call.is_null(*position))
        {
            sums.add(call)?;
        }
        Ok(Some(datum))
    }

    /// The sums; NULL of no turns.
    fn turn_sums_final(call) {
        match call.state::<TurnSums>(0) {
            Some(sums) => sums.finish().map(Some),
            None => Ok(None),
        }
    }
}
