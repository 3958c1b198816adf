//! The sums as arrays of rows: conversations, buckets, and the spans in which an agent was active.

use super::{Label, Span, Text, TurnSums, text};
use crate::extension::abi::{self, RowType};
use crate::extension::error::SqlError;
use pgrx::pg_sys::Datum;

impl TurnSums {
    /// Everything, as one row of type `turn_sums`.
    pub(super) fn finish(&mut self) -> Result<Datum, SqlError> {
        let agents: Vec<Datum> = self.agents.iter().map(|id| self.text(*id)).collect();
        RowType::named("agent_metrics_internal.turn_sums").row([
            self.conversation_rows(&agents)?,
            self.bucket_rows(&agents)?,
            self.span_rows(&agents)?,
        ])
    }

    fn text(&self, place: Text) -> Datum {
        abi::bytes(text(&self.texts, place))
    }

    fn conversation_rows(&self, agents: &[Datum]) -> Result<Option<Datum>, SqlError> {
        let kind = RowType::named("agent_metrics_internal.conversation_sums");
        let rows = self.conversations.iter().map(|one| {
            abi::check_for_interrupts();
            let [agent, judge, crm, human] =
                one.labels.map(|label| self.labels.get(label as usize));
            let said = |label: Option<&Label>| label.map(|label| self.text(label.value));
            let mut business_events = Vec::new();
            let mut next = self.business_events.get(one.business_event as usize);
            while let Some((id, before)) = next {
                business_events.push(self.text(*id));
                next = self.business_events.get(*before as usize);
            }
            kind.row([
                agents.get(one.agent).copied(),
                Some(self.text(one.id)),
                Some(abi::int8(one.started_at)),
                Some(abi::int8(one.ended_at)),
                Some(abi::int8(one.turns)),
                Some(abi::int8(one.token_turns)),
                Some(abi::int8(one.tokens)),
                Some(one.cost.datum()),
                one.user.map(|user| self.text(user)),
                said(agent),
                said(judge),
                said(crm),
                crm.map(|label| abi::int8(label.at)),
                said(human),
                abi::text_array(business_events),
                Some(abi::boolean(one.is_new)),
            ])
        });
        Ok(kind.array(rows.collect::<Result<_, _>>()?))
    }

    fn bucket_rows(&mut self, agents: &[Datum]) -> Result<Option<Datum>, SqlError> {
        let kind = RowType::named("agent_metrics_internal.rollup_delta");
        // what is of conversations and leads stays NULL: it adds nothing
        let places = kind.places([
            "agent_id",
            "bucket",
            "turns",
            "token_turns",
            "tokens_input",
            "tokens_output",
            "cost_turns",
            "tool_calls",
            "error_turns",
            "cost_usd",
            "latency",
        ])?;
        let rows = self.buckets.iter_mut().map(|one| {
            abi::check_for_interrupts();
            let latency = one.latency.encode()?;
            kind.row_at(
                &places,
                [
                    agents.get(one.agent).copied(),
                    Some(abi::int8(one.start)),
                    Some(abi::int8(one.turns)),
                    Some(abi::int8(one.token_turns)),
                    Some(abi::int8(one.tokens_input)),
                    Some(abi::int8(one.tokens_output)),
                    Some(abi::int8(one.cost_turns)),
                    Some(abi::int8(one.tool_calls)),
                    Some(abi::int8(one.error_turns)),
                    Some(one.cost.datum()),
                    latency.map(|latency| abi::bytes(&latency)),
                ],
            )
        });
        Ok(kind.array(rows.collect::<Result<_, _>>()?))
    }

    /// Spans that touch are one.
    fn span_rows(&self, agents: &[Datum]) -> Result<Option<Datum>, SqlError> {
        let kind = RowType::named("agent_metrics_internal.active_span");
        let mut spans = self.spans.to_vec();
        spans.sort_unstable_by_key(|span| (span.agent, span.from));
        let mut united: Vec<Span> = Vec::new();
        for span in spans {
            match united.last_mut() {
                Some(last) if last.agent == span.agent && span.from <= last.to => {
                    last.to = last.to.max(span.to);
                    last.longest = last.longest.max(span.longest);
                }
                _ => united.push(span),
            }
        }
        let rows = united.iter().map(|span| {
            abi::check_for_interrupts();
            kind.row([
                agents.get(span.agent).copied(),
                Some(abi::int8(span.from)),
                Some(abi::int8(span.to)),
                Some(abi::interval(span.longest)),
            ])
        });
        Ok(kind.array(rows.collect::<Result<_, _>>()?))
    }
}
