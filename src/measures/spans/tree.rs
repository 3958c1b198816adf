//! Which span of a trace stands where: parents, calls of models above and below, turns before a tool.
//!
//! Every span has one parent at most, which may be missing, itself, or below it. A ring has no top: each of its spans
//! stands by itself. Each span is visited a constant number of times, so a chain, a star or a ring takes time in
//! proportion to its spans.

use super::said::Kind;
use std::collections::HashMap;

/// A span, as far as its place goes. Spans come in the order that decides between equals.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its id, unique in the trace.
    pub id: &'a str,
    /// Id of its parent; empty: none.
    pub parent: &'a str,
    /// What it is.
    pub kind: Kind,
    /// When it began; 0: not known.
    pub began: u64,
    /// A log record, which tells of a call beside the span of that call.
    pub is_log: bool,
}

/// Where spans stand. Positions are those of the spans.
#[derive(Debug, Default)]
pub struct Tree {
    /// The parent of each, where it is known and no ring leads back.
    pub parents: Vec<Option<usize>>,
    /// Parents before their children.
    pub order: Vec<usize>,
    /// The call of a model above each, with no agent and no tool between: it wraps the one below it.
    pub wrapper: Vec<Option<usize>>,
    /// The call of a model above each, whatever lies between.
    pub call_above: Vec<Option<usize>>,
    /// The call of a tool above each, with no agent and no call of a model between.
    pub tool_above: Vec<Option<usize>>,
    /// Whether it is a turn: a call of a model that wraps no other.
    pub is_turn: Vec<bool>,
}

/// The parents, without those of rings.
fn parents(nodes: &[Node]) -> Vec<Option<usize>> {
    let places: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (node.id, at))
        .collect();
    let mut parents: Vec<Option<usize>> = nodes
        .iter()
        .map(|node| {
            places
                .get(node.parent)
                .copied()
                .filter(|_| !node.parent.is_empty())
        })
        .collect();
    // 0: not seen; the number of the walk that came by first
    let mut seen = vec![0_usize; nodes.len()];
    for start in 0..nodes.len() {
        let walk = start + 1;
        let mut next = Some(start);
        while let Some(here) = next {
            if seen[here] == walk {
                // round again, and each loses its parent
                let mut member = here;
                while let Some(parent) = parents[member].take() {
                    member = parent;
                }
                break;
            }
            if seen[here] != 0 {
                break;
            }
            seen[here] = walk;
            next = parents[here];
        }
    }
    parents
}

impl Tree {
    /// Of the spans of one trace.
    pub fn of(nodes: &[Node]) -> Self {
        let count = nodes.len();
        let parents = parents(nodes);
        let mut children = vec![Vec::new(); count];
        let mut order = Vec::with_capacity(count);
        for (at, parent) in parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(at),
                None => order.push(at),
            }
        }
        let mut next = 0;
        while next < order.len() {
            let below = std::mem::take(&mut children[order[next]]);
            order.extend(below);
            next += 1;
        }
        let mut tree = Self {
            wrapper: vec![None; count],
            call_above: vec![None; count],
            tool_above: vec![None; count],
            is_turn: nodes
                .iter()
                .map(|node| node.kind == Kind::ModelCall)
                .collect(),
            parents,
            order,
        };
        for &at in &tree.order {
            let Some(parent) = tree.parents[at] else {
                continue;
            };
            let kind = nodes[parent].kind;
            tree.call_above[at] = if kind == Kind::ModelCall {
                Some(parent)
            } else {
                tree.call_above[parent]
            };
            (tree.wrapper[at], tree.tool_above[at]) = match kind {
                Kind::ModelCall => (Some(parent), None),
                Kind::Tool => (None, Some(parent)),
                Kind::Agent => (None, None),
                Kind::Other => (tree.wrapper[parent], tree.tool_above[parent]),
            };
        }
        let calls = nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.kind == Kind::ModelCall);
        for (at, node) in calls {
            if let Some(wrapper) = tree.wrapper[at] {
                // a record of a call gives way to the span of the call
                tree.is_turn[if node.is_log { at } else { wrapper }] = false;
            }
        }
        tree
    }
}

/// Turns that lie together, by the moment when they began.
#[derive(Default)]
pub struct Turns(Vec<(u64, usize)>);

impl Turns {
    /// Of positions in their order.
    pub fn of(turns: impl Iterator<Item = usize>, nodes: &[Node]) -> Self {
        let mut all: Vec<(u64, usize)> = turns.map(|at| (nodes[at].began, at)).collect();
        all.sort_unstable();
        Self(all)
    }

    /// The last that began by a moment, else the first after it; of those of one moment the first in order.
    pub fn before(&self, moment: u64) -> Option<usize> {
        let after = self.0.partition_point(|turn| turn.0 <= moment);
        let Some(last) = after.checked_sub(1).and_then(|last| self.0.get(last)) else {
            return self.0.first().map(|turn| turn.1);
        };
        let first = self.0.partition_point(|turn| turn.0 < last.0);
        self.0.get(first).map(|turn| turn.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Kind = Kind::ModelCall;

    fn node<'a>(id: &'a str, parent: &'a str, kind: Kind) -> Node<'a> {
        Node {
            id,
            parent,
            kind,
            began: 1,
            is_log: false,
        }
    }

    fn turns(nodes: &[Node]) -> Vec<bool> {
        Tree::of(nodes).is_turn
    }

    #[test]
    fn a_call_gives_way_to_one_below_it_unless_an_agent_or_a_tool_lies_between() {
        let wrapped = [
            node("a", "", CALL),
            node("b", "a", Kind::Other),
            node("c", "b", CALL),
            node("d", "b", CALL),
        ];
        assert_eq!(turns(&wrapped), [false, false, true, true]);
        for between in [Kind::Agent, Kind::Tool] {
            let apart = [
                node("a", "", CALL),
                node("b", "a", between),
                node("c", "b", CALL),
            ];
            assert_eq!(turns(&apart), [true, false, true]);
        }
    }

    #[test]
    fn in_a_ring_each_stands_by_itself() {
        assert_eq!(
            turns(&[node("a", "b", CALL), node("b", "a", CALL)]),
            [true, true]
        );
        assert_eq!(turns(&[node("a", "a", CALL)]), [true]);
        let below = [
            node("a", "b", CALL),
            node("b", "a", CALL),
            node("c", "a", CALL),
        ];
        assert_eq!(turns(&below), [false, true, true]);
        let tree = Tree::of(&[
            node("x", "b", CALL),
            node("a", "b", CALL),
            node("b", "a", CALL),
        ]);
        assert_eq!(tree.parents, [Some(2), None, None]);
        assert_eq!(tree.order.len(), 3);
    }

    #[test]
    fn a_record_of_a_call_gives_way_to_its_span() {
        let record = Node {
            is_log: true,
            ..node("l", "a", CALL)
        };
        assert_eq!(turns(&[node("a", "", CALL), record]), [true, false]);
        assert_eq!(turns(&[node("a", "", Kind::Agent), record]), [false, true]);
    }

    #[test]
    fn a_million_spans_in_a_chain_take_no_stack_and_no_square() {
        let ids: Vec<String> = (0..1_000_000).map(|n| n.to_string()).collect();
        let nodes: Vec<Node> = (0..ids.len())
            .map(|n| {
                node(
                    &ids[n],
                    if n == 0 { "" } else { &ids[n - 1] },
                    if n == 0 { CALL } else { Kind::Other },
                )
            })
            .collect();
        let tree = Tree::of(&nodes);
        assert!(
            tree.wrapper
                .iter()
                .skip(1)
                .all(|wrapper| *wrapper == Some(0))
        );
        assert_eq!(tree.order.len(), nodes.len());
    }

    #[test]
    fn the_turn_before_a_moment() {
        let nodes: Vec<Node> = [5, 1, 5]
            .iter()
            .map(|began| Node {
                began: *began,
                ..node("x", "", CALL)
            })
            .collect();
        let turns = Turns::of(0..3, &nodes);
        assert_eq!(
            [0, 1, 4, 5, 9].map(|moment| turns.before(moment)),
            [Some(1), Some(1), Some(1), Some(0), Some(0)]
        );
        assert_eq!(Turns::default().before(1), None);
    }
}
