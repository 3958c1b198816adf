//! What calls of models share: usage that only a wrapper tells, one call told twice, and the tools between them.

use super::content::beginning;
use super::facts::Facts;
use super::said::{Kind, Said, first_text};
use super::tree::{Node, Tree, Turns};
use super::turns::{ToolCall, Turn};
use super::usage::Usage;
use super::vocabulary::Meaning;
use std::collections::{BTreeMap, HashMap};

/// Gives what a wrapper used to the last call below it, where none of these says what it used. Returns for each call
/// of a model that last one.
pub fn hand_down(tree: &Tree, nodes: &[Node], usages: &mut [Result<Usage, String>]) -> Vec<usize> {
    let mut leaf: Vec<usize> = (0..nodes.len()).collect();
    let mut is_told: Vec<bool> = usages
        .iter()
        .map(|usage| {
            usage
                .as_ref()
                .map_or(true, |usage| usage.has_tokens() || !usage.costs.is_empty())
        })
        .collect();
    let mut is_told_below = vec![false; nodes.len()];
    let mut has_leaf = vec![false; nodes.len()];
    for &at in tree.order.iter().rev() {
        if nodes[at].kind != Kind::ModelCall {
            continue;
        }
        if has_leaf[at] && is_told[at] && !is_told_below[at] {
            usages.swap(at, leaf[at]);
            is_told[leaf[at]] = true;
            is_told_below[at] = true;
        }
        let is_told = if has_leaf[at] {
            is_told_below[at]
        } else {
            is_told[at]
        };
        let Some(wrapper) = tree.wrapper[at].filter(|_| !nodes[at].is_log) else {
            continue;
        };
        is_told_below[wrapper] |= is_told;
        let last = |at: usize| (nodes[at].began, at);
        if !has_leaf[wrapper] || last(leaf[at]) > last(leaf[wrapper]) {
            leaf[wrapper] = leaf[at];
        }
        has_leaf[wrapper] = true;
    }
    leaf
}

/// Two spans with one response are one call. Returns which turn each span is part of.
pub fn unite(
    turns: &mut BTreeMap<usize, Turn>,
    leaf: &[usize],
    tree: &Tree,
    spans: &[(String, Facts)],
) -> Vec<Option<usize>> {
    let mut place: Vec<Option<usize>> = vec![None; spans.len()];
    let mut by_response: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, turn) in turns.iter() {
        place[*at] = Some(*at);
        if let Some(response) = &turn.response {
            by_response.entry(response.clone()).or_default().push(*at);
        }
    }
    for same in by_response.into_values().filter(|same| same.len() > 1) {
        let best = same.iter().copied().min_by_key(|at| {
            let turn = turns.get(at);
            let is = |test: fn(&Turn) -> bool| !turn.is_some_and(test);
            (
                is(|turn| turn.missing.is_none()),
                is(|turn| turn.usage.has_tokens()),
                spans[*at].1.is_log,
                is(|turn| !turn.usage.costs.is_empty()),
                *at,
            )
        });
        let Some(best) = best else { continue };
        for at in same.into_iter().filter(|at| *at != best) {
            let Some(other) = turns.remove(&at) else {
                continue;
            };
            place[at] = Some(best);
            if let Some(turn) = turns.get_mut(&best) {
                turn.agent = turn.agent.take().or(other.agent);
                turn.conversation = turn.conversation.take().or(other.conversation);
                turn.user = turn.user.take().or(other.user);
                if turn.usage.costs.is_empty() {
                    turn.usage.costs = other.usage.costs;
                }
                turn.is_eval |= other.is_eval;
                turn.replaced.push(other.span);
            }
        }
    }
    // wrappers, and records beside their span, had a turn as long as they stood alone
    for at in 0..spans.len() {
        if place[at].is_some() || (leaf[at] == at && !spans[at].1.is_log) {
            continue;
        }
        let into = if spans[at].1.is_log {
            tree.wrapper[at]
        } else {
            Some(leaf[at])
        };
        place[at] = into.and_then(|into| place[into]);
        if let Some(turn) = place[at].and_then(|place| turns.get_mut(&place)) {
            turn.replaced.push(spans[at].0.clone());
        }
    }
    place
}

/// Gives each tool that was called to the turn that asked for it.
pub fn add_tools(
    spans: &[(String, Facts)],
    all: &[Vec<Said>],
    nodes: &[Node],
    tree: &Tree,
    place: &[Option<usize>],
    turns: &mut BTreeMap<usize, Turn>,
) {
    let mut tools: Vec<usize> = (0..spans.len())
        .filter(|at| nodes[*at].kind == Kind::Tool)
        .collect();
    if tools.is_empty() || turns.is_empty() {
        return;
    }
    tools.sort_by_key(|at| (nodes[*at].began, *at));
    let name = |at: usize| {
        first_text(&all[at], Meaning::ToolName).unwrap_or_else(|| {
            let name = spans[at].1.name.as_str();
            let rest = name
                .strip_prefix("execute_tool")
                .or_else(|| name.strip_prefix("tools/call"));
            rest.map(str::trim)
                .filter(|rest| !rest.is_empty())
                .unwrap_or(name)
                .to_owned()
        })
    };
    let is_remote = |at: usize| {
        all[at]
            .iter()
            .any(|said| said.attribute.starts_with("mcp."))
    };
    let mut of_parent: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in turns.keys() {
        of_parent.entry(nodes[*at].parent).or_default().push(*at);
    }
    let of_parent: HashMap<&str, Turns> = of_parent
        .into_iter()
        .map(|(parent, turns)| (parent, Turns::of(turns.into_iter(), nodes)))
        .collect();
    let of_trace = Turns::of(turns.keys().copied(), nodes);
    for at in tools {
        // one call, seen by who asks and who serves
        let is_same = |above: usize| is_remote(at) || is_remote(above) || name(above) == name(at);
        if tree.tool_above[at].is_some_and(is_same) {
            continue;
        }
        let owner = tree.call_above[at]
            .filter(|above| tree.is_turn[*above])
            .and_then(|above| place[above])
            .or_else(|| of_parent.get(nodes[at].parent)?.before(nodes[at].began))
            .or_else(|| place[tree.call_above[at]?])
            .or_else(|| of_trace.before(nodes[at].began));
        let Some(turn) = owner.and_then(|owner| turns.get_mut(&owner)) else {
            continue;
        };
        turn.tools.push(ToolCall {
            span: spans[at].0.clone(),
            name: beginning(&name(at), 64).to_owned(),
            is_ok: spans[at].1.failure.is_none() && first_text(&all[at], Meaning::Error).is_none(),
        });
    }
}
