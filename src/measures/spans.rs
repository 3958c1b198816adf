//! Which span of a delivery says what for which: names by the nearest ancestor, tools to the turn that asked for them.
//!
//! Every span has one parent at most, which may be missing, itself, or below it. Each is visited a constant number of
//! times, so a chain of spans, a star, or a ring takes time in proportion to its spans.

pub mod content;

use std::collections::HashMap;

/// What a span can say for those below it.
pub const NAMES: usize = 5;

/// What a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A call of a model.
    Inference,
    /// A call of a tool.
    Tool,
    /// Anything else.
    Other,
}

/// A span, as far as its place among others goes. Spans come in the order that decides between equals.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Its trace.
    pub trace: &'a [u8],
    /// Its id, unique in the trace.
    pub id: &'a [u8],
    /// Id of its parent.
    pub parent: Option<&'a [u8]>,
    /// What it is.
    pub kind: Kind,
    /// When it began, if that is known.
    pub began: Option<i64>,
    /// A bit for each name that it says.
    pub says: u8,
}

/// Where a span belongs; positions count from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// For each name, who says it: the span itself or the nearest above it.
    pub named_by: [Option<usize>; NAMES],
    /// Whether it is a turn: a call of a model with none below it.
    pub is_turn: bool,
    /// The turn of a tool: the one above it, else one beside it, else one of its trace.
    pub turn: Option<usize>,
}

/// The nearest at or above each span that is marked. On a ring without a mark there is none.
fn nearest(parents: &[Option<usize>], is_marked: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    // Unknown; known; on the path that is being followed.
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Unknown,
        Known,
        Followed,
    }
    let mut states = vec![State::Unknown; parents.len()];
    let mut found = vec![None; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut next = Some(start);
        let answer = loop {
            let Some(here) = next else { break None };
            match states[here] {
                State::Known => break found[here],
                State::Followed => break None,
                State::Unknown if is_marked(here) => {
                    states[here] = State::Known;
                    found[here] = Some(here);
                    break Some(here);
                }
                State::Unknown => {
                    states[here] = State::Followed;
                    path.push(here);
                    next = parents[here];
                }
            }
        };
        for here in path.drain(..) {
            states[here] = State::Known;
            found[here] = answer;
        }
    }
    found
}

/// Turns that lie together, by the moment when they began; those whose moment is not known apart.
#[derive(Default)]
struct Turns {
    known: Vec<(i64, usize)>,
    unknown: Option<usize>,
}

impl Turns {
    fn add(&mut self, began: Option<i64>, position: usize) {
        match began {
            Some(began) => self.known.push((began, position)),
            None => {
                self.unknown.get_or_insert(position);
            }
        }
    }

    /// The last that began by a moment, else the first after it; of those of one moment the first in order.
    fn of(&self, moment: Option<i64>) -> Option<usize> {
        let Some(moment) = moment else {
            return self.known.first().map(|turn| turn.1).or(self.unknown);
        };
        if self.unknown.is_some() {
            return self.unknown;
        }
        let after = self.known.partition_point(|turn| turn.0 <= moment);
        let Some(last) = after.checked_sub(1).and_then(|last| self.known.get(last)) else {
            return self.known.first().map(|turn| turn.1);
        };
        let first = self.known.partition_point(|turn| turn.0 < last.0);
        self.known.get(first).map(|turn| turn.1)
    }
}

/// Where each span belongs.
pub fn link(spans: &[Span], mut tick: impl FnMut()) -> Vec<Link> {
    let places: HashMap<_, _> = (0..)
        .zip(spans)
        .map(|(position, span)| ((span.trace, span.id), position))
        .collect();
    let parents: Vec<Option<usize>> = spans
        .iter()
        .map(|span| places.get(&(span.trace, span.parent?)).copied())
        .collect();
    drop(places);
    tick();
    let mut links = vec![Link::default(); spans.len()];
    for name in 0..NAMES {
        let by = nearest(&parents, |at| spans[at].says >> name & 1 == 1);
        for (link, by) in links.iter_mut().zip(by) {
            link.named_by[name] = by;
        }
        tick();
    }
    // A span that calls a model above another repeats its tokens, so the lowest is the turn.
    let calls = nearest(&parents, |at| spans[at].kind == Kind::Inference);
    let above = |at: usize| parents[at].and_then(|parent| calls[parent]);
    for (link, span) in links.iter_mut().zip(spans) {
        link.is_turn = span.kind == Kind::Inference;
    }
    for (at, span) in spans.iter().enumerate() {
        if span.kind == Kind::Inference
            && let Some(upper) = above(at)
        {
            links[upper].is_turn = false;
        }
    }
    tick();
    let mut of_trace: HashMap<&[u8], Turns> = HashMap::new();
    let mut of_parent: HashMap<(&[u8], Option<&[u8]>), Turns> = HashMap::new();
    for (at, span) in spans
        .iter()
        .enumerate()
        .filter(|(at, _)| links[*at].is_turn)
    {
        of_trace.entry(span.trace).or_default().add(span.began, at);
        of_parent
            .entry((span.trace, span.parent))
            .or_default()
            .add(span.began, at);
    }
    for turns in of_trace.values_mut().chain(of_parent.values_mut()) {
        turns.known.sort_unstable();
    }
    tick();
    for (at, span) in spans
        .iter()
        .enumerate()
        .filter(|(_, span)| span.kind == Kind::Tool)
    {
        let beside = || of_parent.get(&(span.trace, span.parent))?.of(span.began);
        let anywhere = || of_trace.get(span.trace)?.of(span.began);
        links[at].turn = above(at)
            .filter(|turn| links[*turn].is_turn)
            .or_else(beside)
            .or_else(anywhere);
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: Kind = Kind::Inference;

    fn span<'a>(id: &'a str, parent: &'a str, kind: Kind, began: i64, says: u8) -> Span<'a> {
        Span {
            trace: b"t",
            id: id.as_bytes(),
            parent: Some(parent.as_bytes()).filter(|parent| !parent.is_empty()),
            kind,
            began: Some(began),
            says,
        }
    }

    fn turns(spans: &[Span]) -> Vec<Option<usize>> {
        link(spans, || ()).iter().map(|link| link.turn).collect()
    }

    #[test]
    fn a_tool_belongs_to_the_turn_above_it_then_beside_it_then_of_its_trace() {
        let spans = [
            span("a", "", Kind::Other, 0, 1),
            span("b", "a", CHAT, 1, 0),
            span("c", "a", CHAT, 5, 0),
            span("d", "b", Kind::Tool, 9, 0),
            span("e", "a", Kind::Tool, 4, 0),
            span("f", "a", Kind::Tool, 5, 0),
            span("g", "a", Kind::Tool, 0, 0),
            span("h", "x", Kind::Tool, 7, 0),
            Span {
                trace: b"other",
                ..span("i", "a", Kind::Tool, 7, 0)
            },
        ];
        let [d, e, f, g, h, i] = turns(&spans)[3..] else {
            panic!()
        };
        assert_eq!(
            [d, e, f, g, h, i],
            [Some(1), Some(1), Some(2), Some(1), Some(2), None]
        );
        let links = link(&spans, || ());
        assert_eq!(links[3].named_by, [Some(0), None, None, None, None]);
        assert_eq!(links[8].named_by, [None; NAMES]);
    }

    #[test]
    fn a_turn_has_no_other_below_it_and_rings_end() {
        let is_turn = |spans: &[Span]| -> Vec<bool> {
            link(spans, || ()).iter().map(|link| link.is_turn).collect()
        };
        let wrapped = [
            span("a", "", CHAT, 0, 0),
            span("b", "a", Kind::Other, 0, 0),
            span("c", "b", CHAT, 0, 0),
            span("d", "b", CHAT, 0, 0),
        ];
        assert_eq!(is_turn(&wrapped), [false, false, true, true]);
        let ring = [span("a", "b", CHAT, 0, 0), span("b", "a", CHAT, 0, 0)];
        assert_eq!(is_turn(&ring), [false, false]);
        assert_eq!(is_turn(&[span("a", "a", CHAT, 0, 0)]), [false]);
        let unnamed = [
            span("a", "b", CHAT, 0, 0),
            span("b", "a", Kind::Other, 0, 0),
        ];
        assert_eq!(link(&unnamed, || ())[0].named_by, [None; NAMES]);
        let named = [
            span("a", "b", Kind::Other, 0, 0),
            span("b", "a", Kind::Other, 0, 2),
        ];
        assert_eq!(link(&named, || ())[0].named_by[1], Some(1));
    }

    #[test]
    fn a_million_spans_in_a_chain_take_no_stack_and_no_square() {
        let ids: Vec<String> = (0..1_000_000).map(|n| n.to_string()).collect();
        let spans: Vec<Span> = (0..ids.len())
            .map(|n| {
                span(
                    &ids[n],
                    if n == 0 { "" } else { &ids[n - 1] },
                    Kind::Tool,
                    0,
                    u8::from(n == 0),
                )
            })
            .collect();
        assert!(
            link(&spans, || ())
                .iter()
                .all(|link| link.named_by[0] == Some(0))
        );
    }

    /// What the rules say, span by span, with no thought of time.
    fn slowly(spans: &[Span]) -> Vec<Link> {
        let parent = |at: usize| {
            spans
                .iter()
                .position(|span| span.trace == spans[at].trace && Some(span.id) == spans[at].parent)
        };
        let chain = |at: usize| -> Vec<usize> {
            let mut chain = vec![at];
            while let Some(next) = parent(chain[chain.len() - 1]).filter(|_| chain.len() < 64) {
                chain.push(next);
            }
            chain
        };
        let is_call = |at: &usize| spans[*at].kind == CHAT;
        let all: Vec<usize> = (0..spans.len()).collect();
        let is_above = |upper: usize, at: usize| chain(at)[1..].contains(&upper);
        let is_turn: Vec<bool> = all
            .iter()
            .map(|at| {
                is_call(at)
                    && !all
                        .iter()
                        .any(|below| is_call(below) && is_above(*at, *below))
            })
            .collect();
        all.iter()
            .map(|&at| {
                let tool = spans[at];
                let mut turns: Vec<usize> = all
                    .iter()
                    .copied()
                    .filter(|turn| is_turn[*turn] && spans[*turn].trace == tool.trace)
                    .collect();
                turns.sort_by_key(|&turn| {
                    let began = spans[turn].began;
                    let is_before = began.zip(tool.began).map(|(began, moment)| began <= moment);
                    (
                        !is_above(turn, at),
                        spans[turn].parent != tool.parent,
                        match is_before {
                            None => 0,
                            Some(true) => 1,
                            Some(false) => 2,
                        },
                        match (is_before, began) {
                            (Some(true), Some(began)) => -began,
                            (_, Some(began)) => began,
                            _ => i64::MAX,
                        },
                        turn,
                    )
                });
                Link {
                    named_by: std::array::from_fn(|name| {
                        chain(at)
                            .into_iter()
                            .find(|by| spans[*by].says >> name & 1 == 1)
                    }),
                    is_turn: is_turn[at],
                    turn: turns.first().copied().filter(|_| tool.kind == Kind::Tool),
                }
            })
            .collect()
    }

    #[test]
    fn random_spans_belong_where_the_rules_say() {
        let mut seed = 7_u64;
        let mut random = |most: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % most
        };
        let ids: Vec<String> = (0..12).map(|n| format!("s{n:02}")).collect();
        for _ in 0..3000 {
            let many = 1 + random(10);
            let spans: Vec<Span> = (0..many)
                .map(|n| Span {
                    trace: [b"t", b"u"][random(8) / 7],
                    id: ids[n].as_bytes(),
                    parent: (random(4) > 0).then(|| ids[random(12)].as_bytes()),
                    kind: [CHAT, Kind::Tool, Kind::Other][random(3)],
                    began: (random(9) > 0).then(|| random(5) as i64),
                    says: random(32) as u8 & random(32) as u8,
                })
                .collect();
            assert_eq!(link(&spans, || ()), slowly(&spans), "{spans:?}");
        }
    }
}
