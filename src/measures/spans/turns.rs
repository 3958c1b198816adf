//! The turns of a trace, as a function of the set of its spans that are known.

use super::calls::{add_tools, hand_down, unite};
use super::content::beginning;
use super::facts::{Attributes, Facts};
use super::said::{Kind, Said, first, first_text, kind_of, said};
use super::tree::{Node, Tree};
use super::usage::{Usage, usage};
use super::vocabulary::{Meaning, Vocabulary};
use crate::measures::limits::{ID_MAX, NAME_MAX};
use std::collections::{BTreeMap, HashSet};

/// First moment that a span can have begun, 2000-01-01, in nanoseconds since 1970.
const FIRST: u64 = 946_684_800_000_000_000;
/// Moments from 2000 to 2286, had they been counted in milliseconds.
const MILLISECONDS: std::ops::Range<u64> = 946_684_800_000..10_000_000_000_000;

/// A tool that was called.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The span of the call.
    pub span: String,
    /// Its name.
    pub name: String,
    /// Whether it went well.
    pub is_ok: bool,
}

/// A turn, or what waits to become one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// Its span.
    pub span: String,
    /// Spans whose turn it takes over, if they had one.
    pub replaced: Vec<String>,
    /// Why it waits; `None`: it is complete.
    pub missing: Option<String>,
    /// Who took it.
    pub agent: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
    /// Its conversation.
    pub conversation: Option<String>,
    /// Who the agent spoke with.
    pub user: Option<String>,
    /// When it began, in microseconds since 1970.
    pub occurred_at: i64,
    /// How long it took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Who runs the model.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Version of the prompt.
    pub prompt_version: Option<String>,
    /// Service tier.
    pub service_tier: Option<String>,
    /// Id of the response.
    pub response: Option<String>,
    /// Tokens and money.
    pub usage: Usage,
    /// Tools that it asked for, in the order in which they were called.
    pub tools: Vec<ToolCall>,
    /// It belongs to an experiment.
    pub is_eval: bool,
    /// What went wrong.
    pub error: Option<String>,
    /// Attributes that somebody asked to keep.
    pub attributes: Attributes,
}

/// A name with what decides between it and others.
type Ranked = Option<(i32, String)>;

/// What spans above a turn say for it.
#[derive(Clone, Default)]
struct Names {
    registered_name: Ranked,
    registered_id: Ranked,
    name: Ranked,
    id: Ranked,
    version: Ranked,
    user: Ranked,
    conversation: Ranked,
    is_eval: bool,
}

/// The nearer one, unless the farther one counts before it.
fn nearest(near: Ranked, far: &Ranked) -> Ranked {
    match (&near, far) {
        (Some(near), Some(far)) if far.0 < near.0 => Some(far.clone()),
        (None, Some(far)) => Some(far.clone()),
        _ => near,
    }
}

/// The first that is said with a meaning, with its rank.
fn ranked(all: &[Said], meaning: Meaning) -> Ranked {
    first(all, meaning).and_then(|said| Some((said.word.rank, said.text()?)))
}

/// What is needed to read a trace.
pub struct Reader<'a> {
    /// What attributes mean.
    pub vocabulary: &'a Vocabulary,
    /// Agents that are registered.
    pub registered: &'a HashSet<String>,
    /// Attributes that are kept with a turn.
    pub kept: &'a [String],
}

impl Reader<'_> {
    fn names(&self, all: &[Said], span_name: Option<String>) -> Names {
        let named = |meaning| all.iter().filter(move |said| said.word.meaning == meaning);
        let registered = |meaning| {
            named(meaning)
                .filter_map(|said| Some((said.word.rank, said.text()?)))
                .find(|(_, name)| self.registered.contains(name))
        };
        let by_span = span_name.map(|name| (20, name));
        let registered_name = registered(Meaning::AgentName).or_else(|| {
            by_span
                .clone()
                .filter(|(_, name)| self.registered.contains(name))
        });
        Names {
            registered_name,
            registered_id: registered(Meaning::AgentId),
            name: nearest(ranked(all, Meaning::AgentName), &by_span),
            id: ranked(all, Meaning::AgentId),
            version: ranked(all, Meaning::AgentVersion),
            user: ranked(all, Meaning::User),
            conversation: ranked(all, Meaning::Conversation),
            is_eval: named(Meaning::IsEval)
                .any(|said| said.text().is_some_and(|text| text != "false")),
        }
    }

    /// The turns of one trace, by the ids of their spans. Spans come in the order of their ids, each once.
    pub fn turns(&self, spans: &[(String, Facts)], mut tick: impl FnMut()) -> Vec<Turn> {
        let all: Vec<Vec<Said>> = spans
            .iter()
            .map(|(_, facts)| said(&facts.attributes, self.vocabulary))
            .collect();
        let nodes: Vec<Node> = spans
            .iter()
            .zip(&all)
            .map(|((id, facts), said)| Node {
                id,
                parent: &facts.parent,
                kind: kind_of(said),
                began: facts.began,
                is_log: facts.is_log,
            })
            .collect();
        tick();
        let tree = Tree::of(&nodes);
        let names = self.inherited(spans, &all, &nodes, &tree);
        tick();
        let mut turns: BTreeMap<usize, Turn> = BTreeMap::new();
        let mut usages: Vec<Result<Usage, String>> = all
            .iter()
            .zip(&nodes)
            .map(|(said, node)| match node.kind {
                Kind::ModelCall => usage(said),
                _ => Ok(Usage::default()),
            })
            .collect();
        let leaf = hand_down(&tree, &nodes, &mut usages);
        tick();
        for at in (0..spans.len()).filter(|at| tree.is_turn[*at]) {
            let said = |meaning| {
                // what the call does not say itself its wrapper may
                let mut here = Some(at);
                for _ in 0..8 {
                    let place = here?;
                    if let Some(text) = first_text(&all[place], meaning) {
                        return Some(text);
                    }
                    here = tree.wrapper[place];
                }
                None
            };
            let mut turn = Turn {
                span: spans[at].0.clone(),
                provider: said(Meaning::Provider),
                model: said(Meaning::Model),
                prompt_version: said(Meaning::PromptVersion),
                service_tier: said(Meaning::ServiceTier),
                response: said(Meaning::ResponseId).filter(|id| id.len() <= 200),
                ..Turn::default()
            };
            self.describe(
                &mut turn,
                &spans[at].1,
                &all[at],
                &names[at],
                usages[at].clone(),
            );
            turns.insert(at, turn);
        }
        self.fill_up(spans, &all, &nodes, &tree, &mut turns);
        let place = unite(&mut turns, &leaf, &tree, spans);
        tick();
        add_tools(spans, &all, &nodes, &tree, &place, &mut turns);
        let mut turns: Vec<Turn> = turns.into_values().collect();
        for turn in &mut turns {
            turn.missing = turn.missing.take().or_else(|| incomplete(turn));
        }
        turns
    }

    /// What each span says, together with those above it.
    fn inherited(
        &self,
        spans: &[(String, Facts)],
        all: &[Vec<Said>],
        nodes: &[Node],
        tree: &Tree,
    ) -> Vec<Names> {
        let mut names = vec![Names::default(); spans.len()];
        for &at in &tree.order {
            let facts = &spans[at].1;
            let mut own = self.names(&all[at], span_name(facts, nodes[at].kind, &all[at]));
            if let Some(parent) = tree.parents[at] {
                let above = &names[parent];
                own.registered_name = nearest(own.registered_name, &above.registered_name);
                own.registered_id = nearest(own.registered_id, &above.registered_id);
                own.name = nearest(own.name, &above.name);
                own.id = nearest(own.id, &above.id);
                own.version = nearest(own.version, &above.version);
                own.user = own.user.or_else(|| above.user.clone());
                // a delegate may have a session of its own: the outermost is the one that people know
                own.conversation = above.conversation.clone().or(own.conversation);
                own.is_eval |= above.is_eval;
            }
            names[at] = own;
        }
        names
    }

    fn describe(
        &self,
        turn: &mut Turn,
        facts: &Facts,
        all: &[Said],
        names: &Names,
        usage: Result<Usage, String>,
    ) {
        let resource = said(&facts.resource, self.vocabulary);
        let far = self.names(&resource, None);
        // a resource holds for a whole process: it is farther than whatever a span says
        let pick = |near: &Ranked, far: &Ranked| nearest(near.clone(), far).map(|(_, name)| name);
        turn.agent = pick(&names.registered_name, &far.registered_name)
            .or_else(|| pick(&names.registered_id, &far.registered_id))
            .or_else(|| pick(&names.name, &far.name))
            .or_else(|| pick(&names.id, &far.id));
        turn.agent_version = pick(&names.version, &far.version);
        turn.conversation = names
            .conversation
            .clone()
            .or(far.conversation)
            .map(|(_, name)| name);
        turn.user = names.user.clone().or(far.user).map(|(_, name)| name);
        turn.is_eval = names.is_eval || far.is_eval;
        turn.provider = turn
            .provider
            .take()
            .or_else(|| first_text(&resource, Meaning::Provider));
        turn.occurred_at = i64::try_from(facts.began / 1000).unwrap_or(0);
        turn.latency_ms = (facts.ended >= facts.began && facts.began > 0 && facts.ended > 0)
            .then(|| (facts.ended - facts.began) as f64 / 1_000_000.0)
            .or_else(|| first_text(all, Meaning::DurationMs)?.parse().ok())
            .filter(|latency: &f64| *latency >= 0.0 && latency.is_finite());
        turn.error = first_text(all, Meaning::Error)
            .or_else(|| facts.failure.clone())
            .map(|words| beginning(&words, 200).to_owned());
        for (name, value) in facts.resource.iter().chain(&facts.attributes) {
            if self.kept.contains(name) {
                turn.attributes.insert(name.clone(), value.clone());
            }
        }
        turn.missing = odd_moment(facts.began);
        match usage {
            Ok(usage) => turn.usage = usage,
            Err(reason) => turn.missing = turn.missing.take().or(Some(reason)),
        }
    }

    /// A span whose way to the root is broken, for one in between did not come: if all tops of the trace agree on a
    /// name, it is his too.
    fn fill_up(
        &self,
        spans: &[(String, Facts)],
        all: &[Vec<Said>],
        nodes: &[Node],
        tree: &Tree,
        turns: &mut BTreeMap<usize, Turn>,
    ) {
        if turns
            .values()
            .all(|turn| turn.agent.is_some() && turn.conversation.is_some())
        {
            return;
        }
        let tops = || (0..spans.len()).filter(|at| tree.parents[*at].is_none());
        let agent = only(tops().filter_map(|at| {
            let names = self.names(&all[at], span_name(&spans[at].1, nodes[at].kind, &all[at]));
            names
                .registered_name
                .or(names.registered_id)
                .or(names.name)
                .or(names.id)
                .map(|(_, name)| name)
        }));
        let conversation =
            only(tops().filter_map(|at| first_text(&all[at], Meaning::Conversation)));
        let user = only(tops().filter_map(|at| first_text(&all[at], Meaning::User)));
        let mut is_broken = vec![false; spans.len()];
        for &at in &tree.order {
            is_broken[at] = match tree.parents[at] {
                Some(parent) => is_broken[parent],
                None => !nodes[at].parent.is_empty(),
            };
        }
        for (_, turn) in turns.iter_mut().filter(|(at, _)| is_broken[**at]) {
            turn.agent = turn.agent.take().or_else(|| agent.clone());
            turn.conversation = turn.conversation.take().or_else(|| conversation.clone());
            turn.user = turn.user.take().or_else(|| user.clone());
        }
    }
}

/// What all agree on.
fn only(mut found: impl Iterator<Item = String>) -> Option<String> {
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The name of an agent that stands in the name of its span.
fn span_name(facts: &Facts, kind: Kind, all: &[Said]) -> Option<String> {
    if kind != Kind::Agent {
        return None;
    }
    let rest = facts
        .name
        .strip_prefix("invoke_agent")
        .or_else(|| facts.name.strip_prefix("create_agent"));
    let name = match rest {
        Some(rest) => rest.trim(),
        // these two name the span after the agent
        None if all.iter().any(|said| {
            said.word.meaning == Meaning::Agent
                && matches!(
                    said.attribute,
                    "openinference.span.kind" | "langfuse.observation.type"
                )
        }) =>
        {
            facts.name.trim()
        }
        None => "",
    };
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

fn odd_moment(began: u64) -> Option<String> {
    match began {
        0 => Some("no moment: startTimeUnixNano is missing, 0 or no number".to_owned()),
        _ if MILLISECONDS.contains(&began) => Some(format!(
            "no moment: startTimeUnixNano {began} counts milliseconds, not nanoseconds"
        )),
        _ if began < FIRST => Some(format!(
            "no moment: startTimeUnixNano {began} is before the year 2000"
        )),
        _ => None,
    }
}

fn incomplete(turn: &Turn) -> Option<String> {
    let too_long = |name: &str, value: &Option<String>, most: usize| {
        let bytes = value.as_ref()?.len();
        (bytes > most).then(|| format!("{name} is longer than {most} bytes"))
    };
    if turn.agent.is_none() {
        return Some("no agent_id".to_owned());
    }
    if turn.conversation.is_none() {
        return Some("no conversation_id".to_owned());
    }
    too_long("agent_id", &turn.agent, NAME_MAX)
        .or_else(|| too_long("conversation_id", &turn.conversation, ID_MAX))
        .or_else(|| too_long("user_id", &turn.user, ID_MAX))
        .or_else(|| too_long("agent_version", &turn.agent_version, NAME_MAX))
        .or_else(|| too_long("provider", &turn.provider, NAME_MAX))
        .or_else(|| too_long("model", &turn.model, NAME_MAX))
        .or_else(|| too_long("prompt_version", &turn.prompt_version, NAME_MAX))
        .or_else(|| too_long("service_tier", &turn.service_tier, NAME_MAX))
}
